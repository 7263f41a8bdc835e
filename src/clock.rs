//! The one source of time: wall clock for validity, monotonic for limits and freshness.
//!
//! Everything that depends on time takes a `Clock` or a value read from one, so that tests set the
//! time instead of waiting. A lint bans reading the operating system's clocks anywhere else.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync {
    /// The wall clock, for `not_before`, `expires_at`, `revoked_at` and logs.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary fixed moment; never goes back. For durations, freshness and limits.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}
