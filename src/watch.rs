//! When a changed file is to be read: at once, later, or not at all.
//!
//! Half a YAML file can be a valid one, with a key whose restrictions have not been written yet. So a file that came whole, by
//! a rename or a swapped symlink, is read at once, and one that is being written in place only after it has stood still for a
//! second. What could not be read is tried again, for the reason may pass without a trace in the file, as a want of file
//! descriptors does. [`Sighting`] is what a look at the path shows; [`Stillness`] judges sightings of one file, and touches no file
//! and no clock; [`FollowedFile`] joins the two for one file, and [`Followed`] for files that are read together. Keys,
//! configuration, certificates, tokens and passwords are all followed by these.

use std::time::Duration;

mod file;
mod files;
pub mod named_file;
pub mod secret_file;
mod sighting;

#[cfg(test)]
mod tests;

pub use file::{FollowedFile, Look};
pub use files::{Followed, News};
pub use sighting::{FileState, Sighting};

/// How long a file that is written in place must stand still: longer than writers pause, shorter than people wait.
pub const STILL_FOR: Duration = Duration::from_secs(1);

/// After what time a read that failed is tried again: well within the five seconds in which every change is to be seen.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What to do about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing: it is what was read last.
    Unchanged,
    /// Read it now, and tell by [`Stillness::was_read`].
    Read,
    /// Look again after this time, or when something happens.
    Wait(Duration),
}

impl Advice {
    /// What is left of a time that began then: to wait for it, or to read if nothing is.
    fn after(time: Duration, since: Duration, now: Duration) -> Self {
        match time.checked_sub(now.saturating_sub(since)) {
            None | Some(Duration::ZERO) => Self::Read,
            Some(rest) => Self::Wait(rest),
        }
    }
}

/// Judges what is seen of one file.
#[derive(Debug, Clone)]
pub struct Stillness {
    /// How long it must stand still when it is written in place.
    still_for: Duration,
    /// As it was when it was last read.
    read: Sighting,
    /// Whether it was seen to be so for `still_for` and then read: two writes within one tick of the file system's clock look
    /// like one, so that what is read at once is read a second time.
    settled: bool,
    /// When reading it failed, if that is the last that is known.
    failed: Option<Duration>,
    /// As it was at the last look, and since when.
    last: Option<(Sighting, Duration)>,
    /// The file that was moved into place since the last reading.
    moved: Option<(u64, u64)>,
    /// The file that changed while it was read, which only a writer in place does.
    written: Option<(u64, u64)>,
}

impl Stillness {
    /// Judges a file that was read as it was in that sighting.
    pub fn new(read: Sighting) -> Self {
        Self {
            still_for: STILL_FOR,
            read,
            settled: false,
            failed: None,
            last: None,
            moved: None,
            written: None,
        }
    }

    /// As it was when it was last read.
    pub fn read(&self) -> &Sighting {
        &self.read
    }

    /// What to do, given what is seen now, on the monotonic clock. `moved` is whether an event since the last call told of a rename
    /// to this very file: the surest sign, where there are events.
    pub fn judge(&mut self, seen: &Sighting, moved: bool, now: Duration) -> Advice {
        let changed = *seen != self.read;
        let identity = seen.identity();
        // An event comes after its change: what was moved, and is not to be seen, was something else. And what was moved, or
        // written, and is not there any more, says nothing of the file that is.
        let is_moved = changed && identity.is_some() && (moved || self.moved == identity);
        self.moved = identity.filter(|_| is_moved);
        self.written = self.written.filter(|file| Some(*file) == identity);
        if !changed {
            if let Some(failed) = self.failed {
                return Advice::after(RETRY_AFTER, failed, now);
            }
            if self.settled {
                self.last = None;
                return Advice::Unchanged;
            }
        }
        let since = match &self.last {
            Some((last, since)) if last == seen => *since,
            Some(_) | None => {
                self.last = Some((seen.clone(), now));
                now
            }
        };
        if changed && self.written.is_none() && seen.came_whole_since(&self.read, is_moved) {
            return Advice::Read;
        }
        Advice::after(self.still_for, since, now)
    }

    /// It was read as it was in that sighting. Whatever is made of the content, the same need not be read again.
    pub fn was_read(&mut self, read: Sighting, now: Duration) {
        let still = |(last, since): &(Sighting, Duration)| {
            *last == read && now.saturating_sub(*since) >= self.still_for
        };
        self.settled = self.last.as_ref().is_some_and(still);
        self.failed = None;
        self.moved = None;
        self.written = None;
        self.read = read;
    }

    /// It was to be read as it was in that sighting, and could not be, or not be used: it is due again, whether it changes or not.
    pub fn was_not_read(&mut self, tried: Sighting, now: Duration) {
        self.was_read(tried, now);
        self.failed = Some(now);
    }

    /// It was written in place while it was read: nothing is known of what was read.
    pub fn was_changing(&mut self, written: &Sighting) {
        self.last = None;
        self.written = written.identity();
    }
}
