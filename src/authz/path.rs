//! Path patterns, and which request paths may be compared with them.
//!
//! A path that two programs may read differently must not be matched: Envoy forwards `/a/../b`,
//! `%2f` or `;` as sent, and each upstream reads them in its own way. Such a path is not *plain*,
//! and the request is refused if the decision depends on the path.
//!
//! A path may be as long as Envoy's limit for headers (60 KiB), and a decision may compare it with
//! hundreds of patterns. So it is checked and decoded once for a request, by [`RequestPath`], and
//! searched by `memchr` where all of it must be read.

use std::borrow::Cow;

use memchr::memchr;

use super::digest::hex_digit;
use super::request::RequestAttributes;

mod pattern;

pub use pattern::{InvalidPathPattern, PathPattern};

/// A request path that every program reads in the same way, percent-decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainPath<'a> {
    /// Each segment with the slash before it and without a final slash; empty for `/`. `None` for
    /// an empty path and `*`, which match no pattern.
    segments: Option<Cow<'a, [u8]>>,
}

/// The path is not plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path is not plain")]
pub struct NotPlain;

/// A request's path, checked when the decision first needs it and not again.
pub struct RequestPath<'a> {
    target: &'a [u8],
    checked: Option<Result<PlainPath<'a>, NotPlain>>,
}

impl<'a> RequestPath<'a> {
    /// The path of a request, not checked yet.
    pub fn of(request: &RequestAttributes<'a>) -> Self {
        Self {
            target: request.target,
            checked: None,
        }
    }

    /// The path, where it is plain.
    ///
    /// # Errors
    /// `NotPlain`, as [`PlainPath::parse`].
    pub fn plain(&mut self) -> Result<&PlainPath<'a>, NotPlain> {
        let target = self.target;
        let checked = self.checked.get_or_insert_with(|| {
            let (path, _) = super::request::split_target(target);
            PlainPath::parse(path)
        });
        checked.as_ref().map_err(|not_plain| *not_plain)
    }
}

impl<'a> PlainPath<'a> {
    /// Checks and decodes a request path, without its query.
    ///
    /// # Errors
    /// `NotPlain` unless it is empty, `*`, or begins with `/` and has no `.`, `..` or empty segment
    /// but a final one, no backslash, `;`, `#`, control or non-ASCII byte, no `%` without two hex
    /// digits, no encoded `.`, `/`, `\`, `;`, `%` or control byte, and is UTF-8 when decoded.
    pub fn parse(path: &'a [u8]) -> Result<Self, NotPlain> {
        if path.is_empty() || path == b"*" {
            return Ok(Self { segments: None });
        }
        let inner = path.strip_suffix(b"/").unwrap_or(path);
        if !path.starts_with(b"/") || !has_only_plain_bytes(path) || has_odd_segment(inner) {
            return Err(NotPlain);
        }
        Ok(Self {
            segments: Some(match memchr(b'%', inner) {
                Some(_) => Cow::Owned(decode(inner)?),
                None => Cow::Borrowed(inner),
            }),
        })
    }
}

/// Whether a plain path may hold every byte. The loop has no early exit, so that the compiler
/// vectorises it.
fn has_only_plain_bytes(path: &[u8]) -> bool {
    path.iter()
        .fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && !matches!(byte, b'\\' | b';' | b'#')
}

/// Whether a segment is empty, `.` or `..`. Segments are split only if a slash or a dot follows a
/// slash.
fn has_odd_segment(path: &[u8]) -> bool {
    let next = path.get(1..).unwrap_or_default();
    let may_have = path.iter().zip(next).fold(false, |found, pair| {
        found | matches!(pair, (b'/', b'/' | b'.'))
    });
    let is_odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    (may_have || path.ends_with(b"/")) && path.split(|byte| *byte == b'/').skip(1).any(is_odd)
}

fn decode(path: &[u8]) -> Result<Vec<u8>, NotPlain> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    loop {
        rest = match rest {
            [] => {
                // What is no UTF-8 some decoders take for other characters: `%c0%ae` for a dot.
                let is_text = std::str::from_utf8(&decoded).is_ok();
                return if is_text { Ok(decoded) } else { Err(NotPlain) };
            }
            [b'%', high, low, rest @ ..] => {
                let byte = hex_digit(*high)
                    .zip(hex_digit(*low))
                    .map(|(h, l)| h << 4 | l)
                    .ok_or(NotPlain)?;
                if byte.is_ascii_control() || matches!(byte, b'.' | b'/' | b'\\' | b';' | b'%') {
                    return Err(NotPlain);
                }
                decoded.push(byte);
                rest
            }
            [b'%', ..] => return Err(NotPlain),
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests;
