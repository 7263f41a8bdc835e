//! Files that are read together, such as a certificate and its key.
//!
//! They are due when one of them has changed and none of them is being written. The reader hands
//! back what it read, and gets to know whether that is new, and whether a problem with it is to be
//! reported: once, and for several files only when it has lasted, because one of them may have been
//! replaced and the others not yet. Files that cannot be used are due again without any change,
//! because the cause may pass without a trace in the files.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Observation, ReloadAdvice, ReportedProblem, SETTLE_TIME, WatchedFile};
use crate::clock::Clock;
use crate::error_chain::chain;

/// Files that are read together, and again when one of them changes.
#[derive(Debug, Clone)]
pub struct WatchedFiles {
    files: Vec<WatchedFile>,
    settle_time: Duration,
    /// The hash of the contents that were read last; `None` if they could not be used.
    hash: Option<blake3::Hash>,
    problem: ReportedProblem,
}

/// What came of reading the files.
#[derive(Debug)]
pub enum ReadOutcome<T, E> {
    /// One of them changed meanwhile: the result is worth nothing, and the next look decides again.
    Changing,
    /// They can be used.
    Usable {
        /// What was read.
        value: T,
        /// Whether the contents differ from those before, or a file was touched.
        is_new: bool,
    },
    /// They cannot be used.
    Unusable {
        /// Why.
        error: E,
        /// The same with its causes, as a text.
        problem: String,
        /// Whether the files differ from those before, or one was touched.
        is_new: bool,
        /// Whether to report it: it has not been reported yet, and has lasted.
        report: bool,
    },
}

/// Whether a result of reading counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// It counts.
    New,
    /// The same as before, of files that nobody touched: a second read after settling, or a retry.
    Same,
    /// A file changed while it was read.
    Changing,
}

impl WatchedFiles {
    /// Watches files that are about to be read, for a caller that has events of them. Blocks.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        Self::of(paths.map(WatchedFile::new).collect())
    }

    /// Watches files that are about to be read, without events. Blocks.
    pub(crate) fn polled<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self::of(paths.map(|path| WatchedFile::new(path).polled()).collect())
    }

    fn of(files: Vec<WatchedFile>) -> Self {
        Self {
            files,
            settle_time: SETTLE_TIME,
            hash: None,
            problem: ReportedProblem::default(),
        }
    }

    /// The directories whose events are about these files.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(WatchedFile::directory)
    }

    /// Notes that an event reported a rename to that path.
    pub fn note_moved(&mut self, path: &Path) {
        for file in &mut self.files {
            file.note_moved(path);
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

    /// They were read after the last look. `hash` is that of their contents, or `None` if these
    /// cannot be used, so that the files are due again even if they do not change.
    pub(crate) fn note_read(&mut self, hash: Option<blake3::Hash>, now: Duration) -> ReadResult {
        if !self.files.iter().all(WatchedFile::was_read_whole) {
            for file in &mut self.files {
                file.note_written_during_read();
            }
            return ReadResult::Changing;
        }
        let mut is_new = hash != self.hash;
        for file in &mut self.files {
            is_new |= file.note_read(hash.is_some(), now);
        }
        self.hash = hash;
        if is_new {
            ReadResult::New
        } else {
            ReadResult::Same
        }
    }

    /// Takes what was read after the last look, with the hash of the contents.
    pub fn finish_read<T, E: Error>(
        &mut self,
        read: Result<(T, blake3::Hash), E>,
        now: Duration,
    ) -> ReadOutcome<T, E> {
        let hash = read.as_ref().ok().map(|(_, hash)| *hash);
        match (self.note_read(hash, now), read) {
            (ReadResult::Changing, _) => ReadOutcome::Changing,
            (result, Ok((value, _))) => {
                self.problem.clear();
                ReadOutcome::Usable {
                    value,
                    is_new: result == ReadResult::New,
                }
            }
            (result, Err(error)) => {
                let problem = chain(&error);
                ReadOutcome::Unusable {
                    report: self.should_report(&problem, now),
                    is_new: result == ReadResult::New,
                    problem,
                    error,
                }
            }
        }
    }

    /// Whether to report that problem now: once, and for several files only when it has lasted.
    pub(super) fn should_report(&mut self, problem: &str, now: Duration) -> bool {
        let is_single = self.files.len() == 1;
        let delay = if is_single {
            Duration::ZERO
        } else {
            self.settle_time
        };
        self.problem.should_report(problem, delay, now)
    }

    /// Waits until the files are due, reads them by `read`, and gives what came of it. Looks at
    /// them at that interval, which is their settle time too. Looking and reading block, and run
    /// off the threads that serve. Never returns if there are no files.
    pub(crate) async fn next_read<T, E>(
        &mut self,
        interval: Duration,
        clock: &dyn Clock,
        read: impl Fn() -> Result<(T, blake3::Hash), E> + Clone + Send + 'static,
    ) -> ReadOutcome<T, E>
    where
        T: Send + 'static,
        E: Error + Send + 'static,
    {
        self.due(interval, clock).await;
        // A blocking task fails to end only when the process ends.
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => self.finish_read(read, clock.monotonic()),
            Err(_) => ReadOutcome::Changing,
        }
    }

    /// Waits until the files are due, looking at that interval.
    pub(super) async fn due(&mut self, interval: Duration, clock: &dyn Clock) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        self.settle_time = interval;
        for file in &mut self.files {
            file.set_settle_time(interval);
        }
        loop {
            tokio::time::sleep(interval).await;
            let (mut files, now) = (self.clone(), clock.monotonic());
            let looked = tokio::task::spawn_blocking(move || {
                let look = files.look(now);
                (files, look)
            });
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
