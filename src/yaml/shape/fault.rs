//! The error that serde carries from where a value is wrong to where the reading began.
//!
//! serde's own words are turned into ours here, and the values that serde would quote are dropped.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::super::problem::{Position, YamlPath};
use super::StructType;

/// The longest name that may be a mistyped one of ours.
const MAX_TYPO_BYTES: usize = 64;

/// Something wrong and, once the reader has added it, where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) site: Option<Box<Site>>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A value that is not what it should be.
    Wrong {
        message: String,
        help: Option<String>,
    },
    /// A member that must be there is not; `dropped` when it was left out for a fault of its own.
    Missing { name: &'static str, dropped: bool },
    /// A value that is made up needs that member.
    Required { of: StructType, name: &'static str },
    /// No made-up value passes for a missing member.
    Unfillable,
    /// More values than aliases should make.
    TooMuch,
}

/// Where a fault is.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) path: YamlPath,
    pub(super) position: Position,
    /// The number under which to leave out what is here.
    pub(super) number: usize,
    /// The number of the value itself.
    pub(super) mapping: usize,
}

impl Fault {
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, site: None }
    }

    /// A value of another type than the one asked for.
    pub(super) fn found(expected: &str, found: &str) -> Self {
        Self::wrong(format!("expected {}, found {found}", noun(expected)), None)
    }

    fn wrong(message: String, help: Option<String>) -> Self {
        Self::of(Kind::Wrong { message, help })
    }
}

/// The words of serde and of derived code, as an operator would put them.
fn noun(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "unit" => "null",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i64" | "i32" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        text if text.starts_with("struct ") => "a mapping",
        text => text,
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Wrong { message, .. } => f.write_str(message),
            Kind::Missing { name, .. } | Kind::Required { name, .. } => {
                write!(f, "missing member `{name}`")
            }
            Kind::Unfillable => f.write_str("no value can be made up"),
            Kind::TooMuch => f.write_str("aliases repeat too much"),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once("; ") {
            Some((message, help)) => Self::wrong(message.to_owned(), Some(help.to_owned())),
            None => Self::wrong(text, None),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => "another value",
        };
        Self::found(&expected.to_string(), found)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        Self::wrong(
            "not an allowed value".to_owned(),
            Some(format!("expected {}", noun(&expected))),
        )
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::wrong(
            format!("{length} elements"),
            Some(format!("expected {expected}")),
        )
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let help = nearest(found, expected).unwrap_or_else(|| one_of(expected));
        Self::wrong("not an allowed value".to_owned(), Some(help))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::wrong("unknown field".to_owned(), Some(one_of(expected)))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of(Kind::Missing {
            name,
            dropped: false,
        })
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::wrong(format!("repeated member `{name}`"), None)
    }
}

/// The one of the names that was meant, if one is near.
pub(super) fn nearest(found: &str, known: &[&str]) -> Option<String> {
    // Comparing takes time by the length of both, and nothing so long is a typo.
    if found.len() > MAX_TYPO_BYTES {
        return None;
    }
    let found = found.to_lowercase();
    let by_letters = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found, name), name))
        .min();
    // A third of the letters may be wrong, as in `pahts` or `exires_at`; more is another word.
    let near =
        by_letters.filter(|(distance, name)| *distance <= 1.max(name.len().min(found.len()) / 3));
    // Or it was cut short, as in `time`.
    let cut_short = || {
        known
            .iter()
            .find(|name| found.len() > 2 && name.starts_with(&found))
    };
    near.map(|(_, name)| name)
        .or_else(cut_short)
        .map(|name| format!("did you mean `{name}`?"))
}

/// All names that there are.
pub(super) fn one_of(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "expected nothing here".to_owned(),
        [only] => format!("expected {only}"),
        _ => format!("expected one of {}", quoted.join(", ")),
    }
}
