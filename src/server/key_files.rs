//! The files of keys: a file, or those of a directory, each watched and read by itself.
//!
//! Looks at the files, reads those that are due, and has `keys::file` check what the keys are then.
//! A file that is at fault, or is being written, keeps its last good keys while the others change;
//! and all files keep theirs while the directory is missing, empty or not readable. So no mistake
//! in a file takes away keys that work; only removing the file does.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::file::{Fault, KeyFile, KeyFileRead};
use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::Policy;
use crate::keys::file::{CheckedFiles, FileChange, LoadError, LoadedKeys, files_in, read};
use crate::watch::named_file::NamedFile;
use crate::watch::{RETRY_INTERVAL, ReloadAdvice, SETTLE_TIME};

/// The files of a source, and the keys that were loaded from them.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    path: NamedFile,
    files: BTreeMap<PathBuf, KeyFile>,
    loaded: LoadedKeys,
    /// There is no file at all, or it is unknown which files there are.
    absence: Option<Absence>,
    /// The targets of renames that events have reported since the last look.
    moved: Vec<PathBuf>,
    /// A file changed while it was read.
    are_changing: bool,
    /// Faults depend on something that has changed though no file has.
    needs_check: bool,
}

/// There is no file, or it is unknown which files there are.
#[derive(Debug)]
struct Absence {
    since: Duration,
    problem: String,
    is_reported: bool,
}

/// What came of reading the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyReload {
    Unchanged,
    /// All files are in use.
    Complete,
    /// Some files are at fault, for these reasons.
    Partial {
        problems: String,
        /// Whether the keys have changed nevertheless.
        changed: bool,
    },
}

impl KeyReload {
    /// Whether there are other keys to install.
    pub(super) fn changes_keys(&self) -> bool {
        match self {
            Self::Unchanged => false,
            Self::Complete => true,
            Self::Partial { changed, .. } => *changed,
        }
    }
}

impl KeyFiles {
    /// Reads all files at start, and watches them. Blocks.
    pub(crate) fn load(path: NamedFile, policy: &Policy, now: Duration) -> Result<Self, LoadError> {
        let texts = read(&path)?;
        let files = texts.watched().map(|(watched, hash)| {
            let path = watched.path().to_owned();
            (path, KeyFile::loaded(watched, hash, now))
        });
        Ok(Self {
            path,
            files: files.collect(),
            loaded: texts.keys(policy)?,
            absence: None,
            moved: Vec::new(),
            are_changing: false,
            needs_check: false,
        })
    }

    pub(crate) fn keys(&self) -> &Arc<KeyMap> {
        self.loaded.map()
    }

    /// Whether a file changed while it was read, so that it must be looked at again soon.
    pub(super) fn are_changing(&self) -> bool {
        self.are_changing
    }

    /// Whether some files are in use as they are, even if others are faulty.
    pub(super) fn are_partly_usable(&self) -> bool {
        self.absence.is_none() && self.files.values().any(|file| file.fault.is_none())
    }

