//! One file of keys: whether it is there, what was read of it last, and what is wrong with it.
//!
//! Wraps the watched file with what only keys need: files that appear and disappear, and faults
//! that depend on other files. Which files there are, and what the keys are then, is decided
//! outside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::keys::file::{self, FileChange};
use crate::watch::{Observation, ReloadAdvice, SETTLE_TIME, WatchedFile};

#[derive(Debug)]
pub(super) struct KeyFile {
    watched: WatchedFile,
    /// Of the content that was checked last; `None` if it could not be read.
    hash: Option<blake3::Hash>,
    /// Since when it has been missing.
    missing: Option<Duration>,
    is_in_flux: bool,
    is_due: bool,
    pub(super) fault: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) problems: String,
    /// It ends once another file is gone that is missing already.
    pub(super) is_waiting: bool,
}

pub(super) struct KeyFileRead {
    hash: Option<blake3::Hash>,
    pub(super) text: Result<String, String>,
}

impl KeyFileRead {
    /// The change of the keys that the file's text makes; `None` without a text.
    pub(super) fn change(self, path: PathBuf) -> Option<FileChange> {
        let text = Some(self.text.ok()?);
        Some(FileChange { path, text })
    }
}

impl KeyFile {
    /// A file that was read at start.
    pub(super) fn loaded(mut watched: WatchedFile, hash: blake3::Hash, now: Duration) -> Self {
        watched.note_read(true, now);
        Self::new(watched, Some(hash))
    }

    /// A file that has appeared and was never read.
    pub(super) fn appeared(path: &Path) -> Self {
        Self::new(WatchedFile::appeared(path), None)
    }

    fn new(watched: WatchedFile, hash: Option<blake3::Hash>) -> Self {
        Self {
            watched,
            hash,
            missing: None,
            is_in_flux: false,
            is_due: false,
            fault: None,
        }
    }

    /// Looks at the file, which is there, given the targets of renames that events reported. Gives
    /// the advice, and whether the file was missing before.
    pub(super) fn look(&mut self, moved: &[PathBuf], now: Duration) -> (ReloadAdvice, bool) {
        for path in moved {
            self.watched.note_moved(path);
        }
        let was_missing = self.missing.take().is_some();
        let Observation { advice, in_flux } = self.watched.look(now);
        self.is_in_flux = in_flux;
        self.is_due = advice == ReloadAdvice::Read;
        (advice, was_missing)
    }

    /// Notes that it is missing. Gives when it counts as gone, if it does not yet.
    pub(super) fn note_missing(&mut self, now: Duration) -> Option<Duration> {
        self.is_due = false;
        let since = *self.missing.get_or_insert(now);
        let rest = SETTLE_TIME.saturating_sub(now.saturating_sub(since));
        (!rest.is_zero()).then_some(rest)
    }

    /// Notes that nothing is known of it, since the files cannot be listed.
    pub(super) fn note_unknown(&mut self) {
        self.missing = None;
        self.is_due = false;
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn is_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether it is there and is not being written.
    pub(super) fn is_readable(&self) -> bool {
        self.missing.is_none() && !self.is_in_flux
    }

    /// Whether it has been missing long enough to be gone. Some writers remove a file before they
    /// write the new one.
    pub(super) fn is_gone(&self, now: Duration) -> bool {
        let missing = self.missing.map(|since| now.saturating_sub(since));
        missing.is_some_and(|time| time >= SETTLE_TIME)
    }

    /// Reads it; `None` if it changed meanwhile, so that nothing is known of it.
    pub(super) fn read(&mut self) -> Option<KeyFileRead> {
        let text = file::read_text(self.watched.path()).map_err(|problems| problems.to_string());
        if !self.watched.was_read_whole() {
            self.watched.note_written_during_read();
            return None;
        }
        let hash = text.as_ref().ok();
        let hash = hash.map(|text| blake3::hash(text.as_bytes()));
        Some(KeyFileRead { hash, text })
    }

    /// Notes the result of reading it. Gives whether it differs from the one before, or the file
    /// was touched.
    pub(super) fn note_read(&mut self, read: &KeyFileRead, now: Duration) -> bool {
        let touched = self.watched.note_read(read.hash.is_some(), now);
        let unread = read.text.as_ref().err().map(|problems| Fault {
            problems: problems.clone(),
            is_waiting: false,
        });
        let is_same = read.hash == self.hash && (unread.is_none() || unread == self.fault);
        self.hash = read.hash;
        if unread.is_some() {
            self.fault = unread;
        }
        touched || !is_same
    }
}
