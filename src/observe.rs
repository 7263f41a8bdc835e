//! What a check leaves behind: metrics, and a line in the log.
//!
//! The edges call `Observer::checked` once per check with everything that is known of it. Counting
//! is a handful of atomic increments on held handles; a line is formatted only where the
//! configuration asks for it. Nothing here decides, and nothing here ever sees a secret: a
//! `CheckRecord` has no headers and no query.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::log::Log;
use self::metrics::{KeySeries, Metrics};
use crate::authz::key::KeyRecord;
use crate::authz::reason::{DecisionKind, Reason};

pub mod decision_log;
pub mod log;
pub mod metrics;

/// One check, as it is counted and logged. Bytes are as the client sent them, and made safe where
/// they are written.
#[derive(Clone)]
pub struct CheckRecord<'a> {
    /// Allow, deny or error; in observe mode, what it would have been.
    pub decision: DecisionKind,
    /// Why.
    pub reason: Reason,
    /// The HTTP status that the caller gets, 200 if the request is allowed.
    pub status: u16,
    /// The key that was presented, where it is known.
    pub key: Option<&'a KeyRecord>,
    /// The id of the secret that was presented, where it has one.
    pub secret: Option<&'a str>,
    /// The name of the rule that decided or was to decide.
    pub rule: Option<&'a str>,
    /// Where secrets stood, of a request that presented more than one; the names of places in the
    /// configuration.
    pub places: &'a [String],
    /// What is odd about how a key was presented, in words of keyward's own.
    pub hint: Option<&'a str>,
    /// The method; empty where not known.
    pub method: &'a [u8],
    /// The authority; empty where not known.
    pub host: &'a [u8],
    /// The path, without the query, which may hold a credential; empty where not known.
    pub path: &'a [u8],
    /// The value of `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// The decision's own name; empty where it has none.
    pub decision_id: &'a str,
    /// The client's address, as the configuration takes it.
    pub source_ip: Option<IpAddr>,
    /// How long the check took.
    pub duration: Duration,
    /// The wall clock.
    pub now: Timestamp,
}

/// Names the decision and nothing that the client sent.
impl fmt::Debug for CheckRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.map(|record| record.id.as_str());
        f.debug_struct("CheckRecord")
            .field("reason", &self.reason)
            .field("key", &key)
            .finish_non_exhaustive()
    }
}

/// Where checks are recorded.
#[derive(Debug, Clone)]
pub struct Observer {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub log: Log,
}

impl Observer {
    /// Records a check: `used` is the series of the key that was presented, where it is known, and
    /// the place of the presented secret among the key's.
    pub fn checked(&self, record: &CheckRecord<'_>, used: Option<(&KeySeries, Option<usize>)>) {
        self.metrics
            .checked(record.decision, record.reason, record.duration);
        if let Some((series, secret)) = used {
            series.record(record.reason, secret, record.now);
        }
        self.log.decision(record);
    }
}
