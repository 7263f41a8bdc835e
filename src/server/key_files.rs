//! The files of keys, followed: a file, or those of a directory, each for itself.
//!
//! Looks at the files, reads those that are due, and has `keys::file` judge what is in force then. A file that is at fault, or is
//! being written, keeps its last whole state while the others change; so do files of a directory that is missing or empty.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::Policy;
use crate::keys::file::{self, Change, Judged, LoadError, LoadedKeys};
use crate::watch::named_file::NamedFile;
use crate::watch::{RETRY_INTERVAL, ReloadAdvice, SETTLE_TIME, WatchedFile};

/// The files of a source, and what they have in force.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    path: NamedFile,
    files: BTreeMap<PathBuf, KeyFile>,
    loaded: LoadedKeys,
    /// Where there is no file at all.
    absence: Option<Absence>,
    /// Files that events told to have been moved into place since the last look.
    moved: Vec<PathBuf>,
    /// One changed while it was read.
    are_changing: bool,
    /// Something that faults depend on has changed though no file has.
    is_to_be_judged: bool,
}

#[derive(Debug)]
struct KeyFile {
    followed: WatchedFile,
    /// Of the content that was judged last; `None` where there is none, or where it could not be read.
    hash: Option<blake3::Hash>,
    /// Since when it has not been there.
    missing: Option<Duration>,
    is_in_flux: bool,
    is_due: bool,
    /// What is wrong with it.
    fault: Option<Fault>,
}

/// There is no file, or no telling which files there are.
#[derive(Debug)]
struct Absence {
    since: Duration,
    problem: String,
    is_judged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    problems: String,
    /// It will be right once a file is gone that is missing already.
    is_waiting: bool,
}

/// A file, read.
struct Read {
    hash: Option<blake3::Hash>,
    text: Result<String, String>,
}

/// What became of the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing that anybody need know.
    Nothing,
    /// All of them are in force.
    Whole,
    /// Some are at fault, for these reasons; whether what is in force has changed nevertheless.
    AtFault { problems: String, changed: bool },
}

