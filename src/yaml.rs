//! The module that knows YAML: text goes in, a typed `*Spec` or all its [`Problems`] come out.
//!
//! A syntax error is reported alone; else all that the JSON Schema of the document can say, at
//! once; else all that the loader's own checks say, at once. [`convert`] lets `serde_yaml` read the
//! text straight into the type, which is what 100 000 keys need. Only where that fails, and for
//! every configuration ([`convert_with_env`]), a tree with positions is validated against the
//! schema. The loader's checks note problems at [`FieldPath`]s, whose lines are found in the same
//! tree. Nothing is checked but what the document says: of one that lacks its shape the schema's
//! word is the last.
//!
//! Rules for Specs: derive `Deserialize` with `deny_unknown_fields` and `JsonSchema`, no `flatten`,
//! no tagged or untagged enums. Mappings whose names are the operator's are [`Members`], free-form
//! values [`Free`]: serde's own maps take the last of repeated members silently. A Spec that is
//! read straight from text uses [`text`] and [`list`] and the like.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

mod checker;
mod members;
mod names;
mod problem;
mod scalar;
mod shape;
mod source;
mod strict;
mod substitute;
mod syntax;
mod tree;
mod validate;

#[cfg(test)]
pub(crate) mod tests;

pub use checker::{Checker, FieldPath};
pub use members::{Free, Members};
pub use problem::{MAX_PROBLEMS, Position, Problem, Problems, Segment, YamlPath};
pub use shape::{Check, Document, Format, Shape, parses};
pub use source::Source;
pub use strict::{absent, given_texts, list, mappings, text, texts};
pub use substitute::Environment;

use strict::Mapping;
use tree::{Node, Tree};

use crate::units::SizeSpec;

/// Size in bytes of the largest file that is read: some two million keys, and no more than a
/// machine can hold by mistake.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// A document that was read and checked.
#[derive(Debug)]
pub struct Converted<U> {
    /// What was made of it.
    pub value: U,
    /// What the conversion warned of, in the order of the file.
    pub warnings: Vec<Problem>,
    /// The fields whose values came from the environment, and what the file has there.
    pub substituted: Vec<(YamlPath, String)>,
}

/// A file that could not be read as text.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {file}")]
    Io {
        /// The file, as it was named.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no text, or too much.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// JSON that could not be read as a document.
#[derive(Debug)]
pub enum JsonError {
    /// It is not JSON, as it shows at that line and column.
    Syntax(Position),
    /// It is JSON, with these problems, and has this in its member `id`.
    Problems {
        /// What is wrong with it; no problem has a position.
        problems: Problems,
        /// The text of its member `id`, unchecked.
        id: Option<String>,
    },
}

/// Reads the whole file as text.
///
/// # Errors
/// When it cannot be opened or read, is larger than [`MAX_FILE_BYTES`], or is not UTF-8.
pub fn read(file: &Path) -> Result<String, ReadError> {
    let io = |source| ReadError::Io {
        file: file.display().to_string(),
        source,
    };
    let opened = File::open(file).map_err(io)?;
    let size = opened.metadata().map_or(0, |data| data.len());
    // The exact size from the start: growing by doubling would leave half of it unused.
    let capacity = size.min(MAX_FILE_BYTES).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(capacity).unwrap_or(0));
    opened
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(decode(file, bytes)?)
}

/// Takes bytes of a file for text.
///
/// # Errors
/// When there are more than [`MAX_FILE_BYTES`], or they are not UTF-8: with the line and column of
/// the first that is not.
pub fn decode(file: &Path, bytes: Vec<u8>) -> Result<String, Problems> {
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        let message = format!("the file is larger than {}", SizeSpec(MAX_FILE_BYTES));
        return Err(Problems::one(file, None, message, None));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let position = Position {
            line: before.matches('\n').count() + 1,
            column: last_line.chars().count() + 1,
        };
        Problems::one(
            file,
            Some(position),
            "not UTF-8 from here on",
            Some("save the file as UTF-8"),
        )
    })
}

