//! The line that a decision leaves in the log.
//!
//! Written straight into its bytes rather than through `tracing`, whose fields cost more than the check itself. What
//! the client sent is cut to a length and made safe; members that are not known are left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CheckRecord;
use super::log::line::Line;
use super::log::{LogFormat, LogLevel};
use crate::authz::key::PlanName;
use crate::authz::reason::Verdict;

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
    /// Denials and errors, in observe mode those that would have been.
    #[default]
    Denied,
    /// No decision.
    None,
}

impl Decisions {
    /// Whether a decision of that kind leaves a line.
    pub const fn include(self, verdict: Verdict) -> bool {
        match self {
            Self::All => true,
            Self::Denied => !matches!(verdict, Verdict::Allow),
            Self::None => false,
        }
    }
}

/// The line, with its line feed.
pub(super) fn line(record: &CheckRecord<'_>, format: LogFormat, colour: bool) -> String {
    let level = match record.verdict {
        Verdict::Allow | Verdict::Deny => LogLevel::Info,
        Verdict::Error => LogLevel::Warn,
    };
    let mut line = Line::begin(format, colour, record.now, level, "decision");
    line.text("decision", record.verdict.as_str());
    line.text("reason", record.reason.as_str());
    line.plain("status", record.status);
    if let Some(key) = record.key {
        line.text("key_id", key.id.as_str());
        line.text("client", key.client());
        if let Some(plan) = key.plan.as_ref().map(PlanName::as_str) {
            line.text("plan", plan);
        }
    }
    if let Some(rule) = record.rule {
        line.text("rule", rule);
    }
    line.bytes("method", record.method, MAX_METHOD);
    line.bytes("host", record.host, MAX_HOST);
    // The path comes without its query; a caller that forgets must not spill what may be a credential.
    line.bytes(
        "path",
        record
            .path
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default(),
        MAX_PATH,
    );
    line.bytes(
        "request_id",
        record.request_id.unwrap_or_default(),
        MAX_REQUEST_ID,
    );
    if let Some(source_ip) = record.source_ip {
        line.display("source_ip", source_ip);
    }
    line.plain("duration_us", record.duration.as_micros());
    line.end()
}

#[cfg(test)]
mod tests;
