//! A pattern for paths, and whether a plain path matches it.
//!
//! A pattern is parsed once, into the *runs* of segments between its `**`s. The first run must
//! match at the path's beginning and the last at its end. Each run between them is matched at its
//! leftmost position, since an earlier end leaves more for the runs after it. So there is no
//! backtracking and no allocation: time is linear in the path for each run, and most patterns that
//! do not match are rejected by the text before the first `*` or after the last.

use std::fmt;
use std::str::FromStr;

use memchr::{memchr, memmem, memrchr};

use super::PlainPath;

/// A pattern for paths: `*` within a segment, `**` for any number of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    /// Length of the text before the first `*`, of which every path that matches begins.
    start: usize,
    /// Where in the text what follows the last `*` begins, with which every path that matches ends.
    end: usize,
    /// One more than there are `**`s, several in a row counted once.
    runs: Box<[Run]>,
}

/// Segments that follow each other in the path as they do in the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Run {
    /// Without `*`: the segments with a slash before each and after the last, and so `/` for none.
    Literal(Box<[u8]>),
    /// Some with `*`.
    Wild(Box<[Segment]>),
}

/// The literal pieces between `*`s: one piece has no `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment(Box<[Box<str>]>);

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
        let mut segments: Vec<&str> = Vec::new();
        if !inner.is_empty() {
            segments.extend(inner.strip_suffix('/').unwrap_or(inner).split('/'));
        }
        for segment in &segments {
            check_segment(segment)?;
        }
        // `**` twice in a row says no more than once.
        segments.dedup_by(|second, first| *first == "**" && *second == "**");
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let before_star = trimmed.split('*').next().unwrap_or_default();
        // `/a/**` matches `/a` too.
        let start = match trimmed.get(before_star.len()..) {
            Some(rest) if rest.starts_with("**") => before_star.len().saturating_sub(1),
            Some(_) | None => before_star.len(),
        };
        Ok(Self {
            text: text.into(),
            start,
            end: trimmed.rfind('*').map_or(0, |star| star + 1),
            runs: segments
                .split(|segment| *segment == "**")
                .map(Run::new)
                .collect(),
        })
    }
}

fn check_segment(text: &str) -> Result<(), InvalidPathPattern> {
    match text {
        "**" => Ok(()),
        "" | "." | ".." => Err(InvalidPathPattern::NeverMatches(text.to_owned())),
        _ if text.contains("**") => Err(InvalidPathPattern::NotAlone),
        _ => Ok(()),
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PathPattern {
    /// Whether the pattern matches the whole path; a final slash is ignored on both sides.
    pub fn matches(&self, path: &PlainPath<'_>) -> bool {
        let Some(path) = path.segments.as_deref() else {
            return false;
        };
        self.may_match(path) && self.match_runs(path).is_some()
    }

    /// Whether the path begins and ends as every path that matches.
    fn may_match(&self, path: &[u8]) -> bool {
        let text = self.text.as_bytes();
        let text = text.strip_suffix(b"/").unwrap_or(text);
        let start = text.get(..self.start).unwrap_or_default();
        let end = text.get(self.end..).unwrap_or_default();
        path.starts_with(start) && path.ends_with(end)
    }

    fn match_runs(&self, path: &[u8]) -> Option<()> {
        let (first, others) = self.runs.split_first()?;
        let mut rest = first.strip_from_front(path)?;
        let Some((last, between)) = others.split_last() else {
            return rest.is_empty().then_some(());
        };
        rest = last.strip_from_back(rest)?;
        for run in between {
            rest = run.find_in(rest)?;
        }
        Some(())
    }
}

impl Run {
    fn new(segments: &[&str]) -> Self {
        if segments.iter().any(|segment| segment.contains('*')) {
            let pieces = |segment: &&str| Segment(segment.split('*').map(Into::into).collect());
            return Self::Wild(segments.iter().map(pieces).collect());
        }
        let mut literal = String::from("/");
        for segment in segments {
            literal.push_str(segment);
            literal.push('/');
        }
        Self::Literal(literal.into_bytes().into())
    }

    /// What of the path follows the run, if it begins with it.
    fn strip_from_front<'p>(&self, mut path: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Self::Literal(literal) => {
                let rest = path.strip_prefix(without_final_slash(literal))?;
                (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
            }
            Self::Wild(segments) => {
                for segment in segments {
                    let (first, rest) = split_first_segment(path)?;
                    path = segment.matches(first).then_some(rest)?;
                }
                Some(path)
            }
        }
    }

    /// What of the path is before the run, if it ends with it.
    fn strip_from_back<'p>(&self, mut path: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Self::Literal(literal) => path.strip_suffix(without_final_slash(literal)),
            Self::Wild(segments) => {
                for segment in segments.iter().rev() {
                    let (rest, last) = split_last_segment(path)?;
                    path = segment.matches(last).then_some(rest)?;
                }
                Some(path)
            }
        }
    }

    /// What of the path follows the run's leftmost place in it.
    fn find_in<'p>(&self, mut path: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Self::Literal(literal) => match memmem::find(path, literal) {
                // The slash after the run is the one before what follows.
                Some(at) => path.get(at + literal.len() - 1..),
                None => path.ends_with(without_final_slash(literal)).then_some(&[]),
            },
            Self::Wild(segments) => {
                // Each place of the run holds this; most often it is nowhere, and no place has to
                // be tried.
                let pieces = segments.iter().flat_map(|segment| &segment.0);
                let longest = pieces.max_by_key(|piece| piece.len())?;
                memmem::find(path, longest.as_bytes())?;
                loop {
                    if let Some(rest) = self.strip_from_front(path) {
                        return Some(rest);
                    }
                    (_, path) = split_first_segment(path)?;
                }
            }
        }
    }
}

fn without_final_slash(literal: &[u8]) -> &[u8] {
    literal.strip_suffix(b"/").unwrap_or(literal)
}

/// The first segment, and what follows it with the slash before.
fn split_first_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = path.strip_prefix(b"/")?;
    Some(inner.split_at(memchr(b'/', inner).unwrap_or(inner.len())))
}

/// What is before the last segment and its slash, and that segment.
fn split_last_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, last) = path.split_at_checked(memrchr(b'/', path)?)?;
    Some((rest, last.get(1..)?))
}

impl Segment {
    /// Whether the text is the pieces with anything between them. Taking the leftmost place for
    /// each piece is enough.
    fn matches(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return text.is_empty();
        };
        let Some((last, middle)) = rest.split_last() else {
            return text == first.as_bytes();
        };
        let inner = text
            .strip_prefix(first.as_bytes())
            .and_then(|rest| rest.strip_suffix(last.as_bytes()));
        let Some(mut rest) = inner else {
            return false;
        };
        middle.iter().all(|piece| {
            let found = memmem::find(rest, piece.as_bytes());
            let after = found.and_then(|at| rest.get(at + piece.len()..));
            rest = after.unwrap_or_default();
            after.is_some()
        })
    }
}
