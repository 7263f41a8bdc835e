//! The settle tracker of one file: a debounce that knows how files are written.
//!
//! Half a YAML file can be a valid one, with a key whose restrictions have not been written yet. So
//! a file that came whole, by a rename or a swapped symlink, is read at once, and one that is
//! written in place only once it has been unchanged for [`SETTLE_TIME`]. A failed read is tried
//! again without any change, because its cause, such as a lack of file descriptors, may pass
//! without a trace in the file. Pure: fingerprints and times come in as arguments.

use std::time::Duration;

use super::{Fingerprint, RETRY_INTERVAL, ReloadAdvice, SETTLE_TIME};

/// Decides when one file is to be read.
#[derive(Debug, Clone)]
pub struct SettleTracker {
    pub(super) settle_time: Duration,
    /// The fingerprint under which it was last read.
    read: Fingerprint,
    /// Whether it was unchanged for `settle_time` before that read. Two writes within one tick of
    /// the file system's clock leave the same fingerprint, so a file that was read at once is read
    /// a second time once it has settled.
    settled: bool,
    /// When the last read failed, unless one has succeeded since.
    failed: Option<Duration>,
    /// The fingerprint at the last call, and since when it has been the same.
    last: Option<(Fingerprint, Duration)>,
    /// The file that was moved into place since the last read.
    moved: Option<(u64, u64)>,
    /// The file that changed during a read, which only a writer in place causes.
    written: Option<(u64, u64)>,
}

impl SettleTracker {
    /// Tracks a file that was read under that fingerprint.
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

    /// The fingerprint under which the file was last read.
    pub fn read(&self) -> &Fingerprint {
        &self.read
    }

    /// What to do, given the fingerprint at this moment of the monotonic clock. `moved` is whether
    /// an event since the last call reported a rename to this very path.
    pub fn advise(&mut self, seen: &Fingerprint, moved: bool, now: Duration) -> ReloadAdvice {
        let changed = *seen != self.read;
        let identity = seen.identity();
        // Events come after their change. If the path shows no change or no file, the event was
        // about a file that has been replaced since; and what is remembered of an inode that is no
        // longer at the path says nothing about the one that is.
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

    /// It was read under that fingerprint, whatever came of the content.
    pub fn note_read(&mut self, read: Fingerprint, now: Duration) {
        let has_settled = |(last, since): &(Fingerprint, Duration)| {
            *last == read && now.saturating_sub(*since) >= self.settle_time
        };
        self.settled = self.last.as_ref().is_some_and(has_settled);
        self.failed = None;
        self.moved = None;
        self.written = None;
        self.read = read;
    }

    /// It could not be read, or its content not used: it is due again even if it does not change.
    pub fn read_failed(&mut self, tried: Fingerprint, now: Duration) {
        self.note_read(tried, now);
        self.failed = Some(now);
    }

    /// It was written in place during a read, whose result is worth nothing.
    pub fn note_written_during_read(&mut self, written: &Fingerprint) {
        self.last = None;
        self.written = written.identity();
    }
}