/// Reads the one document in `text` as a `T`, and converts it. `file` is for messages alone.
///
/// The conversion gives `None` when it has noted why not.
///
/// # Errors
/// A syntax error alone; or all that is wrong with the document's shape; or all that is wrong with
/// its values. An empty file is an error: it is what a file being written looks like.
pub fn convert<T: Document, U>(
    file: &Path,
    text: &str,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<U, Problems> {
    convert_source(&Source::new(file, text), conversion)
}

/// As [`convert`], of a document or a part of one.
///
/// # Errors
/// As [`convert`].
pub fn convert_source<T: Document, U>(
    source: &Source<'_>,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<U, Problems> {
    source.refuse_empty()?;
    if let Some(spec) = read_straight(source.text) {
        return Ok(check(source, spec, Vec::new(), conversion)?.value);
    }
    let tree = source.read_tree(None)?;
    Ok(convert_tree(source, tree, conversion)?.value)
}

/// As [`convert`], with `${NAME}` and `${NAME:-default}` in strings replaced from `env`. The value
/// may become a number or a boolean, where one is asked for; an empty value is an empty string.
///
/// # Errors
/// As [`convert`]; a name that is not set is a problem of the document's shape.
pub fn convert_with_env<T: Document, U>(
    file: &Path,
    text: &str,
    env: &Environment<'_>,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<Converted<U>, Problems> {
    let source = Source::new(file, text);
    source.refuse_empty()?;
    let tree = source.read_tree(Some(env))?;
    convert_tree(&source, tree, conversion)
}

/// Reads a text in JSON as a `T`, and converts it, as [`convert`] does. A valid one is read once.
///
/// # Errors
/// When it is not JSON, or all that is wrong with its shape, or with its values.
pub fn convert_json<T: Document, U>(
    text: &str,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<U, JsonError> {
    let straight: Result<Mapping<T>, _> = serde_json::from_str(text);
    if let Ok(Mapping(spec)) = straight {
        let source = Source::of_json(None);
        let converted = check(&source, spec, Vec::new(), conversion);
        return converted
            .map(|converted| converted.value)
            .map_err(|problems| {
                let id = serde_json::from_str::<serde_json::Value>(text).ok();
                let id = id.and_then(|value| Some(value.get("id")?.as_str()?.to_owned()));
                JsonError::Problems { problems, id }
            });
    }
    let root: Node = serde_json::from_str(text).map_err(|error| {
        JsonError::Syntax(Position {
            line: error.line(),
            column: error.column(),
        })
    })?;
    let id = root.text_of("id");
    let tree = Tree::from(root);
    let converted = convert_tree(&Source::of_json(None), &tree, conversion);
    converted
        .map(|converted| converted.value)
        .map_err(|problems| JsonError::Problems { problems, id })
}

/// Whether the text holds no document: nothing but comments and marks. It is an error wherever a
/// document is read.
pub fn is_empty(text: &str) -> bool {
    let is_nothing = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line == "..." || line.starts_with(['#', '%'])
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().all(is_nothing)
}

/// The text read straight into its type; `None` if that fails, or only the tree is reliable.
fn read_straight<T: Document>(text: &str) -> Option<T> {
    // `serde_yaml` takes a merge key for a member's name, and forgets how a number was written.
    let needs_tree = text.contains(tree::MERGE_KEY)
        || source::may_nest_deep(text)
        || scalar::may_hold_other_integers(text);
    if needs_tree {
        return None;
    }
    if T::shape().is_mapping() {
        let read: Result<Mapping<T>, _> = serde_yaml::from_str(text);
        read.ok().map(|Mapping(spec)| spec)
    } else {
        serde_yaml::from_str(text).ok()
    }
}

/// Validates the tree against its schema, and converts it if it has its shape.
fn convert_tree<T: Document, U>(
    source: &Source<'_>,
    tree: &Tree,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<Converted<U>, Problems> {
    let checker = Checker::default();
    let validated = validate::validate(tree, T::shape(), &checker.top());
    let by_schema = checker.finish(source).err();
    let spec = if validated.is_broken {
        None
    } else {
        serde_json::from_value(validated.value).ok()
    };
    let Some(spec) = spec else {
        return Err(by_schema.unwrap_or_else(|| unusable(source)));
    };
    // The checks say whatever the schema says about values, and more.
    let converted = check(source, spec, validated.substituted, conversion)?;
    by_schema.map_or(Ok(converted), Err)
}

/// Converts a document that has its shape.
fn check<T, U>(
    source: &Source<'_>,
    spec: T,
    substituted: Vec<(YamlPath, String)>,
    conversion: impl FnOnce(T, &FieldPath<'_>) -> Option<U>,
) -> Result<Converted<U>, Problems> {
    let checker = Checker::new(substituted);
    let converted = conversion(spec, &checker.top());
    let warnings = checker.warnings(source);
    let substituted = checker.finish(source)?;
    let value = converted.ok_or_else(|| unusable(source))?;
    Ok(Converted {
        value,
        warnings,
        substituted,
    })
}

/// The problem where a conversion gave nothing and noted nothing.
fn unusable(source: &Source<'_>) -> Problems {
    source.problem_alone("the file cannot be used", None)
}
