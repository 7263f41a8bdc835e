//! The log line of a decision.
//!
//! An event of `tracing` with its own target, so that the log's level does not filter it. Values
//! that the client sent are cut to a maximal length; unknown members are left out.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::CheckRecord;
use crate::authz::key::{KeyRecord, PlanName};
use crate::authz::reason::{DecisionKind, Reason};
pub(super) const TARGET: &str = module_path!();

/// The one field that is a list: its items, separated by spaces.
pub(super) const LIST: &str = "places";

/// Bytes of a method that are shown: the longest registered one, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD: usize = 32;

/// Bytes of an authority that are shown: a name of 253, a final dot, a colon and a port.
const MAX_HOST: usize = 260;

/// Bytes of a path that are shown.
const MAX_PATH: usize = 1024;

/// Bytes of a request id that are shown: Envoy's own have 36.
const MAX_REQUEST_ID: usize = 128;

/// Which decisions leave a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decisions {
    /// Every decision.
    All,
    /// Denials and errors; in observe mode what would have been one.
    #[default]
    Denied,
    /// No decision.
    None,
}

impl Decisions {
    /// Whether a decision of that kind leaves a line.
    pub const fn include(self, decision: DecisionKind) -> bool {
        match self {
            Self::All => true,
            Self::Denied => !matches!(decision, DecisionKind::Allow),
            Self::None => false,
        }
    }
}

pub(super) fn log(record: &CheckRecord<'_>) {
    // The record's path has no query, which may hold a credential; this makes sure of it.
    let path = record.path.split(|byte| *byte == b'?').next();
    let method = shown(record.method, MAX_METHOD);
    let host = shown(record.host, MAX_HOST);
    let path = shown(path.unwrap_or_default(), MAX_PATH);
    let request_id = shown(record.request_id.unwrap_or_default(), MAX_REQUEST_ID);
    let decision_id = Some(record.decision_id).filter(|id| !id.is_empty());
    // An event's fields cannot be lists; the formatter splits this one.
    let places = (!record.places.is_empty()).then(|| record.places.join(" "));
    // tracing fixes the level of an event at its call site.
    macro_rules! log_at {
        ($level:expr) => {
            tracing::event!(
                $level,
                decision = record.decision.as_str(),
                reason = record.reason.as_str(),
                status = record.status,
                key_id = record.key.map(|key| key.id.as_str()),
                client = record.key.map(KeyRecord::client),
                plan = record
                    .key
                    .and_then(|key| key.plan.as_ref())
                    .map(PlanName::as_str),
                rule = record.rule,
                secret = record.secret,
                places = places.as_deref(),
                hint = record.hint,
                method = method.as_deref(),
                host = host.as_deref(),
                path = path.as_deref(),
                request_id = request_id.as_deref(),
                decision_id = decision_id,
                source_ip = record.source_ip.map(tracing::field::display),
                duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
                "decision"
            )
        };
    }
    match record.decision {
        DecisionKind::Allow | DecisionKind::Deny => log_at!(Level::INFO),
        DecisionKind::Error => log_at!(Level::WARN),
    }
}

/// Logs how many decisions with that reason left no line.
pub(super) fn log_left_out(reason: Reason, left_out: u64) {
    tracing::info!(
        target: TARGET,
        decision = reason.kind().as_str(),
        reason = reason.as_str(),
        left_out,
        "denied decisions left out"
    );
}

/// The first `limit` bytes of what a client sent, as text; `None` where it sent none.
fn shown(bytes: &[u8], limit: usize) -> Option<Cow<'_, str>> {
    match bytes.get(..limit) {
        Some(first) if bytes.len() > limit => {
            Some(format!("{}…", String::from_utf8_lossy(first)).into())
        }
        Some(_) | None => (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests;
