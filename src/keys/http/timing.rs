//! The times of the HTTP source that are not settings.
//!
//! They follow from promises: a change of a file is seen within seconds, and when the service is up
//! again, changes are received within five. Tests shorten them.

use std::time::Duration;

use crate::watch::SETTLE_TIME;

/// The longest pause before a lookup is tried again: enough for a server that is being replaced,
/// and little of the lookup's time.
pub(super) const RETRY_WITHIN: Duration = Duration::from_millis(8);

/// How often a connection is probed, like the push connection of Redis.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Unanswered probes after which it counts as broken.
pub(super) const PROBES: u32 = 3;

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long the unread rest of an answer may take: less than a new connection would.
    pub(super) skip_within: Duration,
    /// How often files are looked at, and how long they must be unchanged before they are read.
    pub(super) look_every: Duration,
    /// How long connecting, or opening the stream of events, may take. With the longest pause that
    /// is four of the promised five seconds.
    pub(super) open_within: Duration,
    /// The first pause before the stream is opened again.
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    /// The shortest silence for which a stream with heartbeats is closed.
    pub(super) least_silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            skip_within: Duration::from_millis(10),
            look_every: SETTLE_TIME,
            open_within: Duration::from_secs(2),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            least_silence: Duration::from_secs(3),
        }
    }
}
