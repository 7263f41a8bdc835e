//! The one room that knows YAML: text goes in, a typed `*Spec` or the full list of [`Problems`] comes out.
//!
//! [`parse`] first lets `serde_yaml` read the text straight into the type, which is what 100 000 keys need. Only
//! when that fails is the text read again into a tree with positions, from which everything that is wrong
//! with its shape is collected. A loader's conversion notes what is wrong with the values at a [`Place`], whose
//! lines are found the same lazy way. JSON is YAML, so it is read here too.
//!
//! The way of a loader: [`read`] the file, and [`convert`] it (or [`convert_with_env`]):
//!
//! ```
//! # use keyward::yaml;
//! # use std::path::Path;
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct KeysSpec { keys: Vec<KeySpec> }
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct KeySpec { id: String }
//!
//! let ids = |text| yaml::convert(Path::new("keys.yaml"), text, |spec: KeysSpec, top| {
//!     let list = top.field("keys");
//!     for (index, key) in spec.keys.iter().enumerate() {
//!         if key.id.starts_with('_') {
//!             list.index(index).field("id").problem("begins with `_`");
//!         }
//!     }
//!     Some(spec.keys.into_iter().map(|key| key.id).collect::<Vec<_>>())
//! });
//! assert_eq!(ids("keys:\n- id: a\n")?, ["a"]);
//! let problems = ids("keys:\n- {}\n- id: _a\n").unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "keys.yaml:2:3: keys[0]: missing member `id`\nkeys.yaml:3:7: keys[1].id: begins with `_`"
//! );
//! # Ok::<(), yaml::Problems>(())
//! ```
//!
//! The conversion also sees a document of which some values have a wrong shape, so that all problems are told at once. In their place
//! stands what is made up: a problem noted there is dropped, and what is converted is dropped in any case. What compares
//! a value with another, or finds it absent, asks first whether it [is known](Place::is_known).
//!
//! Rules for Specs: derive `Deserialize` with `deny_unknown_fields`, no `flatten`, no untagged or internally tagged enums (they
//! lose positions); mappings with names of the operator's are [`Members`], free-form values [`Free`] (serde's
//! own maps take the last of repeated members silently); an error made with `D::Error::custom` says what
//! is wrong, then `; ` and what would be right, and never repeats the value.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::de::{DeserializeOwned, IgnoredAny};

mod checker;
mod members;
mod parsed;
mod problem;
mod scalar;
mod shape;
mod strict;
mod substitute;
mod syntax;
mod tree;
mod units;

#[cfg(test)]
pub(crate) mod tests;

pub use checker::{Checker, Place};
pub use members::{Free, Members, not_null, text};
pub use parsed::Converted;
pub use problem::{MAX_PROBLEMS, Position, Problem, Problems, Segment, YamlPath};
pub use substitute::Environment;
pub use units::{DurationSpec, InvalidUnit, SizeSpec, TimeSpec};

use parsed::{Parsed, Partial};
use tree::{Flaw, Tree};

/// Size in bytes of the largest file that is read: some two million keys, and no more than a machine can hold by mistake.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// A document that has the shape of `T`.
#[derive(Debug)]
pub struct Document<'t, T> {
    /// What it says.
    pub value: T,
    /// Where it says it.
    pub source: Source<'t>,
}

/// The text of a document, for finding lines and columns when something in it is wrong.
pub struct Source<'t> {
    file: Arc<Path>,
    text: &'t str,
    tree: OnceLock<Option<Tree<'t>>>,
    /// Whether an integer in the text may be written otherwise than in decimal.
    other_integers: OnceLock<bool>,
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
    // The exact size from the start: growing by doubling would leave half of it unused, and twice the peak.
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
/// When there are more than [`MAX_FILE_BYTES`], or they are not UTF-8: with the line and column of the first that is not.
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

/// Reads the one document in `text` as a `T`. `file` is for messages alone.
///
/// # Errors
/// A syntax error alone, or all that is wrong with the document's shape. An empty file is an error: it is
/// what a file being written looks like.
pub fn parse<'t, T: DeserializeOwned>(
    file: &Path,
    text: &'t str,
) -> Result<Document<'t, T>, Problems> {
    read_document(file, text, None)?.whole()
}

/// Reads the one document in `text` as a `T`, and converts it. `file` is for messages alone.
///
/// The conversion gives `None` when it has noted why not.
///
/// # Errors
/// A syntax error alone, or all that is wrong with the document, its shape and its values.
pub fn convert<T: DeserializeOwned, U>(
    file: &Path,
    text: &str,
    conversion: impl FnOnce(T, &Place<'_>) -> Option<U>,
) -> Result<U, Problems> {
    Ok(read_document(file, text, None)?.convert(conversion)?.value)
}

/// As [`convert`], with `${NAME}` and `${NAME:-default}` in strings replaced from `env`. What is replaced may become a number or
/// a boolean, where one is asked for; an empty value is an empty string.
///
/// # Errors
/// As [`convert`]; a name that is not set is one more problem of the list.
pub fn convert_with_env<'t, T: DeserializeOwned, U>(
    file: &Path,
    text: &'t str,
    env: &Environment<'_>,
    conversion: impl FnOnce(T, &Place<'_>) -> Option<U>,
) -> Result<Converted<'t, U>, Problems> {
    read_document(file, text, Some(env))?.convert(conversion)
}

