//! Files that are read together, such as a certificate and its key: when they are due, and whether a problem has been told.
//!
//! Whoever reads them says what came of it. What could not be used is due again, for the reason may have passed without a trace
//! in the files; and of each problem is known whether it has been told. Of several files one may have been replaced and
//! the other not yet, so that a problem counts only once it has lasted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Observation, ReloadAdvice, SETTLE_TIME, WatchedFile};
use crate::clock::Clock;

/// Files that are read together, and again when one of them changes.
#[derive(Debug, Clone)]
pub struct WatchedFiles {
    files: Vec<WatchedFile>,
    settle_time: Duration,
    /// The hash of what is in use of their contents; `None` where it could not be used.
    mark: Option<blake3::Hash>,
    problem: Option<Problem>,
}

#[derive(Debug, Clone)]
struct Problem {
    text: String,
    since: Duration,
    is_reported: bool,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    /// It is to be taken for what it says.
    New,
    /// It says what it said before, and nobody touched it: it was read once more to be sure, or tried again in vain.
    Same,
    /// A file changed while it was read: nothing is known, and the next look judges anew.
    Changing,
}

impl WatchedFiles {
    /// Follows files that are about to be read, and of which events tell. Blocks.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        Self::of(paths.map(WatchedFile::new).collect())
    }

    /// Follows files that are about to be read, and that are only looked at. Blocks.
    pub(crate) fn polled<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self::of(paths.map(|path| WatchedFile::new(path).polled()).collect())
    }

    fn of(files: Vec<WatchedFile>) -> Self {
        Self {
            files,
            settle_time: SETTLE_TIME,
            mark: None,
            problem: None,
        }
    }

    /// The directories whose events tell of changes.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(WatchedFile::directory)
    }

    /// Notes that a file was moved into place somewhere.
    pub fn note(&mut self, moved: &Path) {
        for file in &mut self.files {
            file.note(moved);
        }
    }

    /// What to do now. Blocks for a few calls to the file system.
    pub fn look(&mut self, now: Duration) -> Observation {
        let looks: Vec<Observation> = self.files.iter_mut().map(|file| file.look(now)).collect();
        let in_flux = looks.iter().any(|look| look.in_flux);
        let is_due = looks.iter().any(|look| look.advice == ReloadAdvice::Read);
        let waits = looks.iter().filter_map(|look| match look.advice {
            ReloadAdvice::Wait(time) => Some(time),
            ReloadAdvice::Read | ReloadAdvice::Unchanged => None,
        });
        let advice = match waits.min() {
            _ if is_due && !in_flux => ReloadAdvice::Read,
            Some(time) => ReloadAdvice::Wait(time),
            None => ReloadAdvice::Unchanged,
        };
        Observation { advice, in_flux }
    }

    /// They were read after the last look. `mark` is the hash of their contents, or `None` where they could not be used, so that they are
    /// to be read again even if they stay as they are.
    pub fn was_read(&mut self, mark: Option<blake3::Hash>, now: Duration) -> ReadResult {
        if !self.files.iter().all(WatchedFile::was_read_whole) {
            for file in &mut self.files {
                file.was_written_during_read();
            }
            return ReadResult::Changing;
        }
        let mut is_new = mark != self.mark;
        for file in &mut self.files {
            is_new |= file.was_read(mark.is_some(), now);
        }
        self.mark = mark;
        if is_new {
            ReadResult::New
        } else {
            ReadResult::Same
        }
    }

    /// They cannot be used for that reason. Whether this is to be told now: once, and of several files only when it has lasted.
    pub fn should_report(&mut self, problem: &str, now: Duration) -> bool {
        let is_one = self.files.len() == 1;
        let found = self.problem.get_or_insert_with(|| Problem {
            text: String::new(),
            since: now,
            is_reported: false,
        });
        if found.text != problem {
            problem.clone_into(&mut found.text);
            found.is_reported = false;
        }
        let has_lasted = is_one || now.saturating_sub(found.since) >= self.settle_time;
        let should_report = !found.is_reported && has_lasted;
        found.is_reported |= should_report;
        should_report
    }

    /// Forgets what was told: all is well again.
    pub fn clear_problem(&mut self) {
        self.problem = None;
    }

    /// The problem that has been told and lasts.
    pub fn problem(&self) -> Option<&str> {
        let told = self.problem.as_ref().filter(|problem| problem.is_reported);
        told.map(|problem| problem.text.as_str())
    }

    /// Comes back when they are to be read, looking at them that often off the threads that serve; never where there are none. Two looks
    /// in a row must see the same.
    pub(crate) async fn due(&mut self, look_every: Duration, clock: &dyn Clock) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        self.settle_time = look_every;
        for file in &mut self.files {
            file.set_settle_time(look_every);
        }
        loop {
            tokio::time::sleep(look_every).await;
            let (mut files, now) = (self.clone(), clock.monotonic());
            let looked = tokio::task::spawn_blocking(move || {
                let look = files.look(now);
                (files, look)
            });
            // One that was stopped is the end of the process.
            let Ok((files, look)) = looked.await else {
                continue;
            };
            *self = files;
            if look.advice == ReloadAdvice::Read {
                return;
            }
        }
    }
}
