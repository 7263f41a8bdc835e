//! Path patterns, and which request paths may be compared with them.
//!
//! A path that two programs could read in two ways must not be matched: Envoy forwards `/a/../b`, `%2f` or `;` as
//! sent, and what the upstream makes of it is its own affair. Such a path is not *plain* and is refused where a
//! decision has to look at it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::digest::hex_digit;

/// A request path that reads the same for everyone, percent-decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainPath<'a> {
    decoded: Cow<'a, [u8]>,
}

/// The path is not plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path is not plain")]
pub struct NotPlain;

impl<'a> PlainPath<'a> {
    /// Judges a request path, without its query.
    ///
    /// # Errors
    /// `NotPlain` unless it is empty, `*`, or begins with `/` and has no `.`, `..` or empty segment but a final one,
    /// no backslash, `;`, `#`, control or non-ASCII byte, no `%` without two hex digits, no encoded
    /// `.`, `/`, `\`, `;`, `%` or control byte, and is UTF-8 when decoded.
    pub fn judge(path: &'a [u8]) -> Result<Self, NotPlain> {
        if path.is_empty() || path == b"*" {
            return Ok(Self {
                decoded: Cow::Borrowed(path),
            });
        }
        if !path.starts_with(b"/") || !path.iter().all(|byte| is_plain_byte(*byte)) {
            return Err(NotPlain);
        }
        let inner = without_final_slash(path);
        let mut segments = inner.split(|byte| *byte == b'/').skip(1);
        if segments.any(|segment| matches!(segment, b"" | b"." | b"..")) {
            return Err(NotPlain);
        }
        Ok(Self {
            decoded: if path.contains(&b'%') {
                Cow::Owned(decode(path)?)
            } else {
                Cow::Borrowed(path)
            },
        })
    }

    /// The segments; `None` for an empty path and `*`, which match no pattern.
    fn segments(&self) -> Option<Vec<&[u8]>> {
        self.decoded
            .starts_with(b"/")
            .then(|| segments_of(&self.decoded))
    }
}

fn without_final_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn segments_of(path: &[u8]) -> Vec<&[u8]> {
    without_final_slash(path)
        .split(|byte| *byte == b'/')
        .skip(1)
        .collect()
}

const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && !matches!(byte, b'\\' | b';' | b'#')
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

/// A pattern for paths: `*` within a segment, `**` for any number of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// The literal pieces between `*`s: one piece has no `*`.
    Pieces(Box<[Box<str>]>),
    /// `**`.
    AnyNumber,
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPathPattern {
    /// It does not begin with `/`.
    #[error("a path pattern begins with `/`")]
    NoSlash,
    /// A character that other pattern languages treat as special.
    #[error(
        "`{0}` has no meaning in a path pattern; there are `*`, within a segment, and `**`, for any number of segments"
    )]
    Special(char),
    /// `**` with something beside it.
    #[error("`**` stands alone between slashes; within a segment use `*`")]
    NotAlone,
    /// A percent sign, which no decoded path has.
    #[error(
        "paths are percent-decoded before they are compared: write the decoded character instead of `%`"
    )]
    Encoded,
    /// A character that is not looked for in paths.
    #[error("a path pattern holds no {0:?}; `*` stands for any text within a segment")]
    NeverInPath(char),
    /// A segment that no plain path has.
    #[error("no path that is matched has a segment `{0}`")]
    NeverMatches(String),
}

impl FromStr for PathPattern {
    type Err = InvalidPathPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPathPattern> {
        let inner = text.strip_prefix('/').ok_or(InvalidPathPattern::NoSlash)?;
        if let Some(special) = text
            .chars()
            .find(|c| matches!(c, '?' | '[' | ']' | '{' | '}' | '\\'))
        {
            return Err(InvalidPathPattern::Special(special));
        }
        if text.contains('%') {
            return Err(InvalidPathPattern::Encoded);
        }
        let never = |c: &char| c.is_control() || *c == ';';
        if let Some(never) = text.chars().find(never) {
            return Err(InvalidPathPattern::NeverInPath(never));
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let segments = if inner.is_empty() {
            Ok(Box::default())
        } else {
            inner.split('/').map(Segment::parse).collect()
        };
        Ok(Self {
            text: text.into(),
            segments: segments?,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, InvalidPathPattern> {
        match text {
            "**" => Ok(Self::AnyNumber),
            "" | "." | ".." => Err(InvalidPathPattern::NeverMatches(text.to_owned())),
            _ if text.contains("**") => Err(InvalidPathPattern::NotAlone),
            _ => Ok(Self::Pieces(text.split('*').map(Into::into).collect())),
        }
    }
}

impl PathPattern {
    /// Whether the pattern matches the whole path; a final slash is ignored on both sides.
    pub fn matches(&self, path: &PlainPath<'_>) -> bool {
        path.segments()
            .is_some_and(|segments| matches_segments(&self.segments, &segments))
    }
}

/// Matches greedily and goes back to the last `**` alone: trying earlier ones again could not help.
fn matches_segments(pattern: &[Segment], path: &[&[u8]]) -> bool {
    let (mut at_pattern, mut at_path) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    loop {
        let matched = match (pattern.get(at_pattern), path.get(at_path)) {
            (None, None) => return true,
            (Some(Segment::AnyNumber), _) => {
                resume = Some((at_pattern + 1, at_path));
                at_pattern += 1;
                continue;
            }
            (Some(Segment::Pieces(pieces)), Some(segment)) => matches_pieces(pieces, segment),
            (None, Some(_)) | (Some(Segment::Pieces(_)), None) => false,
        };
        if matched {
            at_pattern += 1;
            at_path += 1;
            continue;
        }
        match resume {
            Some((after, from)) if from < path.len() => {
                resume = Some((after, from + 1));
                at_pattern = after;
                at_path = from + 1;
            }
            Some(_) | None => return false,
        }
    }
}

/// Whether a segment is the pieces with anything between them. Taking the leftmost place for each piece is enough.
fn matches_pieces(pieces: &[Box<str>], segment: &[u8]) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return segment.is_empty();
    };
    let Some((last, middle)) = rest.split_last() else {
        return segment == first.as_bytes();
    };
    let Some(inner) = segment
        .strip_prefix(first.as_bytes())
        .and_then(|rest| rest.strip_suffix(last.as_bytes()))
    else {
        return false;
    };
    let mut rest = inner;
    middle
        .iter()
        .all(|piece| match find(rest, piece.as_bytes()) {
            Some(at) => {
                rest = rest.get(at + piece.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests;
