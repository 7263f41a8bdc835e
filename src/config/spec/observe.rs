//! The YAML shape of metrics and the log.
//!
//! The log itself has the types of its formats and levels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::observe::decision_log::Decisions;
use crate::observe::log::{LogFormat, LogLevel, LogSettings};

/// What `/metrics` shows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"max_keys": 10000}]))]
pub struct MetricsSpec {
    /// The number of keys with series of their own; all others share `key_id="_other"`.
    pub max_keys: usize,
}

impl Default for MetricsSpec {
    fn default() -> Self {
        Self {
            max_keys: defaults::METRICS_MAX_KEYS,
        }
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"level": "info"}]))]
pub struct LogSpec {
    /// The format of lines.
    pub format: LogFormat,
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// Which decisions are logged.
    pub decisions: Decisions,
    /// With `denied`: the maximum number of decisions logged a second for each reason. One more
    /// line has the number of the others.
    pub max_denied: u32,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: LogLevel::default(),
            decisions: Decisions::default(),
            max_denied: defaults::LOG_MAX_DENIED,
        }
    }
}

impl LogSpec {
    /// The log's settings.
    pub(in crate::config) fn settings(&self) -> LogSettings {
        LogSettings {
            format: self.format,
            level: self.level,
            decisions: self.decisions,
            max_denied: self.max_denied,
        }
    }
}
