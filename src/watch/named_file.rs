//! A file that the configuration names, and how messages show its name.
//!
//! If a path comes from the environment, or looks like a secret, an operator may have put the
//! secret itself where the name of its file belongs. So messages show what the configuration has
//! there (`${NAME}`), and the path is used for opening the file alone.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::secret_format::may_hold_secret;

/// Shown in place of a literal name that may be a secret.
const HIDDEN: &str = "(a name that looks like a secret)";

/// The path of a file, and how it is shown. Derefs to the path, for opening it.
#[derive(Clone)]
pub struct NamedFile(Arc<Name>);

struct Name {
    path: PathBuf,
    /// `None` if the path itself is shown.
    shown: Option<Box<str>>,
}

impl NamedFile {
    /// The file at `path`; `written` is what the configuration has, if it came from the
    /// environment.
    pub fn new(path: PathBuf, written: Option<String>) -> Self {
        let is_like_secret = may_hold_secret(&path.to_string_lossy());
        let shown = written.or_else(|| is_like_secret.then(|| HIDDEN.to_owned()));
        Self(Arc::new(Name {
            path,
            shown: shown.map(String::into_boxed_str),
        }))
    }

    /// The path, for opening or watching the file.
    pub fn as_path_buf(&self) -> &PathBuf {
        &self.0.path
    }

    /// The path for messages.
    pub fn as_shown(&self) -> &Path {
        self.0.shown.as_deref().map_or(&self.0.path, Path::new)
    }

    /// The name for messages; hides `Path::display`, which would show the path.
    pub fn display(&self) -> impl fmt::Display {
        self
    }
}

impl Deref for NamedFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0.path
    }
}

impl AsRef<Path> for NamedFile {
    fn as_ref(&self) -> &Path {
        &self.0.path
    }
}

/// Files are equal if their paths are.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for NamedFile {}

impl From<PathBuf> for NamedFile {
    fn from(path: PathBuf) -> Self {
        Self::new(path, None)
    }
}

impl From<&str> for NamedFile {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.shown {
            Some(shown) => f.write_str(shown),
            None => self.0.path.display().fmt(f),
        }
    }
}

impl fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_may_be_a_secret_is_not_shown() {
        let from_environment = NamedFile::new("/etc/hunter2".into(), Some("${TOKEN}".to_owned()));
        let pasted = NamedFile::from("etc/kw_hunter2");
        for file in [&from_environment, &pasted] {
            let shown = format!("{file} {file:?} {}", file.display());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(from_environment.to_string(), "${TOKEN}");
        assert_eq!(from_environment.as_shown(), Path::new("${TOKEN}"));
        assert_eq!(from_environment.as_path_buf(), Path::new("/etc/hunter2"));
        let other = NamedFile::from("etc/pepper");
        assert_eq!(
            (&*other.to_string(), other.as_shown()),
            ("etc/pepper", Path::new("etc/pepper"))
        );
    }
}
