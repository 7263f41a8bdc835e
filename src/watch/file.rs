//! One file that is followed: looked at, judged, and read by somebody else, who says what became of it.
//!
//! Joins what events tell (this very file was moved into place) with what a look shows. What another file beside it goes
//! through says nothing of this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Advice, Sighting, Stillness};

/// A file that is read again when it changes.
#[derive(Debug, Clone)]
pub struct FollowedFile {
    /// As the configuration names it.
    path: PathBuf,
    /// As events name it.
    absolute: PathBuf,
    stillness: Stillness,
    /// What the last look saw.
    seen: Sighting,
    moved: bool,
    /// Whether no events tell of it, so that a file which is replaced again and again must be told by what looks show.
    is_polled: bool,
}

/// What a look at a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What to do.
    pub advice: Advice,
    /// Whether somebody may be writing it just now, so that nobody should read it.
    pub in_flux: bool,
}

/// How a file stood a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What was read is one whole content.
    Whole,
    /// Another file was begun in its place, of which part may have been read.
    Replaced,
    /// It was written in place meanwhile.
    Written,
}

impl FollowedFile {
    /// Follows a file that is about to be read.
    pub fn new(path: &Path) -> Self {
        Self::since(path, Sighting::of(path))
    }

    /// Follows a file that appeared and was never read.
    pub fn appeared(path: &Path) -> Self {
        Self::since(path, Sighting::default())
    }

    fn since(path: &Path, seen: Sighting) -> Self {
        Self {
            path: path.to_owned(),
            absolute: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            stillness: Stillness::new(seen.clone()),
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
    pub(super) fn must_stand_still_for(&mut self, still_for: Duration) {
        self.stillness.still_for = still_for;
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
    pub fn look(&mut self, now: Duration) -> Look {
        let seen = Sighting::of(&self.path);
        // Two looks in a row that each found another file: somebody replaces it faster than it could be seen to stand still.
        let is_swapped = self.is_polled
            && seen.replaces(&self.seen)
            && self.seen.replaces(self.stillness.read());
        let moved = std::mem::take(&mut self.moved) || is_swapped;
        let advice = self.stillness.judge(&seen, moved, now);
        let in_flux = matches!(advice, Advice::Wait(_)) && seen != *self.stillness.read();
        self.seen = seen;
        Look { advice, in_flux }
    }

    /// Whether it was read since the last look as that look judged it.
    pub fn was_read_whole(&self) -> bool {
        self.reading() == Reading::Whole
    }

    /// How it stood the reading that came after the last look. One that was replaced meanwhile by a file that came whole was read
    /// whole, whichever of the two it was: or who replaces it often enough would keep it from ever being read.
    pub(super) fn reading(&self) -> Reading {
        let now = Sighting::of(&self.path);
        if now.came_whole_since(&self.seen, false) {
            Reading::Whole
        } else if now.identity() == self.seen.identity() {
            Reading::Written
        } else {
            Reading::Replaced
        }
    }

    /// Notes that it was read as the last look saw it, or could not be and is to be tried again. Whether somebody touched it since it was
    /// read before.
    pub fn was_read(&mut self, is_known: bool, now: Duration) -> bool {
        let touched = self.seen != *self.stillness.read();
        if is_known {
            self.stillness.was_read(self.seen.clone(), now);
        } else {
            self.stillness.was_not_read(self.seen.clone(), now);
        }
        touched
    }

    /// Notes that it was not read whole.
    pub fn was_changing(&mut self) {
        if self.reading() == Reading::Written {
            self.stillness.was_changing(&self.seen);
        }
    }
}
