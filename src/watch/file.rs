//! One file that is followed: looked at, judged, and read by somebody else, who says what became of it.
//!
//! Joins what events tell (this very file was moved into place) with what a look shows. What another file beside it goes
//! through says nothing of this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Fingerprint, ReloadAdvice, SettleTracker};

/// A file that is read again when it changes.
#[derive(Debug, Clone)]
pub struct WatchedFile {
    /// As the configuration names it.
    path: PathBuf,
    /// As events name it.
    absolute: PathBuf,
    tracker: SettleTracker,
    /// What the last look saw.
    seen: Fingerprint,
    moved: bool,
    /// Whether no events tell of it, so that a file which is replaced again and again must be told by what looks show.
    is_polled: bool,
}

/// What a look at a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What to do.
    pub advice: ReloadAdvice,
    /// Whether somebody may be writing it just now, so that nobody should read it.
    pub in_flux: bool,
}

/// How a file stood a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    /// What was read is one whole content.
    Whole,
    /// Another file was begun in its place, of which part may have been read.
    Replaced,
    /// It was written in place meanwhile.
    Written,
}

impl WatchedFile {
    /// Follows a file that is about to be read.
    pub fn new(path: &Path) -> Self {
        Self::since(path, Fingerprint::of(path))
    }

    /// Follows a file that appeared and was never read.
    pub fn appeared(path: &Path) -> Self {
        Self::since(path, Fingerprint::default())
    }

    fn since(path: &Path, seen: Fingerprint) -> Self {
        Self {
            path: path.to_owned(),
            absolute: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            tracker: SettleTracker::new(seen.clone()),
            seen,
            moved: false,
            is_polled: false,
        }
    }

    /// The same where no events tell of it.
    pub(super) fn polled(mut self) -> Self {
        self.is_polled = true;
        self
    }

    /// Has it stand still for another time than a second.
    pub(super) fn set_settle_time(&mut self, settle_time: Duration) {
        self.tracker.settle_time = settle_time;
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory whose events tell of changes.
    pub fn directory(&self) -> PathBuf {
        self.absolute.parent().unwrap_or(&self.absolute).to_owned()
    }

    /// Notes that a file was moved into place somewhere.
    pub fn note(&mut self, moved: &Path) {
        self.moved |= moved == self.absolute;
    }

    /// What to do now. A few calls to the file system that open nothing.
    pub fn look(&mut self, now: Duration) -> Observation {
        let seen = Fingerprint::of(&self.path);
        // Two looks in a row that each found another file: somebody replaces it faster than it could be seen to stand still.
        let is_swapped =
            self.is_polled && seen.replaces(&self.seen) && self.seen.replaces(self.tracker.read());
        let moved = std::mem::take(&mut self.moved) || is_swapped;
        let advice = self.tracker.advise(&seen, moved, now);
        let in_flux = matches!(advice, ReloadAdvice::Wait(_)) && seen != *self.tracker.read();
        self.seen = seen;
        Observation { advice, in_flux }
    }

    /// Whether it was read since the last look as that look judged it.
    pub fn was_read_whole(&self) -> bool {
        self.integrity() == Integrity::Whole
    }

    /// How it stood the reading that came after the last look. One that was replaced meanwhile by a file that came whole was read
    /// whole, whichever of the two it was: or who replaces it often enough would keep it from ever being read.
    pub(super) fn integrity(&self) -> Integrity {
        let now = Fingerprint::of(&self.path);
        if now.came_whole_since(&self.seen, false) {
            Integrity::Whole
        } else if now.identity() == self.seen.identity() {
            Integrity::Written
        } else {
            Integrity::Replaced
        }
    }

    /// Notes that it was read as the last look saw it, or could not be and is to be tried again. Whether somebody touched it since it was
    /// read before.
    pub fn was_read(&mut self, is_known: bool, now: Duration) -> bool {
        let touched = self.seen != *self.tracker.read();
        if is_known {
            self.tracker.was_read(self.seen.clone(), now);
        } else {
            self.tracker.read_failed(self.seen.clone(), now);
        }
        touched
    }

    /// Notes that it was not read whole.
    pub fn was_written_during_read(&mut self) {
        if self.integrity() == Integrity::Written {
            self.tracker.was_written_during_read(&self.seen);
        }
    }
}