impl KeyFiles {
    /// Reads all files at start, and follows them. Blocks.
    pub(crate) fn load(path: NamedFile, policy: &Policy, now: Duration) -> Result<Self, LoadError> {
        let texts = file::read(&path)?;
        let mut files = BTreeMap::new();
        for (mut followed, hash) in texts.followed() {
            followed.was_read(true, now);
            let path = followed.path().to_owned();
            files.insert(path, KeyFile::new(followed, Some(hash)));
        }
        Ok(Self {
            path,
            files,
            loaded: texts.keys(policy)?,
            absence: None,
            moved: Vec::new(),
            are_changing: false,
            is_to_be_judged: false,
        })
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> &Arc<KeyMap> {
        self.loaded.map()
    }

    /// Whether one changed while it was read, so that it is to be looked at again soon.
    pub(super) fn are_changing(&self) -> bool {
        self.are_changing
    }

    /// Whether some of the files are right, whatever is wrong with others.
    pub(super) fn are_partly_right(&self) -> bool {
        self.absence.is_none() && self.files.values().any(|file| file.fault.is_none())
    }

    /// The directories whose events tell of changes.
    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.to_path_buf());
        let parent = absolute.parent().map(Path::to_owned);
        let itself = absolute.is_dir().then_some(absolute);
        itself.into_iter().chain(parent)
    }

    /// Notes that a file was moved into place somewhere.
    pub(super) fn note(&mut self, moved: &Path) {
        self.moved.push(moved.to_owned());
    }

    /// Looks at all files. Whether any is to be read or judged, or in how long to look again. Blocks.
    pub(super) fn look(&mut self, now: Duration) -> ReloadAdvice {
        let moved = std::mem::take(&mut self.moved);
        self.are_changing = false;
        let listed = match file::files_in(&self.path) {
            Ok(listed) => listed,
            Err(why) => return self.look_at_nothing(why.to_string(), now),
        };
        self.is_to_be_judged |= self.absence.take().is_some_and(|absence| absence.is_judged);
        let mut rest: Option<Duration> = None;
        let mut wait = |time: Duration| rest = Some(rest.map_or(time, |rest| rest.min(time)));
        for path in &listed {
            let file = self
                .files
                .entry(path.clone())
                .or_insert_with(|| KeyFile::new(WatchedFile::appeared(path), None));
            for moved in &moved {
                file.followed.note(moved);
            }
            if file.missing.take().is_some() {
                // What clashed with it while it was missing does so for certain.
                self.is_to_be_judged = true;
            }
            let look = file.followed.look(now);
            file.is_in_flux = look.in_flux;
            file.is_due = look.advice == ReloadAdvice::Read;
            if let ReloadAdvice::Wait(time) = look.advice {
                wait(time);
            }
        }
        let listed: BTreeSet<&PathBuf> = listed.iter().collect();
        for (path, file) in &mut self.files {
            if listed.contains(path) {
                continue;
            }
            file.is_due = false;
            let since = *file.missing.get_or_insert(now);
            let gone = now.saturating_sub(since);
            if !file.is_gone(now) {
                wait(SETTLE_TIME.saturating_sub(gone));
            }
        }
        let is_due = |file: &KeyFile| file.is_due || file.is_gone(now);
        match rest {
            _ if self.is_to_be_judged || self.files.values().any(is_due) => ReloadAdvice::Read,
            None => ReloadAdvice::Unchanged,
            Some(time) => ReloadAdvice::Wait(time),
        }
    }

    /// Where there is no file: all of them keep what they have, even those that were missing before.
    fn look_at_nothing(&mut self, problem: String, now: Duration) -> ReloadAdvice {
        for file in self.files.values_mut() {
            file.missing = None;
            file.is_due = false;
        }
        let absence = self.absence.get_or_insert_with(|| Absence {
            since: now,
            problem: String::new(),
            is_judged: false,
        });
        if absence.problem != problem {
            absence.problem = problem;
            absence.is_judged = false;
        }
        let rest = SETTLE_TIME.saturating_sub(now.saturating_sub(absence.since));
        match absence.is_judged {
            _ if !rest.is_zero() => ReloadAdvice::Wait(rest),
            false => ReloadAdvice::Read,
            true => ReloadAdvice::Wait(RETRY_INTERVAL),
        }
    }

    /// Reads what is due, or everything where it is `forced`, and puts in force what can be. Blocks.
    pub(super) fn reload(&mut self, policy: &Policy, forced: bool, now: Duration) -> Judgement {
        let mut is_news = std::mem::take(&mut self.is_to_be_judged) || forced;
        let mut changes = Vec::new();
        if let Some(absence) = &mut self.absence {
            is_news |= !std::mem::replace(&mut absence.is_judged, true);
        } else {
            for path in self.paths(|file| file.is_due || (forced && file.is_there())) {
                if let Some(read) = self.read(&path) {
                    is_news |= self.note_read(&path, &read, now);
                    changes.extend(read.change(path));
                }
            }
        }
        for path in self.paths(|file| file.is_gone(now)) {
            is_news = true;
            self.files.remove(&path);
            changes.push(Change { path, text: None });
        }
        if !is_news {
            return Judgement::Nothing;
        }
        // What is at fault may be so no longer.
        for path in self.paths(|file| file.fault.is_some() && file.is_there()) {
            if changes.iter().all(|change| change.path != path)
                && let Some(read) = self.read(&path)
            {
                self.note_read(&path, &read, now);
                changes.extend(read.change(path));
            }
        }
        let read = changes.iter().map(|change| change.path.clone()).collect();
        let judged = self.loaded.judge(changes, &self.missing(), policy);
        self.take(judged, &read)
    }

    /// Reads all files under another policy, and puts in force what can be. A file that is at fault keeps what it has.
    ///
    /// # Errors
    /// What cannot be used under that policy; nothing changes then.
    pub(super) fn refit(
        &mut self,
        policy: &Policy,
        forced: bool,
        now: Duration,
    ) -> Result<Judgement, String> {
        let mut reads = Vec::new();
        let mut changes = Vec::new();
        let paths = self.paths(|file| file.is_there() && self.absence.is_none());
        for path in paths {
            if let Some(mut read) = self.read(&path) {
                // Its text is needed for judging alone.
                let text = read.text.as_mut().ok().map(std::mem::take);
                if text.is_some() {
                    changes.push(Change {
                        path: path.clone(),
                        text,
                    });
                }
                reads.push((path, read));
            }
        }
        let read: BTreeSet<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
        let judged = self.loaded.judge(changes, &self.missing(), policy);
        let keeps = |path: &PathBuf| !read.contains(path) || judged.faults.contains_key(path);
        for path in self.files.keys().filter(|path| keeps(path)) {
            if let Some(misfit) = self.loaded.misfit(path, policy) {
                let problems = judged.faults.get(path).map(ToString::to_string);
                return Err(problems.unwrap_or_else(|| format!("{}: {misfit}", path.display())));
            }
        }
        let before = self.problems();
        let mut is_news = false;
        for (path, read) in &reads {
            is_news |= self.note_read(path, read, now);
        }
        let judgement = self.take(judged, &read);
        // What another policy says of the same files is no reload of theirs.
        let is_same = !is_news && !forced && before == self.problems();
        Ok(if is_same {
            Judgement::Nothing
        } else {
            judgement
        })
    }

    fn paths(&self, wanted: impl Fn(&KeyFile) -> bool) -> Vec<PathBuf> {
        let files = self.files.iter().filter(|(_, file)| wanted(file));
        files.map(|(path, _)| path.clone()).collect()
    }

    fn missing(&self) -> BTreeSet<PathBuf> {
        self.paths(|file| file.missing.is_some())
            .into_iter()
            .collect()
    }

    /// Reads a file; `None` if it is being written, so that nothing is known of it.
    fn read(&mut self, path: &Path) -> Option<Read> {
        let text = file::read_text(path).map_err(|problems| problems.to_string());
        let file = self.files.get_mut(path)?;
        if !file.followed.was_read_whole() {
            file.followed.was_written_during_read();
            self.are_changing = true;
            return None;
        }
        let hash = text.as_ref().ok();
        let hash = hash.map(|text| blake3::hash(text.as_bytes()));
        Some(Read { hash, text })
    }

    /// Notes that a file was read. Whether it holds anything else than before, or was touched.
    fn note_read(&mut self, path: &Path, read: &Read, now: Duration) -> bool {
        let Some(file) = self.files.get_mut(path) else {
            return false;
        };
        let touched = file.followed.was_read(read.hash.is_some(), now);
        let unread = read.text.as_ref().err().map(|problems| Fault {
            problems: problems.clone(),
            is_waiting: false,
        });
        let is_same = read.hash == file.hash && (unread.is_none() || unread == file.fault);
        file.hash = read.hash;
        if unread.is_some() {
            file.fault = unread;
        }
        touched || !is_same
    }

    /// Puts in force what was judged of the files that were read.
    fn take(&mut self, judged: Judged, read: &BTreeSet<PathBuf>) -> Judgement {
        let Judged {
            keys,
            mut faults,
            waiting,
        } = judged;
        let changed = !self.loaded.is_same(&keys);
        self.loaded = keys;
        for path in read {
            if let Some(file) = self.files.get_mut(path) {
                file.fault = faults.remove(path).map(|problems| Fault {
                    problems: problems.to_string(),
                    is_waiting: waiting.contains(path),
                });
            }
        }
        if let Some(problems) = self.problems() {
            return Judgement::AtFault { problems, changed };
        }
        if changed || self.files.values().all(|file| file.fault.is_none()) {
            return Judgement::Whole;
        }
        Judgement::Nothing
    }

    /// What is wrong with files that nothing but a change will mend.
    fn problems(&self) -> Option<String> {
        let faults = self.files.values().filter_map(|file| file.fault.as_ref());
        let faults = faults.filter(|fault| !fault.is_waiting);
        let faults = faults.map(|fault| fault.problems.as_str());
        let absence = self
            .absence
            .as_ref()
            .map(|absence| absence.problem.as_str());
        let problems: Vec<&str> = faults.chain(absence).collect();
        (!problems.is_empty()).then(|| problems.join("\n"))
    }
}

impl Read {
    fn change(self, path: PathBuf) -> Option<Change> {
        let text = Some(self.text.ok()?);
        Some(Change { path, text })
    }
}

impl KeyFile {
    fn new(followed: WatchedFile, hash: Option<blake3::Hash>) -> Self {
        Self {
            followed,
            hash,
            missing: None,
            is_in_flux: false,
            is_due: false,
            fault: None,
        }
    }

    /// Whether it is there, and nobody is writing it.
    fn is_there(&self) -> bool {
        self.missing.is_none() && !self.is_in_flux
    }

    /// Whether it has been missing for a whole second.
    fn is_gone(&self, now: Duration) -> bool {
        let missing = self.missing.map(|since| now.saturating_sub(since));
        missing.is_some_and(|time| time >= SETTLE_TIME)
    }
}
