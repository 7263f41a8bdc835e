//! A problem of a file, and where it is.
//!
//! A [`Problem`] is one line for an operator: file, line, column, the path inside the document,
//! what is wrong, what would be right. [`Problems`] are all of a file, so that it can be corrected
//! at once. No message repeats a value of the file, since it may be a pasted secret. So may the
//! name of a member: names are shown if they are short and plain.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::secret_format::may_hold_secret;

/// How many problems of one file are kept; the others are counted. A file with more has one cause,
/// and it shows in the first few.
pub const MAX_PROBLEMS: usize = 100;

/// Longest member name that is shown whatever its letters, in bytes: all of ours, and no good
/// secret.
const MAX_NAME_BYTES: usize = 20;

/// Longest member name that is shown if it is made of lower-case words, as names are and random
/// secrets are not.
const MAX_WORDS_BYTES: usize = 64;

/// A step from a mapping or list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A member of a mapping, by name.
    Field(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

/// Where in a document something is, from its top. Empty means the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct YamlPath(pub Vec<Segment>);

/// Line and column in a file, both counted from 1; the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: Arc<Path>,
    /// Where in the file; none where the file as a whole is meant.
    pub position: Option<Position>,
    /// Where in the document; empty for the document itself.
    pub path: YamlPath,
    /// What is wrong, lower-case and without a period.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// All that is wrong with one or more files: at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

// === impl YamlPath ===

impl fmt::Display for YamlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if is_showable(name) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(name)?;
                }
                Segment::Field(_) => f.write_str("[…]")?,
            }
        }
        Ok(())
    }
}

/// Whether a member's name may be shown: it is plain, and neither like a secret nor long, unless it
/// is made of words.
pub(super) fn is_showable(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_short = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
    let is_words = (1..=MAX_WORDS_BYTES).contains(&name.len()) && name.bytes().all(is_word);
    (is_short || is_words) && !may_hold_secret(name)
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

// === impl Problems ===

impl Problems {
    /// A single problem with a file as a whole, or with one place in it.
    pub fn one(
        file: &Path,
        position: Option<Position>,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> Self {
        Self::from(Problem {
            file: Arc::from(file),
            position,
            path: YamlPath::default(),
            message: message.into(),
            help: help.map(str::to_owned),
        })
    }

    /// The problems found, sorted by position within a file; `None` when there are none.
    pub(super) fn sorted(mut list: Vec<Problem>, omitted: usize) -> Option<Self> {
        list.sort_by_key(|problem| problem.position);
        let too_many = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        (!list.is_empty()).then_some(Self {
            list,
            omitted: omitted + too_many,
        })
    }

    /// Sorts the problems of several files by file and, in each, by position; what is about a file
    /// as a whole comes last.
    pub fn sort(&mut self) {
        let in_file = |problem: &Problem| (problem.position.is_none(), problem.position);
        self.list.sort_by(|one, other| {
            let by_file = one.file.cmp(&other.file);
            by_file.then_with(|| in_file(one).cmp(&in_file(other)))
        });
    }

    /// Each problem, in the order in which to print them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many more were found than are kept here.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Adds what is wrong with another file.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
        self.omitted += other.omitted;
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            list: vec![problem],
            omitted: 0,
        }
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One line for each problem, without a final line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.list.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
