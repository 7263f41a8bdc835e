//! The log's settings, from what the configuration says of it.
//!
//! The configuration has words of its own for what operators write, and the log for what it does. This is the one place
//! that knows both, at start and at each reload.

use crate::config::{Config, LogFormat, LogLevel, LoggedDecisions};
use crate::observe::decision_log::Decisions;
use crate::observe::log::{self, LogSettings};

/// The settings of a configuration.
pub(crate) fn settings(config: &Config) -> LogSettings {
    LogSettings {
        format: match config.log.format {
            LogFormat::Json => log::LogFormat::Json,
            LogFormat::Text => log::LogFormat::Text,
        },
        level: match config.log.level {
            LogLevel::Error => log::LogLevel::Error,
            LogLevel::Warn => log::LogLevel::Warn,
            LogLevel::Info => log::LogLevel::Info,
            LogLevel::Debug => log::LogLevel::Debug,
            LogLevel::Trace => log::LogLevel::Trace,
        },
        decisions: match config.log.decisions {
            LoggedDecisions::All => Decisions::All,
            LoggedDecisions::Denied => Decisions::Denied,
            LoggedDecisions::None => Decisions::None,
        },
    }
}
