//! How an event of `tracing` becomes a line: one flat JSON object, or text for people.
//!
//! Whatever a value holds, it stays in its place: no control character, line separator or character that turns the
//! direction of writing gets out as itself, so that a client can neither forge a line nor speak to a terminal. Spans are
//! not told of: what they would hold is either in the decision or a dependency's.

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
use crate::observe::decision_log;

/// The field in which `tracing` keeps an event's message.
const MESSAGE: &str = "message";

/// Writes events as the settings say.
pub(super) struct LineFormat {
    pub(super) settings: Arc<ArcSwap<LogSettings>>,
    pub(super) to_terminal: bool,
    pub(super) clock: Arc<dyn Clock>,
    /// Lines that found no room since the start.
    pub(super) lost: ErrorCounter,
    /// How many of them were told of.
    pub(super) told_lost: AtomicUsize,
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
        let mut told = Told::default();
        event.record(&mut told);
        if !is_ours(event.metadata()) {
            // What a dependency puts into fields may be what it was sent.
            told.members = Map::new();
            told.put("target", event.metadata().target());
        }
        let lost = self.lost.dropped_lines();
        if self.told_lost.swap(lost, Ordering::Relaxed) != lost {
            told.put("lines_lost", lost);
        }
        let mut level = *event.metadata().level();
        if authority::is_refusal(event.metadata()) {
            (told, level) = (Told::default(), Level::WARN);
            authority::MESSAGE.clone_into(&mut told.message);
        }
        if self.settings.load().format.is_json(self.to_terminal) {
            let mut line = head(self.clock.now(), level, told.message);
            line.append(&mut told.members);
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
        let quoted = safe(&told.message)?;
        let message = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let message = message.unwrap_or(&quoted);
        write!(
            writer,
            "{dim}{now}{dim:#} {loud}{level:>5}{loud:#} {message}"
        )?;
        for (name, value) in &told.members {
            write!(writer, " {dim}{name}={dim:#}")?;
            match value.as_str().filter(|text| is_word(text)) {
                Some(word) => writer.write_str(word)?,
                None => writer.write_str(&safe(value)?)?,
            }
        }
        writeln!(writer)
    }
}

/// A line of JSON as an event with nothing but a message makes it, without the line break: for what ends a process that has no
/// log any more, or none yet.
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

/// Whether the event is keyward's own.
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

/// Whether text needs no quotes, for it could be taken for one value alone.
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

/// Escapes more than JSON asks for.
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

/// Characters that do something rather than show something: controls, line and paragraph separators, and those that
/// turn the direction of writing or cannot be seen. All have at most four hex digits, as JSON's escapes want.
pub(in crate::observe) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What an event says: its message, and the rest in the order in which it stands there.
#[derive(Default)]
struct Told {
    message: String,
    members: Map<String, Value>,
}

impl Told {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.to_owned(), value.into());
    }
}

impl Visit for Told {
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

    /// An error with its causes, as one text.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        self.put(field.name(), chain);
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

    /// As text where it is no number of JSON's.
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put(field.name(), value);
        } else {
            self.put(field.name(), value.to_string());
        }
    }
}
