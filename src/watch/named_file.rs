//! A file that the configuration names, and what is told of its name.
//!
//! Where a path came from the environment, or looks like a secret, somebody may have put the secret itself where the name of its
//! file belongs. So messages show what the configuration has there (`${NAME}`), and the path is for opening alone.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::secret_format::may_hold_secret;

/// What is told of a name that may be a secret, and that the configuration has to the letter.
const HIDDEN: &str = "(a name that looks like a secret)";

/// The path of a file, and how it is told. It is opened as the path that it derefs to.
#[derive(Clone)]
pub struct NamedFile(Arc<Name>);

struct Name {
    path: PathBuf,
    /// `None` where the path itself is told.
    told: Option<Box<str>>,
}

impl NamedFile {
    /// The file at `path`; `written` is what the configuration has in its place, where it came from the environment.
    pub fn new(path: PathBuf, written: Option<String>) -> Self {
        let is_like_secret = may_hold_secret(&path.to_string_lossy());
        let told = written.or_else(|| is_like_secret.then(|| HIDDEN.to_owned()));
        Self(Arc::new(Name {
            path,
            told: told.map(String::into_boxed_str),
        }))
    }

    /// The path, for whoever opens or watches it.
    pub fn as_path_buf(&self) -> &PathBuf {
        &self.0.path
    }

    /// The path under which problems with the file are told.
    pub fn as_told(&self) -> &Path {
        self.0.told.as_deref().map_or(&self.0.path, Path::new)
    }

    /// The name as it is told; in place of that of `Path`, which would tell the path.
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

/// Files are equal that are opened by the same path.
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
        match &self.0.told {
            Some(told) => f.write_str(told),
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
    fn a_name_that_may_be_a_secret_is_not_told() {
        let from_environment = NamedFile::new("/etc/hunter2".into(), Some("${TOKEN}".to_owned()));
        let pasted = NamedFile::from("etc/kw_hunter2");
        for file in [&from_environment, &pasted] {
            let told = format!("{file} {file:?} {}", file.display());
            assert!(!told.contains("hunter2"), "{told}");
        }
        assert_eq!(from_environment.to_string(), "${TOKEN}");
        assert_eq!(from_environment.as_told(), Path::new("${TOKEN}"));
        assert_eq!(from_environment.as_path_buf(), Path::new("/etc/hunter2"));
        let other = NamedFile::from("etc/pepper");
        assert_eq!(
            (&*other.to_string(), other.as_told()),
            ("etc/pepper", Path::new("etc/pepper"))
        );
    }
}
