//! One watched file: its fingerprints, the events about it, and the tracker that compares them.
//!
//! The caller looks, reads the file when advised to, and says whether the content could be used.
//! Events about other files of the same directory have no effect on this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Fingerprint, ReloadAdvice, SettleTracker};

/// A file that is read again when it changes.
#[derive(Debug, Clone)]
pub struct WatchedFile {
    /// As the configuration has it.
    path: PathBuf,
    /// As events have it.
    absolute: PathBuf,
    tracker: SettleTracker,
    /// The fingerprint at the last look.
    seen: Fingerprint,
    moved: bool,
    /// Whether the caller has no events of it; see [`Self::look`].
    is_polled: bool,
}

/// The result of a look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What to do.
    pub advice: ReloadAdvice,
    /// Whether it may be being written at this moment, so that it must not be read.
    pub in_flux: bool,
}

/// Whether a read gave a whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    /// It did.
    Whole,
    /// Another file was begun in its place, and the read may have got a part of that one.
    Replaced,
    /// The file was written in place during the read.
    Written,
}

impl WatchedFile {
    /// Watches a file that is about to be read.
    pub fn new(path: &Path) -> Self {
        Self::since(path, Fingerprint::of(path))
    }

    /// Watches a file that appeared and was never read.
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

    /// The same for a caller without events.
    pub(super) fn polled(mut self) -> Self {
        self.is_polled = true;
        self
    }

    pub(super) fn set_settle_time(&mut self, settle_time: Duration) {
        self.tracker.settle_time = settle_time;
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory whose events are about this file.
    pub fn directory(&self) -> PathBuf {
        self.absolute.parent().unwrap_or(&self.absolute).to_owned()
    }

    /// Notes that an event reported a rename to that path.
    pub fn note_moved(&mut self, path: &Path) {
        self.moved |= path == self.absolute;
    }

    /// What to do now. Makes a few calls to the file system that open nothing.
    pub fn look(&mut self, now: Duration) -> Observation {
        let seen = Fingerprint::of(&self.path);
        // A file that is replaced more often than the settle time would never be read without
        // events. Two looks in a row that each found another file are as good as an event.
        let is_swapped =
            self.is_polled && seen.replaces(&self.seen) && self.seen.replaces(self.tracker.read());
        let moved = std::mem::take(&mut self.moved) || is_swapped;
        let advice = self.tracker.advise(&seen, moved, now);
        let in_flux = matches!(advice, ReloadAdvice::Wait(_)) && seen != *self.tracker.read();
        self.seen = seen;
        Observation { advice, in_flux }
    }

    /// Whether a read since the last look gave one whole content.
    pub fn was_read_whole(&self) -> bool {
        self.integrity() == Integrity::Whole
    }

    /// Whether a read since the last look gave one whole content. A file that was meanwhile
    /// replaced by one that came whole counts as read whole, whichever of the two was read:
    /// otherwise replacing it often enough would keep it from ever being read.
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

    /// Notes a read since the last look; if its content is not usable it is tried again. Gives
    /// whether the file was touched since the read before.
    pub fn note_read(&mut self, is_usable: bool, now: Duration) -> bool {
        let touched = self.seen != *self.tracker.read();
        if is_usable {
            self.tracker.note_read(self.seen.clone(), now);
        } else {
            self.tracker.read_failed(self.seen.clone(), now);
        }
        touched
    }

    /// Notes that a read since the last look did not give one whole content.
    pub fn note_written_during_read(&mut self) {
        if self.integrity() == Integrity::Written {
            self.tracker.note_written_during_read(&self.seen);
        }
    }
}
