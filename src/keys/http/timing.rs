//! How long the HTTP source waits for what.
//!
//! What an operator may set is in `settings`; this is what follows from promises: a change of a file is seen within seconds, and
//! when the service is back, changes are heard again within five. Tests of waiting take shorter times.

use std::time::Duration;

use crate::watch::SETTLE_TIME;

/// The longest pause before a lookup is tried again: enough for a server that is being replaced, little of the time that it has.
pub(super) const RETRY_WITHIN: Duration = Duration::from_millis(8);

/// How often a connection is asked whether it lives, and how many times in vain before it is taken for lost: as Redis's push
/// connection is.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Probes without an answer before a connection is given up.
pub(super) const PROBES: u32 = 3;

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long the rest of an answer that is understood may take: less than a new connection would, and little of a lookup's time.
    pub(super) skip_within: Duration,
    /// How often files are looked at: a few calls to the file system. Two looks must see the same before they are read.
    pub(super) look_every: Duration,
    /// How long connecting, or opening the stream of events, may take. With the longest pause it makes four seconds, of the five that were promised.
    pub(super) open_within: Duration,
    /// The first pause before the stream is opened anew.
    pub(super) first_pause: Duration,
    /// The longest such pause.
    pub(super) longest_pause: Duration,
    /// The least silence that is held against a server that sends heartbeats.
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