fn read_document<'t, T: DeserializeOwned>(
    file: &Path,
    text: &'t str,
    env: Option<&Environment<'_>>,
) -> Result<Parsed<'t, T>, Problems> {
    let source = Source::new(file, text);
    source.refuse_empty()?;
    if let Some(env) = env.filter(|_| text.contains("${")) {
        return source.read_tree(Some(env));
    }
    if source.text.contains(tree::MERGE_KEY) {
        // `serde_yaml` takes a merge key for a member's name.
        return source.read_tree(None);
    }
    if may_nest_deep(source.text) {
        Tree::read(source.text, None).map_err(|flaw| Problems::from(source.problem(flaw)))?;
    }
    match strict::read(source.text) {
        Ok(value) => Ok(Parsed::Whole(Document { value, source })),
        Err(_) => source.read_tree(None),
    }
}

/// Whether the text holds no document: nothing but comments and marks. It is an error wherever a document is read.
pub fn is_empty(text: &str) -> bool {
    let is_nothing = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line == "..." || line.starts_with(['#', '%'])
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().all(is_nothing)
}

/// Whether brackets may nest deeper than anyone means.
///
/// `serde_yaml` takes time by the square of their depth before it refuses them, so the tree, which counts as it goes, has the first
/// look then. Brackets in strings count too: a false alarm costs one more reading.
fn may_nest_deep(text: &str) -> bool {
    const SUSPICIOUS_DEPTH: usize = 1000;
    let mut depth = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > SUSPICIOUS_DEPTH
    })
}

// === impl Source ===

impl<'t> Source<'t> {
    /// The document in `text`, whatever it looks like.
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: Arc::from(file),
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            tree: OnceLock::new(),
            other_integers: OnceLock::new(),
        }
    }

    /// The file, as it was named.
    pub fn file(&self) -> Arc<Path> {
        Arc::clone(&self.file)
    }

    /// A basket for what is wrong with the document's values.
    pub fn checker(&self) -> Checker<'_, 't> {
        Checker::new(self, None)
    }

    /// Where the value at `path` begins, or the nearest one around it that the document has. Reads the text again the first time.
    pub fn locate(&self, path: &YamlPath) -> Option<Position> {
        self.tree().map(|tree| tree.locate(path))
    }

    /// As [`Self::locate`], of the name of the member at `path`.
    fn locate_name(&self, path: &YamlPath) -> Option<Position> {
        self.tree().map(|tree| tree.locate_name(path))
    }

    /// What the file has at `path`, where its value came from the environment.
    fn written(&self, path: &YamlPath) -> Option<&str> {
        // A document with references was read as a tree; for no other it is worth making one.
        self.tree.get()?.as_ref()?.written(path)
    }

    /// Whether the integer at `path` is written just like that. The tree is read only for a text in which any may not be.
    fn has_integer_as(&self, path: impl FnOnce() -> YamlPath, decimal: &str) -> bool {
        let may_differ = self
            .other_integers
            .get_or_init(|| scalar::may_hold_other_integers(self.text));
        let text = || self.tree()?.scalar(&path());
        !may_differ || text() == Some(decimal)
    }

    /// The document with positions, unless its syntax is wrong.
    fn tree(&self) -> Option<&Tree<'t>> {
        self.tree
            .get_or_init(|| Tree::read(self.text, None).ok())
            .as_ref()
    }

    /// Each value that came from the environment, with what the file has in its place. Empty where no environment was given.
    pub fn substituted(&self) -> Vec<(YamlPath, String)> {
        match self.tree.get() {
            Some(Some(tree)) => tree.substituted(),
            Some(None) | None => Vec::new(),
        }
    }

    fn refuse_empty(&self) -> Result<(), Problems> {
        if is_empty(self.text) {
            return Err(Problems::one(
                &self.file,
                None,
                "the file is empty",
                Some("write {} for an empty mapping"),
            ));
        }
        Ok(())
    }

    /// The slow path: all that is wrong, or the value after all.
    fn read_tree<T: DeserializeOwned>(
        self,
        env: Option<&Environment<'_>>,
    ) -> Result<Parsed<'t, T>, Problems> {
        let mut tree = Tree::read(self.text, env).map_err(|mut flaw| {
            let line = self.text.lines().nth(flaw.position.line - 1);
            if env.is_some() && line.is_some_and(|line| line.contains("${")) {
                // The brace of a reference without quotes is taken for one that opens a mapping.
                if flaw.help.is_none() || flaw.message.contains("bracket") {
                    flaw.help = Some("within brackets put ${NAME} in quotes".to_owned());
                }
            }
            Problems::from(self.problem(flaw))
        })?;
        self.refuse_other_dialect()?;
        let flaws = std::mem::take(&mut tree.flaws);
        let read = shape::read(&tree, flaws);
        let source = Self {
            tree: OnceLock::from(Some(tree)),
            ..self
        };
        Ok(match read {
            Ok(value) => Parsed::Whole(Document { value, source }),
            Err(misshapen) => Parsed::Partial(Partial { misshapen, source }),
        })
    }

    /// Where the two parsers differ about syntax, `serde_yaml`'s word holds: it reads every file that has no problem.
    fn refuse_other_dialect(&self) -> Result<(), Problems> {
        let Err(error) = serde_yaml::from_str::<IgnoredAny>(self.text) else {
            return Ok(());
        };
        let position = error.location().map(|location| Position {
            line: location.line(),
            column: location.column(),
        });
        Err(Problems::one(&self.file, position, error.to_string(), None))
    }

    fn problem(&self, flaw: Flaw) -> Problem {
        Problem {
            file: self.file(),
            position: Some(flaw.position),
            path: flaw.path,
            message: flaw.message,
            help: flaw.help,
        }
    }
}

impl std::fmt::Debug for Source<'_> {
    /// The file's name and not its text, which may hold what was never meant to be printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.file).finish()
    }
}
