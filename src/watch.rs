//! When a changed file is to be read: at once, later, or not at all.
//!
//! Half a YAML file can be a valid one, with a key whose restrictions have not been written yet. So a file that came whole, by
//! a rename or a swapped symlink, is read at once, and one that is being written in place only after it has stood still for a
//! second. What could not be read is tried again, for the reason may pass without a trace in the file, as a want of file
//! descriptors does. [`Fingerprint`] is what a look at the path shows; [`SettleTracker`] judges sightings of one file, and touches no file
//! and no clock; [`WatchedFile`] joins the two for one file, and [`WatchedFiles`] for files that are read together. Keys,
//! configuration, certificates, tokens and passwords are all followed by these.

use std::time::Duration;

pub mod events;
mod file;
mod files;
mod fingerprint;
pub mod named_file;
pub mod secret_file;

#[cfg(test)]
mod tests;

pub use file::{Observation, WatchedFile};
pub use files::{ReadResult, WatchedFiles};
pub use fingerprint::{FileStat, Fingerprint};

/// How long a file that is written in place must stand still: longer than writers pause, shorter than people wait.
pub const SETTLE_TIME: Duration = Duration::from_secs(1);

/// After what time a read that failed is tried again: well within the five seconds in which every change is to be seen.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What to do about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadAdvice {
    /// Nothing: it is what was read last.
    Unchanged,
    /// Read it now, and tell by [`SettleTracker::was_read`].
    Read,
    /// Look again after this time, or when something happens.
    Wait(Duration),
}

impl ReloadAdvice {
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
pub struct SettleTracker {
    /// How long it must stand still when it is written in place.
    settle_time: Duration,
    /// As it was when it was last read.
    read: Fingerprint,
    /// Whether it was seen to be so for `settle_time` and then read: two writes within one tick of the file system's clock look
    /// like one, so that what is read at once is read a second time.
    settled: bool,
    /// When reading it failed, if that is the last that is known.
    failed: Option<Duration>,
    /// As it was at the last look, and since when.
    last: Option<(Fingerprint, Duration)>,
    /// The file that was moved into place since the last reading.
    moved: Option<(u64, u64)>,
    /// The file that changed while it was read, which only a writer in place does.
    written: Option<(u64, u64)>,
}

impl SettleTracker {
    /// Judges a file that was read as it was in that fingerprint.
    pub fn new(read: Fingerprint) -> Self {
        Self {
            settle_time: SETTLE_TIME,
            read,
            settled: false,
            failed: None,
            last: None,
            moved: None,
            written: None,
        }
    }

    /// As it was when it was last read.
    pub fn read(&self) -> &Fingerprint {
        &self.read
    }

    /// What to do, given what is seen now, on the monotonic clock. `moved` is whether an event since the last call told of a rename
    /// to this very file: the surest sign, where there are events.
    pub fn advise(&mut self, seen: &Fingerprint, moved: bool, now: Duration) -> ReloadAdvice {
        let changed = *seen != self.read;
        let identity = seen.identity();
        // An event comes after its change: what was moved, and is not to be seen, was something else. And what was moved, or
        // written, and is not there any more, says nothing of the file that is.
        let is_moved = changed && identity.is_some() && (moved || self.moved == identity);
        self.moved = identity.filter(|_| is_moved);
        self.written = self.written.filter(|file| Some(*file) == identity);
        if !changed {
            if let Some(failed) = self.failed {
                return ReloadAdvice::after(RETRY_INTERVAL, failed, now);
            }
            if self.settled {
                self.last = None;
                return ReloadAdvice::Unchanged;
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
            return ReloadAdvice::Read;
        }
        ReloadAdvice::after(self.settle_time, since, now)
    }

    /// It was read as it was in that fingerprint. Whatever is made of the content, the same need not be read again.
    pub fn was_read(&mut self, read: Fingerprint, now: Duration) {
        let still = |(last, since): &(Fingerprint, Duration)| {
            *last == read && now.saturating_sub(*since) >= self.settle_time
        };
        self.settled = self.last.as_ref().is_some_and(still);
        self.failed = None;
        self.moved = None;
        self.written = None;
        self.read = read;
    }

    /// It was to be read as it was in that fingerprint, and could not be, or not be used: it is due again, whether it changes or not.
    pub fn read_failed(&mut self, tried: Fingerprint, now: Duration) {
        self.was_read(tried, now);
        self.failed = Some(now);
    }

    /// It was written in place while it was read: nothing is known of what was read.
    pub fn was_written_during_read(&mut self, written: &Fingerprint) {
        self.last = None;
        self.written = written.identity();
    }
}