    /// The directories whose events are about these files.
    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.to_path_buf());
        let parent = absolute.parent().map(Path::to_owned);
        let itself = absolute.is_dir().then_some(absolute);
        itself.into_iter().chain(parent)
    }

    /// Notes that an event reported a rename to that path.
    pub(super) fn note_moved(&mut self, path: &Path) {
        self.moved.push(path.to_owned());
    }

    /// Looks at all files: whether any is to be read or checked, or when to look again. Blocks.
    pub(super) fn look(&mut self, now: Duration) -> ReloadAdvice {
        let moved = std::mem::take(&mut self.moved);
        self.are_changing = false;
        let listed = match files_in(&self.path) {
            Ok(listed) => listed,
            Err(why) => return self.look_at_absence(why.to_string(), now),
        };
        self.needs_check |= self
            .absence
            .take()
            .is_some_and(|absence| absence.is_reported);
        let mut waits = Vec::new();
        for path in &listed {
            let file = self.files.entry(path.clone());
            let file = file.or_insert_with(|| KeyFile::appeared(path));
            let (advice, was_missing) = file.look(&moved, now);
            // Files that clashed with it waited for it to be gone; now they are at fault.
            self.needs_check |= was_missing;
            if let ReloadAdvice::Wait(time) = advice {
                waits.push(time);
            }
        }
        let listed: BTreeSet<&PathBuf> = listed.iter().collect();
        for (path, file) in &mut self.files {
            if !listed.contains(path) {
                waits.extend(file.note_missing(now));
            }
        }
        let is_due = |file: &KeyFile| file.is_due() || file.is_gone(now);
        match waits.into_iter().min() {
            _ if self.needs_check || self.files.values().any(is_due) => ReloadAdvice::Read,
            None => ReloadAdvice::Unchanged,
            Some(time) => ReloadAdvice::Wait(time),
        }
    }

    /// Without any file all of them keep their keys, even those that were missing before: an empty
    /// directory is a mount that has not come yet or a mistake, never the wish to have no keys.
    fn look_at_absence(&mut self, problem: String, now: Duration) -> ReloadAdvice {
        self.files.values_mut().for_each(KeyFile::note_unknown);
        let absence = self.absence.get_or_insert_with(|| Absence {
            since: now,
            problem: String::new(),
            is_reported: false,
        });
        if absence.problem != problem {
            absence.problem = problem;
            absence.is_reported = false;
        }
        let rest = SETTLE_TIME.saturating_sub(now.saturating_sub(absence.since));
        match absence.is_reported {
            _ if !rest.is_zero() => ReloadAdvice::Wait(rest),
            false => ReloadAdvice::Read,
            true => ReloadAdvice::Wait(RETRY_INTERVAL),
        }
    }

    /// Reads the files that are due, or all if `forced`, and takes over what can be used. Blocks.
    pub(super) fn reload(&mut self, policy: &Policy, forced: bool, now: Duration) -> KeyReload {
        let mut is_new = std::mem::take(&mut self.needs_check) || forced;
        let mut changes = Vec::new();
        if let Some(absence) = &mut self.absence {
            is_new |= !std::mem::replace(&mut absence.is_reported, true);
        } else {
            for path in self.paths(|file| file.is_due() || (forced && file.is_readable())) {
                if let Some(read) = self.read(&path) {
                    is_new |= self.note_read(&path, &read, now);
                    changes.extend(read.change(path));
                }
            }
        }
        for path in self.paths(|file| file.is_gone(now)) {
            is_new = true;
            self.files.remove(&path);
            changes.push(FileChange { path, text: None });
        }
        if !is_new {
            return KeyReload::Unchanged;
        }
        // A change of one file may end the fault of another, such as an id that both had.
        for path in self.paths(|file| file.fault.is_some() && file.is_readable()) {
            if changes.iter().all(|change| change.path != path)
                && let Some(read) = self.read(&path)
            {
                self.note_read(&path, &read, now);
                changes.extend(read.change(path));
            }
        }
        let read = changes.iter().map(|change| change.path.clone()).collect();
        let checked = self.loaded.check(changes, &self.missing(), policy);
        self.apply(checked, &read)
    }

    /// Reads all files under another policy, and takes over what can be used. A file that is at
    /// fault keeps its last good keys.
    ///
    /// # Errors
    /// The problems of keys that cannot be used under that policy; nothing changes then.
    pub(super) fn recheck(
        &mut self,
        policy: &Policy,
        forced: bool,
        now: Duration,
    ) -> Result<KeyReload, String> {
        let mut reads = Vec::new();
        let mut changes = Vec::new();
        for path in self.paths(|file| file.is_readable() && self.absence.is_none()) {
            if let Some(mut read) = self.read(&path) {
                // The text goes to the check; the rest is noted only if the policy is taken over.
                if let Ok(text) = read.text.as_mut().map(std::mem::take) {
                    let (path, text) = (path.clone(), Some(text));
                    changes.push(FileChange { path, text });
                }
                reads.push((path, read));
            }
        }
        let read: BTreeSet<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
        let checked = self.loaded.check(changes, &self.missing(), policy);
        let keeps = |path: &PathBuf| !read.contains(path) || checked.faults.contains_key(path);
        for path in self.files.keys().filter(|path| keeps(path)) {
            if let Some(first_unusable) = self.loaded.first_unusable(path, policy) {
                let problems = checked.faults.get(path).map(ToString::to_string);
                return Err(
                    problems.unwrap_or_else(|| format!("{}: {first_unusable}", path.display()))
                );
            }
        }
        let before = self.problems();
        let mut is_new = false;
        for (path, read) in &reads {
            is_new |= self.note_read(path, read, now);
        }
        let reload = self.apply(checked, &read);
        // Other problems with the same files, found under another policy, do not count as a reload.
        let is_same = !is_new && !forced && before == self.problems();
        Ok(if is_same {
            KeyReload::Unchanged
        } else {
            reload
        })
    }

    fn paths(&self, wanted: impl Fn(&KeyFile) -> bool) -> Vec<PathBuf> {
        let files = self.files.iter().filter(|(_, file)| wanted(file));
        files.map(|(path, _)| path.clone()).collect()
    }

    fn missing(&self) -> BTreeSet<PathBuf> {
        self.paths(KeyFile::is_missing).into_iter().collect()
    }

    /// Reads a file; `None` if it changed meanwhile.
    fn read(&mut self, path: &Path) -> Option<KeyFileRead> {
        let read = self.files.get_mut(path)?.read();
        self.are_changing |= read.is_none();
        read
    }

    fn note_read(&mut self, path: &Path, read: &KeyFileRead, now: Duration) -> bool {
        let file = self.files.get_mut(path);
        file.is_some_and(|file| file.note_read(read, now))
    }

    /// Takes over what was checked of the files that were read.
    fn apply(&mut self, checked: CheckedFiles, read: &BTreeSet<PathBuf>) -> KeyReload {
        let CheckedFiles {
            keys,
            mut faults,
            waiting,
        } = checked;
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
            return KeyReload::Partial { problems, changed };
        }
        if changed || self.files.values().all(|file| file.fault.is_none()) {
            return KeyReload::Complete;
        }
        KeyReload::Unchanged
    }

    /// What is wrong with files, except for faults that end by themselves.
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
