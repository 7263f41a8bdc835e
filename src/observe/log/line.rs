//! How an event of `tracing` becomes a line: one flat JSON object, or text for people.
//!
//! Control characters, line separators and characters that change the direction of writing are
//! escaped in every value, so that a client can neither forge a line nor send escape sequences to a
//! terminal. Spans are not written: the decision's line has what ours would hold, and those of
//! dependencies may hold secrets.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anstyle::{AnsiColor, Effects, Style};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::ErrorCounter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{LogSettings, authority};
use crate::clock::Clock;
use crate::error_chain::chain;
use crate::observe::decision_log;

/// The field in which `tracing` keeps an event's message.
const MESSAGE: &str = "message";

pub(super) struct LineFormat {
    pub(super) settings: Arc<ArcSwap<LogSettings>>,
    pub(super) to_terminal: bool,
    pub(super) clock: Arc<dyn Clock>,
    /// Lines that were dropped since the start because the queue was full.
    pub(super) lost: ErrorCounter,
    /// How many of them were reported.
    pub(super) reported_lost: AtomicUsize,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        if !is_ours(event.metadata()) {
            // A dependency may put what a client sent into fields.
            fields.members = Map::new();
            fields.put("target", event.metadata().target());
        }
        let lost = self.lost.dropped_lines();
        if self.reported_lost.swap(lost, Ordering::Relaxed) != lost {
            fields.put("lines_lost", lost);
        }
        let mut level = *event.metadata().level();
        if authority::is_refusal(event.metadata()) {
            (fields, level) = (EventFields::default(), Level::WARN);
            authority::MESSAGE.clone_into(&mut fields.message);
        }
        if self.settings.load().format.is_json(self.to_terminal) {
            let mut line = head(self.clock.now(), level, fields.message);
            line.append(&mut fields.members);
            return writeln!(writer, "{}", safe(&line)?);
        }
        let now = shown(self.clock.now());
        let in_colour = |style| {
            if writer.has_ansi_escapes() {
                style
            } else {
                Style::new()
            }
        };
        let (dim, loud) = (in_colour(Effects::DIMMED.into()), in_colour(colour(level)));
        let quoted = safe(&fields.message)?;
        let message = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let message = message.unwrap_or(&quoted);
        write!(
            writer,
            "{dim}{now}{dim:#} {loud}{level:>5}{loud:#} {message}"
        )?;
        for (name, value) in &fields.members {
            write!(writer, " {dim}{name}={dim:#}")?;
            match value.as_str().filter(|text| is_word(text)) {
                Some(word) => writer.write_str(word)?,
                None => writer.write_str(&safe(value)?)?,
            }
        }
        writeln!(writer)
    }
}

/// The JSON line of an event that has only a message, without the line break: for errors that end a
/// process which has no log yet, or no longer.
pub fn json_line(now: Timestamp, level: Level, message: String) -> String {
    safe(&head(now, level, message)).unwrap_or_default()
}

/// What every JSON line begins with.
fn head(now: Timestamp, level: Level, message: String) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("ts".to_owned(), shown(now).into());
    line.insert("level".to_owned(), level.as_str().to_lowercase().into());
    line.insert("msg".to_owned(), message.into());
    line
}

fn shown(now: Timestamp) -> String {
    format!("{now:.6}")
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let path = metadata.target().split_once("::");
    path.map_or(metadata.target(), |(name, _)| name) == super::OURS
}

fn colour(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        Level::DEBUG => AnsiColor::Blue.on_default(),
        Level::TRACE => AnsiColor::Magenta.on_default(),
    }
}

/// Whether text needs no quotes to be read as one value.
fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// The value as JSON, in which every unsafe character is escaped.
fn safe(value: &impl Serialize) -> Result<String, fmt::Error> {
    let mut json = Vec::with_capacity(512);
    value
        .serialize(&mut Serializer::with_formatter(&mut json, Safe))
        .map_err(|_| fmt::Error)?;
    String::from_utf8(json).map_err(|_| fmt::Error)
}

/// Escapes more than JSON requires.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: io::Write + ?Sized,
    {
        for part in fragment.split_inclusive(is_unsafe) {
            let last = part.chars().next_back().filter(|last| is_unsafe(*last));
            let shown = last.map_or(part, |last| part.strip_suffix(last).unwrap_or(part));
            writer.write_all(shown.as_bytes())?;
            if let Some(last) = last {
                write!(writer, "\\u{:04x}", u32::from(last))?;
            }
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, and characters that are invisible or change
/// the direction of writing. All have at most four hex digits, which JSON's escapes require.
pub(in crate::observe) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An event's message, and its other fields in their order.
#[derive(Default)]
struct EventFields {
    message: String,
    members: Map<String, Value>,
}

impl EventFields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.to_owned(), value.into());
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.message);
        } else if field.name() == decision_log::LIST {
            let words: Vec<&str> = value.split(' ').collect();
            self.put(field.name(), words);
        } else {
            self.put(field.name(), value);
        }
    }

    /// An error and its causes, as one text.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    /// As text where JSON has no such number.
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put(field.name(), value);
        } else {
            self.put(field.name(), value.to_string());
        }
    }
}
