//! The times of the HTTP source that are not settings.
//!
//! They follow from promises: a change of a file is seen within seconds, and when the service is up
//! again, changes are received within five. Tests shorten them.

use std::time::Duration;

use crate::watch::SETTLE_TIME;

/// The longest pause before a lookup is tried again: enough for a server that is being replaced,
/// and little of the lookup's time.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_millis(8);

/// How often a connection is probed, like the push connection of Redis.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Unanswered probes after which it counts as broken.
pub(super) const KEEPALIVE_RETRIES: u32 = 3;

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long the unread rest of an answer may take: less than a new connection would.
    pub(super) skip_timeout: Duration,
    /// How often files are looked at, and how long they must be unchanged before they are read.
    pub(super) poll_interval: Duration,
    /// How long connecting, or opening the stream of events, may take. With the longest pause that
    /// is four of the promised five seconds.
    pub(super) connect_timeout: Duration,
    /// The first pause before the stream is opened again.
    pub(super) min_backoff: Duration,
    pub(super) max_backoff: Duration,
    /// The shortest silence for which a stream with heartbeats is closed.
    pub(super) min_silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            skip_timeout: Duration::from_millis(10),
            poll_interval: SETTLE_TIME,
            connect_timeout: Duration::from_secs(2),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            min_silence: Duration::from_secs(3),
        }
    }
}
