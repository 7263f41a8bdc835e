//! One line of the log, written member by member, in either format.
//!
//! Whatever a value holds, it stays in its place: no control character, line separator or character that turns the
//! direction of writing gets out as itself, so that a client can neither forge a line nor speak to a terminal.

use std::fmt::{Display, Write};

use anstyle::{AnsiColor, Effects, Style};
use jiff::Timestamp;

use super::{LogFormat, LogLevel};

/// A line being written. Writing to a String cannot fail, which is why no result is looked at.
#[derive(Debug)]
pub(in crate::observe) struct Line {
    format: LogFormat,
    colour: bool,
    out: String,
}

impl Line {
    /// Begins with what every line has. A message is ours, not a client's.
    pub(in crate::observe) fn begin(
        format: LogFormat,
        colour: bool,
        now: Timestamp,
        level: LogLevel,
        message: &str,
    ) -> Self {
        let mut line = Self {
            format,
            colour,
            out: String::with_capacity(512),
        };
        match format {
            LogFormat::Json => {
                let _ = write!(
                    line.out,
                    "{{\"ts\":\"{now:.6}\",\"level\":\"{}\",\"msg\":\"",
                    level.as_str()
                );
                line.escape(message);
                line.out.push('"');
            }
            LogFormat::Text => {
                let (dim, style) = (line.style(Effects::DIMMED.into()), line.style(style(level)));
                let _ = write!(
                    line.out,
                    "{dim}{now:.6}{dim:#} {style}{:>5}{style:#} ",
                    level.as_str().to_uppercase()
                );
                line.escape(message);
            }
        }
        line
    }

    /// A member that is text.
    pub(in crate::observe) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        // Text is quoted where it could be taken for more than one value.
        let is_word = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
        if self.format == LogFormat::Text && !value.is_empty() && value.bytes().all(is_word) {
            self.out.push_str(value);
            return;
        }
        self.out.push('"');
        self.escape(value);
        self.out.push('"');
    }

    /// A member that is written as text.
    pub(in crate::observe) fn display(&mut self, name: &str, value: impl Display) {
        self.text(name, &value.to_string());
    }

    /// A member that is a number or a boolean.
    pub(in crate::observe) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    /// A member that a client sent: bytes of any kind, of which `limit` are shown. Left out if empty.
    pub(in crate::observe) fn bytes(&mut self, name: &str, value: &[u8], limit: usize) {
        match value.get(..limit) {
            Some(shown) if value.len() > limit => {
                self.text(name, &format!("{}…", String::from_utf8_lossy(shown)));
            }
            Some(_) | None if !value.is_empty() => self.text(name, &String::from_utf8_lossy(value)),
            Some(_) | None => {}
        }
    }

    /// The line with its line feed.
    pub(in crate::observe) fn end(mut self) -> String {
        self.out.push_str(match self.format {
            LogFormat::Json => "}\n",
            LogFormat::Text => "\n",
        });
        self.out
    }

    /// Names are ours: identifiers, no word of which needs escaping.
    fn name(&mut self, name: &str) {
        let _ = match self.format {
            LogFormat::Json => write!(self.out, ",\"{name}\":"),
            LogFormat::Text => {
                let dim = self.style(Effects::DIMMED.into());
                write!(self.out, " {dim}{name}={dim:#}")
            }
        };
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            let _ = match (character, self.format) {
                ('"', _) => self.out.write_str("\\\""),
                ('\\', _) => self.out.write_str("\\\\"),
                ('\n', _) => self.out.write_str("\\n"),
                ('\r', _) => self.out.write_str("\\r"),
                ('\t', _) => self.out.write_str("\\t"),
                (unsafe_one, LogFormat::Json) if is_unsafe(unsafe_one) => {
                    write!(self.out, "\\u{:04x}", u32::from(unsafe_one))
                }
                (unsafe_one, LogFormat::Text) if is_unsafe(unsafe_one) => {
                    write!(self.out, "\\u{{{:x}}}", u32::from(unsafe_one))
                }
                (other, _) => self.out.write_char(other),
            };
        }
    }

    fn style(&self, style: Style) -> Style {
        if self.colour { style } else { Style::new() }
    }
}

fn style(level: LogLevel) -> Style {
    match level {
        LogLevel::Error => AnsiColor::Red.on_default().bold(),
        LogLevel::Warn => AnsiColor::Yellow.on_default(),
        LogLevel::Info => AnsiColor::Green.on_default(),
        LogLevel::Debug => AnsiColor::Blue.on_default(),
        LogLevel::Trace => AnsiColor::Magenta.on_default(),
    }
}

/// Characters that do something rather than show something: controls, line and paragraph separators, and those that
/// turn the direction of writing or cannot be seen. All have at most four hex digits, as JSON's escapes want.
pub(in crate::observe) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
