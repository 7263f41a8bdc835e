//! Where lines go: everything that is told through `tracing`, by way of a thread of its own to standard error.
//!
//! Decisions are events like all others, so that lines stand in the order in which they were written. Nobody who serves
//! waits for whoever reads: when the reader stalls, lines are lost and counted. Whatever the level, dependencies are heard
//! from `warn` on only and without their fields: at `trace` the HTTP/2 stack prints whole frames, and with them the secrets
//! that callers present.

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

use self::flood::Floods;
use self::line::LineFormat;
use super::CheckRecord;
use super::decision_log::{self, Decisions};
use crate::clock::Clock;

mod authority;
mod flood;
pub(super) mod line;

/// The first part of the target of keyward's own events.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Lines that may wait to be written: some 2 MiB of usual decisions. The queue takes 128 KiB while it is empty.
const MAX_WAITING_LINES: usize = 4096;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Words for people.
    Text,
}

impl LogFormat {
    /// Whether lines are JSON, where they are written to a terminal or not.
    pub const fn is_json(self, to_terminal: bool) -> bool {
        match self {
            Self::Auto => !to_terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

/// Down to which level lines are written. Decisions are written as `decisions` says, whatever the level.
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
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// What is heard at this level.
    fn targets(self) -> Targets {
        Targets::new()
            .with_default(self.filter().min(LevelFilter::WARN))
            .with_target(OURS, self.filter())
            .with_target(decision_log::TARGET, LevelFilter::INFO)
            .with_target(authority::TARGET, LevelFilter::DEBUG)
    }
}

/// What a reload may change of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// Down to which level.
    pub level: LogLevel,
    /// Which decisions are written.
    pub decisions: Decisions,
    /// Of `Decisions::Denied`, how many a second are written for each reason.
    pub max_denied: u32,
}

/// What lines are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Console {
    /// It is a terminal.
    pub is_terminal: bool,
    /// Text may be in colour.
    pub colour: bool,
}

/// The log. A cheap handle; all clones are one log.
#[derive(Clone)]
pub struct Log {
    settings: Arc<ArcSwap<LogSettings>>,
    targets: reload::Handle<Targets, Registry>,
    dispatch: Dispatch,
    floods: Arc<Floods>,
    clock: Arc<dyn Clock>,
}

/// Writes what is still under way when it is dropped, unless the reader stalls for a second.
#[derive(Debug)]
#[must_use = "lines that are under way are lost when it is not kept to the end"]
pub struct Flush(#[expect(dead_code, reason = "kept for its end")] WorkerGuard);

impl Log {
    /// Starts the thread that writes to `output`. Lines that are still under way are written when `Flush` is dropped,
    /// which the caller does last. `console` is what the caller knows of `output`.
    pub fn start(
        settings: LogSettings,
        console: Console,
        clock: Arc<dyn Clock>,
        output: impl io::Write + Send + 'static,
    ) -> (Self, Flush) {
        // Lines that wait together are written together.
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
            told_lost: AtomicUsize::new(0),
        };
        let layer = lines::layer()
            .event_format(format)
            .with_ansi(console.colour)
            .with_writer(writer)
            .with_filter(authority::FirstRefusal::default());
        let log = Self {
            settings,
            targets: handle,
            dispatch: Dispatch::new(registry().with(targets).with(layer)),
            floods: Arc::new(Floods::new()),
            clock,
        };
        (log, Flush(guard))
    }

    /// Makes this the process's log: of all that is told through `tracing`, and of panics, of which it tells where they
    /// were and not what they say, for a dependency's panic may quote what it was given.
    ///
    /// # Errors
    /// When the process has one already.
    pub fn install(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::dispatcher::set_global_default(self.dispatch.clone())?;
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(tracing::field::display);
            tracing::error!(location, "panicked");
        }));
        Ok(())
    }

    /// Puts other settings in force, for the next line.
    pub fn reconfigure(&self, settings: LogSettings) {
        self.settings.store(Arc::new(settings));
        // Fails where the subscriber is gone or poisoned: then there is no log to configure.
        _ = self.targets.reload(settings.level.targets());
    }

    /// The settings in force.
    pub fn settings(&self) -> LogSettings {
        **self.settings.load()
    }

    /// Tells of a decision, if such decisions are to be told of.
    pub fn decision(&self, record: &CheckRecord<'_>) {
        let settings = self.settings();
        if !settings.decisions.include(record.decision) {
            return;
        }
        if settings.decisions == Decisions::Denied {
            let now = self.clock.monotonic();
            let counted = self.floods.count(record.reason, settings.max_denied, now);
            if counted.left_out > 0 {
                decision_log::tell_left_out(record.reason, counted.left_out);
            }
            if !counted.is_written {
                return;
            }
        }
        decision_log::tell(record);
    }

    /// Tells how many denied decisions were left out in seconds that are over. To be called every second or so: the last of a
    /// flood has no decision after it that would tell.
    pub fn tell_left_out(&self) {
        for (reason, left_out) in self.floods.over(self.clock.monotonic()) {
            decision_log::tell_left_out(reason, left_out);
        }
    }

    /// Tells of all denied decisions that were left out, for no more will come.
    pub fn tell_all_left_out(&self) {
        for (reason, left_out) in self.floods.all() {
            decision_log::tell_left_out(reason, left_out);
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
