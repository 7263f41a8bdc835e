//! The log: formats every event of `tracing`, and a thread of its own writes the lines to stderr.
//!
//! Decisions are events like all others, so that all lines are in the order of their events. A
//! thread that serves never waits for the reader of stderr: while the reader stalls, lines are
//! dropped and counted. Events of dependencies are written from `warn` on, whatever the level, and
//! without their fields: at `trace` the HTTP/2 stack prints whole frames, with callers' secrets.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Dispatch;
use tracing::dispatcher::SetGlobalDefaultError;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{Registry, fmt as lines, registry, reload};

pub use self::line::json_line;

use self::line::LineFormat;
use self::line_limit::LineLimits;
use super::CheckRecord;
use super::decision_log::{self, Decisions};
use crate::caught_panic::is_caught;
use crate::clock::Clock;

mod authority;
pub(super) mod line;
mod line_limit;

/// The first part of the target of keyward's own events.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Lines that may wait to be written: about 2 MiB of usual decisions. The empty queue takes 128
/// KiB.
const MAX_WAITING_LINES: usize = 4096;

/// The format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

impl LogFormat {
    /// Whether lines are JSON, given whether they go to a terminal.
    pub const fn is_json(self, to_terminal: bool) -> bool {
        match self {
            Self::Auto => !to_terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

/// The lowest level that is logged. `decisions` selects decisions, whatever the level.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// keyward could not do its job.
    Error,
    /// Something needs attention.
    Warn,
    /// Normal operation.
    #[default]
    Info,
    /// Details for finding the cause of a problem.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// The targets that are written at this level.
    fn targets(self) -> Targets {
        Targets::new()
            .with_default(self.filter().min(LevelFilter::WARN))
            .with_target(OURS, self.filter())
            .with_target(decision_log::TARGET, LevelFilter::INFO)
            .with_target(authority::TARGET, LevelFilter::DEBUG)
    }
}

/// The settings that a reload may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The format of lines.
    pub format: LogFormat,
    /// The lowest level that is written.
    pub level: LogLevel,
    /// Which decisions are written.
    pub decisions: Decisions,
    /// With `Decisions::Denied`: lines per second for each reason.
    pub max_denied: u32,
}

/// The output that lines are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Console {
    /// It is a terminal.
    pub is_terminal: bool,
    /// Text may be in colour.
    pub colour: bool,
}

/// A cheap handle; all clones are one log.
#[derive(Clone)]
pub struct Log {
    settings: Arc<ArcSwap<LogSettings>>,
    targets: reload::Handle<Targets, Registry>,
    dispatch: Dispatch,
    line_limits: Arc<LineLimits>,
    clock: Arc<dyn Clock>,
}

/// Writes the waiting lines when it is dropped; gives up on a reader that stalls for a second.
#[derive(Debug)]
#[must_use = "waiting lines are lost unless it is kept until the end"]
pub struct Flush(#[expect(dead_code, reason = "only its drop matters")] WorkerGuard);

impl Log {
    /// Starts the thread that writes to `output`. The caller drops `Flush` last, which writes the
    /// lines that still wait. `console` describes `output`.
    pub fn start(
        settings: LogSettings,
        console: Console,
        clock: Arc<dyn Clock>,
        output: impl io::Write + Send + 'static,
    ) -> (Self, Flush) {
        // Buffered, so that lines that wait together take one system call.
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_WAITING_LINES)
            .thread_name("log")
            .finish(io::BufWriter::new(output));
        let (targets, handle) = reload::Layer::new(settings.level.targets());
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let format = LineFormat {
            settings: Arc::clone(&settings),
            to_terminal: console.is_terminal,
            clock: Arc::clone(&clock),
            lost: writer.error_counter(),
            reported_lost: AtomicUsize::new(0),
        };
        let layer = lines::layer()
            .event_format(format)
            .with_ansi(console.colour)
            .with_writer(writer)
            .with_filter(authority::FirstAuthorityError::default());
        let log = Self {
            settings,
            targets: handle,
            dispatch: Dispatch::new(registry().with(targets).with(layer)),
            line_limits: Arc::new(LineLimits::new()),
            clock,
        };
        (log, Flush(guard))
    }

    /// Makes this the process's log, for all events and for panics. Of a panic it logs the location
    /// and not the message, for a dependency's panic may quote a client's data.
    ///
    /// # Errors
    /// When the process has one already.
    pub fn install(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::dispatcher::set_global_default(self.dispatch.clone())?;
        std::panic::set_hook(Box::new(|panic| {
            if is_caught(panic) {
                return;
            }
            let location = panic.location().map(tracing::field::display);
            tracing::error!(location, "panicked");
        }));
        Ok(())
    }

    /// Replaces the settings, from the next line on.
    pub fn reconfigure(&self, settings: LogSettings) {
        self.settings.store(Arc::new(settings));
        // Fails only without a subscriber, and then there is no log to configure.
        _ = self.targets.reload(settings.level.targets());
    }

    /// The current settings.
    pub fn settings(&self) -> LogSettings {
        **self.settings.load()
    }

    /// Logs a decision, if the settings include it.
    pub fn decision(&self, record: &CheckRecord<'_>) {
        let settings = self.settings();
        if !settings.decisions.include(record.decision) {
            return;
        }
        if settings.decisions == Decisions::Denied {
            let now = self.clock.monotonic();
            let admission = self
                .line_limits
                .count(record.reason, settings.max_denied, now);
            if admission.left_out > 0 {
                decision_log::log_left_out(record.reason, admission.left_out);
            }
            if !admission.is_written {
                return;
            }
        }
        decision_log::log(record);
    }

    /// Reports how many denied decisions were left out in seconds that are over. The server calls
    /// this every second: after the last of a flood no further decision would report them.
    pub fn log_left_out(&self) {
        for (reason, left_out) in self.line_limits.over(self.clock.monotonic()) {
            decision_log::log_left_out(reason, left_out);
        }
    }

    /// Reports all denied decisions that were left out; for the end of the process.
    pub fn log_all_left_out(&self) {
        for (reason, left_out) in self.line_limits.all() {
            decision_log::log_left_out(reason, left_out);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.settings()).finish()
    }
}

#[cfg(test)]
pub(super) mod tests;
