//! `tracing`'s events as lines of the log.
//!
//! Spans are not kept: what they would hold is either in the decision line or a dependency's.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::line::Line;
use super::{Log, LogLevel};

/// Hands events to a log.
#[derive(Debug)]
pub(super) struct LogSubscriber {
    log: Log,
}

impl LogSubscriber {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }
}

impl Subscriber for LogSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = filter(self.log.settings().level);
        let cap = if is_ours(metadata) {
            level
        } else {
            level.min(LevelFilter::WARN)
        };
        metadata.is_event() && *metadata.level() <= cap
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.log.settings().level))
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        let mut line = self
            .log
            .begin(level(*event.metadata().level()), &message.text);
        if is_ours(event.metadata()) {
            event.record(&mut Members { line: &mut line });
        } else {
            line.text("target", event.metadata().target());
        }
        self.log.write(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Whether the event is keyward's own.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let name = env!("CARGO_CRATE_NAME");
    metadata
        .target()
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

const fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

/// The field in which `tracing` keeps an event's message.
const MESSAGE: &str = "message";

/// Takes the message alone.
#[derive(Default)]
struct Message {
    text: String,
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.text = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.text);
        }
    }
}

/// Writes all but the message.
struct Members<'a> {
    line: &'a mut Line,
}

impl Visit for Members<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.line.text(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.line.text(field.name(), value);
        }
    }

    /// An error with its causes, as one text.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        self.line.text(field.name(), &chain);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.line.plain(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.line.plain(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.line.plain(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.line.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.line.plain(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows neither infinity nor what is not a number.
        if value.is_finite() {
            self.line.plain(field.name(), value);
        } else {
            self.line.display(field.name(), value);
        }
    }
}
