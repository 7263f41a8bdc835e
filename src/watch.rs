//! Following files: deciding when a changed file is read, and reporting a problem with it once.
//!
//! Keys, configuration, certificates, tokens and passwords are all followed by this module. A
//! [`Fingerprint`] is what the file system shows of a path; a [`SettleTracker`] compares the
//! fingerprints of one file and is pure; a [`WatchedFile`] joins the two; [`WatchedFiles`] are read
//! together, such as a certificate and its key. The server combines events of
//! `DirectoryWatch` with slow polling; remote sources poll every second.
//! Nothing here knows what is in a file: the reader says whether the content can be used.

use std::time::Duration;

pub mod events;
mod file;
mod files;
mod fingerprint;
pub mod named_file;
mod problem;
pub mod secret_file;
mod settle;

#[cfg(test)]
mod tests;

pub use file::{Observation, WatchedFile};
pub use files::{ReadOutcome, WatchedFiles};
pub use fingerprint::{FileStat, Fingerprint};
pub use problem::ReportedProblem;
pub use settle::SettleTracker;

/// How long a file that is written in place must be unchanged before it is read: longer than
/// writers pause, shorter than people wait.
pub const SETTLE_TIME: Duration = Duration::from_secs(1);

/// When a failed read is tried again: well within the five seconds that the contract gives a
/// change.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What to do about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadAdvice {
    /// Nothing: it is as it was when it was last read.
    Unchanged,
    /// Read it now.
    Read,
    /// Look again after this time, or at the next event.
    Wait(Duration),
}

impl ReloadAdvice {
    /// Waits for the rest of a time that began at `since`; reads if nothing of it is left.
    fn after(time: Duration, since: Duration, now: Duration) -> Self {
        match time.checked_sub(now.saturating_sub(since)) {
            None | Some(Duration::ZERO) => Self::Read,
            Some(rest) => Self::Wait(rest),
        }
    }
}
