//! When a changed keys file is to be read: at once, later, or not at all.
//!
//! Half a YAML file can be a valid one, with a key whose restrictions have not been written yet. So a file that came whole, by
//! a rename or a swapped symlink, is read at once, and one that is being written in place only after it has stood still for a
//! second. [`Sighting`] is what a look at the path shows; [`Stillness`] judges sightings, and touches
//! no file and no clock. It serves for the configuration file as well.

use std::time::Duration;

mod files;
mod sighting;

#[cfg(test)]
mod tests;

pub(super) use files::Followed;
pub use sighting::{FileFacts, Sighting};

/// How long a file that is written in place must stand still: longer than writers pause, shorter than people wait.
pub const STILL_FOR: Duration = Duration::from_secs(1);

/// What to do about the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing: they are what was read last.
    Unchanged,
    /// Read them now, and tell by [`Stillness::was_read`].
    Read,
    /// Look again after this time, or when something happens.
    Wait(Duration),
}

/// Follows the files of one path.
#[derive(Debug)]
pub struct Stillness {
    /// As they were when they were last read.
    read: Sighting,
    /// Whether they were seen to be so for `STILL_FOR` and then read: two writes within one tick of the file system's clock look
    /// like one, so that what is read at once is read a second time.
    settled: bool,
    /// As they were at the last look, and since when.
    last: Option<(Sighting, Duration)>,
    /// Whether something was moved into place since they were read.
    moved: bool,
    /// Whether they changed while they were read, which only a writer in place does.
    written: bool,
}

impl Stillness {
    /// Follows files that were read as they were in that sighting.
    pub fn new(read: Sighting) -> Self {
        Self {
            read,
            settled: false,
            last: None,
            moved: false,
            written: false,
        }
    }

    /// What to do, given what is seen now, on the monotonic clock. `moved` is whether an event since the last call told of a rename
    /// to one of the files or to a hidden name beside them, such as `..data`: the surest sign, where there are events.
    pub fn judge(&mut self, seen: &Sighting, moved: bool, now: Duration) -> Advice {
        let changed = *seen != self.read;
        // An event comes after its change: what was moved, and is not to be seen, was something else.
        self.moved = changed && (moved || self.moved);
        if !changed && self.settled {
            self.last = None;
            return Advice::Unchanged;
        }
        let since = match &self.last {
            Some((last, since)) if last == seen => *since,
            Some(_) | None => {
                self.last = Some((seen.clone(), now));
                now
            }
        };
        if changed && !self.written && seen.came_whole_since(&self.read, self.moved) {
            return Advice::Read;
        }
        match STILL_FOR.checked_sub(now.saturating_sub(since)) {
            None | Some(Duration::ZERO) => Advice::Read,
            Some(rest) => Advice::Wait(rest),
        }
    }

    /// They were read, or it was tried: this is how they were then. Whatever came of it, the same need not be read again.
    pub fn was_read(&mut self, read: Sighting, now: Duration) {
        let still = |(last, since): &(Sighting, Duration)| {
            *last == read && now.saturating_sub(*since) >= STILL_FOR
        };
        self.settled = self.last.as_ref().is_some_and(still);
        self.moved = false;
        self.written = false;
        self.read = read;
    }

    /// They changed while they were read: nothing is known of what was read.
    pub fn was_changing(&mut self) {
        self.last = None;
        self.written = true;
    }
}
