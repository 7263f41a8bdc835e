//! Where lines go: one JSON object a line, or text for people, through a thread of its own to standard error.
//!
//! `Log` is both the sink of `tracing` and of the decision log, so that lines stand in the order in which they were
//! written. Whatever the level, dependencies are heard from `warn` on only and without their fields: at `trace` the
//! HTTP/2 stack prints whole frames, and with them the secrets that callers present.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::subscriber::SetGlobalDefaultError;

use self::line::Line;
use self::subscriber::LogSubscriber;
pub use self::writer::Flush;
use self::writer::Sink;
use super::CheckRecord;
use super::decision_log::{self, Decisions};
use crate::authz::clock::Clock;

pub(super) mod line;
mod subscriber;
mod writer;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// Words for people.
    Text,
}

/// Down to which level lines are written. Decisions are written as `Decisions` says, whatever the level.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// keyward could not do its job.
    Error,
    /// Something needs attention.
    Warn,
    /// What an operator wants to know of a process that is well.
    #[default]
    Info,
    /// What helps to find out why.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The value of the member `level`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What a reload may change of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// Down to which level.
    pub level: LogLevel,
    /// Which decisions are written.
    pub decisions: Decisions,
}

/// The log. A cheap handle; all clones are one log.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<ArcSwap<LogSettings>>,
    /// Whether text is coloured.
    colour: bool,
    clock: Arc<dyn Clock>,
    sink: Sink,
}

impl Log {
    /// Starts the thread that writes to `output`. Lines that are still under way are written when `Flush` is dropped,
    /// which the caller does last. `colour` is for text: the caller knows whether `output` is a terminal.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        settings: LogSettings,
        colour: bool,
        clock: Arc<dyn Clock>,
        output: impl io::Write + Send + 'static,
    ) -> io::Result<(Self, Flush)> {
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let lost_line = {
            let (settings, clock) = (Arc::clone(&settings), Arc::clone(&clock));
            move |lines: u64| {
                let format = settings.load().format;
                let mut line = Line::begin(
                    format,
                    colour,
                    clock.now(),
                    LogLevel::Warn,
                    "log lines were lost",
                );
                line.plain("lines", lines);
                line.end()
            }
        };
        let (sink, flush) = writer::start(output, lost_line)?;
        Ok((
            Self {
                inner: Arc::new(Inner {
                    settings,
                    colour,
                    clock,
                    sink,
                }),
            },
            flush,
        ))
    }

    /// Makes this the process's log: of all that is told through `tracing`, and of panics, of which it tells where they
    /// were and not what they say, for a dependency's panic may quote what it was given.
    ///
    /// # Errors
    /// When the process has one already.
    pub fn install(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::subscriber::set_global_default(self.subscriber())?;
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(tracing::field::display);
            tracing::error!(location, "panicked");
        }));
        Ok(())
    }

    /// Puts other settings in force, for the next line.
    pub fn reconfigure(&self, settings: LogSettings) {
        self.inner.settings.store(Arc::new(settings));
        // Which lines are not even formatted is cached where they come from.
        tracing::callsite::rebuild_interest_cache();
    }

    /// The settings in force.
    pub fn settings(&self) -> LogSettings {
        **self.inner.settings.load()
    }

    /// Writes the line of a decision, if such decisions are to be written.
    pub fn decision(&self, record: &CheckRecord<'_>) {
        let settings = self.settings();
        if settings.decisions.include(record.verdict) {
            self.inner.sink.write(&decision_log::line(
                record,
                settings.format,
                self.inner.colour,
            ));
        }
    }

    /// This log as a subscriber of `tracing`.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        LogSubscriber::new(self.clone())
    }

    /// A line that begins now.
    fn begin(&self, level: LogLevel, message: &str) -> Line {
        let settings = self.settings();
        Line::begin(
            settings.format,
            self.inner.colour,
            self.inner.clock.now(),
            level,
            message,
        )
    }

    fn write(&self, line: Line) {
        self.inner.sink.write(&line.end());
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.settings()).finish()
    }
}

#[cfg(test)]
mod tests;
