//! Parses server-sent events, as WHATWG's HTML standard has them (section 9.2).
//!
//! Takes bytes as they come, cut anywhere, and gives messages and comments. Of a message only its
//! data counts; type, id and reconnection time are not used. What the standard has a client ignore
//! (an unknown field, an event without data) is given too: it may be a revocation, badly written.

use std::mem;

/// The longest line, and the most data of one message: a change takes some hundred bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The data of a message, its lines joined by line feeds.
    Message(Vec<u8>),
    /// A line that says nothing but that the server is there.
    Comment,
    /// A line with an unknown field, or an event that has a type and no data.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A line or a message has more than `MAX_BYTES`.
    #[error("a message or line of the stream is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It holds control characters, as compressed bytes and UTF-16 do.
    #[error("the stream is not text in UTF-8")]
    NotText,
}

/// A stream that is read from its beginning.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The data of the message that has not ended yet, a line feed behind each line.
    data: Vec<u8>,
    /// Whether the message that has not ended yet has a type.
    is_typed: bool,
    /// Whether the last byte was a CR: an LF right behind it ends nothing.
    after_cr: bool,
    /// Whether the first line is past, before which a byte order mark may stand.
    begun: bool,
}

impl EventStream {
    /// Reads on, and adds what is complete to `items`.
    ///
    /// # Errors
    /// When something is too long or not text; the stream cannot be read on then.
    pub(crate) fn read(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Unreadable> {
        for byte in bytes {
            let after_cr = mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    let line = mem::take(&mut self.line);
                    items.extend(self.end_line(&line)?);
                }
                control if control.is_ascii_control() && *control != b'\t' => {
                    return Err(Unreadable::NotText);
                }
                _ if self.line.len() == MAX_BYTES => return Err(Unreadable::TooLong),
                byte => self.line.push(*byte),
            }
        }
        Ok(())
    }

    /// Whether an event, or a line, has begun and not ended.
    pub(crate) fn is_within_event(&self) -> bool {
        self.is_typed || !self.line.is_empty() || !self.data.is_empty()
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Item>, Unreadable> {
        let is_first = !mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if is_first => rest,
            Some(_) | None => line,
        };
        if line.is_empty() {
            let mut data = mem::take(&mut self.data);
            let is_typed = mem::take(&mut self.is_typed);
            // The last line feed is not part of it; without any there was no data.
            return Ok(match data.pop() {
                Some(_) => Some(Item::Message(data)),
                None => is_typed.then_some(Item::Unknown),
            });
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(0) => return Ok(Some(Item::Comment)),
            Some(colon) => {
                let (name, rest) = line.split_at(colon);
                let value = rest.strip_prefix(b":").unwrap_or(rest);
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {
                if self.data.len() + value.len() >= MAX_BYTES {
                    return Err(Unreadable::TooLong);
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.is_typed = true,
            b"id" | b"retry" => {}
            _ => return Ok(Some(Item::Unknown)),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(data: &str) -> Item {
        Item::Message(data.into())
    }

    /// Reads a text cut into these pieces.
    fn read(pieces: &[&[u8]]) -> Vec<Item> {
        let mut stream = EventStream::default();
        let mut items = Vec::new();
        for piece in pieces {
            stream.read(piece, &mut items).unwrap();
        }
        items
    }

    #[test]
    fn a_stream_is_read_as_the_standard_has_it_wherever_it_is_cut() {
        for (text, want) in [
            ("data: a\n\n", &[message("a")][..]),
            ("data:a\n\n", &[message("a")]),
            ("data:  a\n\n", &[message(" a")]),
            ("data: a\r\n\r\n", &[message("a")]),
            ("data: a\r\r", &[message("a")]),
            ("data: a\r\n\n", &[message("a")]),
            ("data: a\n\r\n", &[message("a")]),
            ("data: a\ndata: b\n\n", &[message("a\nb")]),
            ("data: a\r\ndata: b\r\n\r\n", &[message("a\nb")]),
            ("data: a\rdata: b\r\r", &[message("a\nb")]),
            ("data: a\n\ndata: b\n\n", &[message("a"), message("b")]),
            ("data\n\n", &[message("")]),
            ("data\ndata\n\n", &[message("\n")]),
            ("data: a: b\n\n", &[message("a: b")]),
            ("event: x\nid: 1\nretry: 9\ndata: a\n\n", &[message("a")]),
            ("event: x\n\n", &[Item::Unknown]),
            ("id: 1\nretry: 9\n\n", &[]),
            ("\n\n\n", &[]),
            ("data: a\n", &[]),
            ("data: a", &[]),
            ("dataset: a\n\n", &[Item::Unknown]),
            (" data: a\n\n", &[Item::Unknown]),
            ("Data: a\n\n", &[Item::Unknown]),
            ("{\"all\":true}\n", &[Item::Unknown]),
            (": hello\n\n", &[Item::Comment]),
            (
                ":\ndata: a\n:\n\n",
                &[Item::Comment, Item::Comment, message("a")],
            ),
            ("\u{feff}data: a\n\n", &[message("a")]),
            ("\n\u{feff}data: a\n\n", &[Item::Unknown]),
            ("\u{feff}: x\n", &[Item::Comment]),
            ("data: ä€😀\n\n", &[message("ä€😀")]),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(read(&[bytes]), want, "{text:?}");
            for at in 0..=bytes.len() {
                let (before, after) = bytes.split_at(at);
                assert_eq!(read(&[before, b"", after]), want, "{text:?} cut at {at}");
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&each), want, "{text:?} byte by byte");
        }
    }

    #[test]
    fn what_is_not_utf_8_stays_as_it_is() {
        let want = Item::Message(vec![0xff]);
        assert_eq!(read(&[b"data: \xff\n\n"]), [want]);
    }

    #[test]
    fn what_is_not_text_is_not_read() {
        let utf_16: Vec<u8> = "data: a\n\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for bytes in [&b"\x1f\x8b\x08\x00"[..], &utf_16, b"data: a\n\n\x7f"] {
            let read = EventStream::default().read(bytes, &mut Vec::new());
            assert_eq!(read, Err(Unreadable::NotText), "{bytes:?}");
        }
        assert_eq!(read(&[b"data: \ta\n\n"]), [message("\ta")]);
    }

    #[test]
    fn an_event_that_has_begun_and_not_ended_shows() {
        for (text, want) in [
            ("", false),
            ("data: a\n\n", false),
            (": x\n", false),
            ("id: 1\n", false),
            (":", true),
            ("data: a\n", true),
            ("event: x\n", true),
            ("data: a\n\nd", true),
        ] {
            let mut stream = EventStream::default();
            stream.read(text.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(stream.is_within_event(), want, "{text:?}");
        }
    }

    #[test]
    fn lines_and_messages_are_bounded() {
        let long = "x".repeat(MAX_BYTES);
        for (what, text, want) in [
            ("the longest line", format!("{long}\n"), Ok(())),
            (
                "a longer one",
                format!("{long}x\n"),
                Err(Unreadable::TooLong),
            ),
            (
                "one without end",
                format!("{long}xx"),
                Err(Unreadable::TooLong),
            ),
            ("many lines", "id: y\n".repeat(MAX_BYTES), Ok(())),
            (
                "much data",
                "data: y\n".repeat(MAX_BYTES),
                Err(Unreadable::TooLong),
            ),
            (
                "data without text",
                "data\n".repeat(MAX_BYTES + 1),
                Err(Unreadable::TooLong),
            ),
        ] {
            let mut stream = EventStream::default();
            let read = stream.read(text.as_bytes(), &mut Vec::new());
            assert_eq!(read, want, "{what}");
        }
    }
}
