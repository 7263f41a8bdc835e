//! The file source: reads a keys file, or every one in a directory, into a `KeyMap`.
//!
//! All files are read and checked before anything is said, so that everything wrong with them comes at once, and either all
//! of it is taken or nothing. Reading ([`read`]) and checking ([`Texts::keys`]) are two steps, so that a watcher can tell a changed
//! file from a touched one. Neither blocks less than it takes: call them off the threads that serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{KeySource, LookupFuture, SourceAnswer};
use super::stillness::Sighting;
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::authz::key_map::{KeyMap, Repeated};
use crate::authz::snapshot::Policy;
use crate::yaml::{self, Problems, ReadError};

pub(super) mod chunks;
mod listing;
mod parse;
mod repeated;

#[cfg(test)]
mod tests;

pub use listing::files_in;
pub(super) use listing::list;

/// Keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// All that is wrong with the files.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// Somebody is writing: what was read may be neither the old nor the new content.
    #[error("{file} changed while it was read")]
    Changing {
        /// The file or directory, as it was named.
        file: String,
    },
}

/// The texts of all files, read and not looked at yet.
pub struct Texts {
    files: Vec<Text>,
    sighting: Sighting,
    hash: blake3::Hash,
}

/// A file's text. Not for printing: it may hold what was never meant to be there.
struct Text {
    path: PathBuf,
    text: String,
}

/// Loads the keys of a file or directory under that policy.
///
/// # Errors
/// Everything that is wrong in any of the files; no file is an error too.
pub fn load(path: &Path, policy: &Policy) -> Result<KeyMap, LoadError> {
    Ok(read(path)?.keys(Some(policy))?)
}

/// Reads the file, or every keys file in the directory.
///
/// # Errors
/// When one cannot be read or is no text, or when they change meanwhile.
pub fn read(path: &Path) -> Result<Texts, LoadError> {
    let sighting = Sighting::of(path);
    let mut files = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut problems: Option<Problems> = None;
    for file in files_in(path)? {
        match read_text(&file) {
            Ok(text) => {
                // Names and lengths keep one split of the bytes into files apart from another.
                hasher
                    .update(file.as_os_str().as_encoded_bytes())
                    .update(&[0]);
                hasher
                    .update(&text.len().to_le_bytes())
                    .update(text.as_bytes());
                files.push(Text { path: file, text });
            }
            Err(found) => add(&mut problems, found),
        }
    }
    // A change that this misses, of equal size within one tick of the clock, is seen by the watcher's second look.
    if Sighting::of(path) != sighting {
        return Err(LoadError::Changing {
            file: path.display().to_string(),
        });
    }
    match problems {
        Some(problems) => Err(problems.into()),
        None => Ok(Texts {
            files,
            sighting,
            hash: hasher.finalize(),
        }),
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, Problems> {
    yaml::read(path).map_err(|error| match error {
        ReadError::Io { source, .. } => {
            Problems::one(path, None, format!("cannot be read: {source}"), None)
        }
        ReadError::Problems(problems) => problems,
    })
}

/// The records of a file's text.
pub(super) fn records_of(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
) -> Result<Vec<Arc<KeyRecord>>, Problems> {
    let mut records = Vec::new();
    parse::read_records(path, text, policy, parse::CHUNK_BYTES, &mut records)?;
    Ok(records)
}

fn add(problems: &mut Option<Problems>, more: Problems) {
    match problems {
        Some(problems) => problems.extend(more),
        None => *problems = Some(more),
    }
}

impl Texts {
    /// What the files were like while they were read.
    pub fn sighting(&self) -> &Sighting {
        &self.sighting
    }

    /// The hash of everything that was read: equal for equal content under equal names.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// The keys in the files; without a policy what only it can tell is not checked.
    ///
    /// # Errors
    /// All that is wrong in any of the files.
    pub fn keys(self, policy: Option<&Policy>) -> Result<KeyMap, Problems> {
        let mut records = Vec::new();
        let mut problems = None;
        let mut starts = Vec::with_capacity(self.files.len());
        for Text { path, text } in &self.files {
            starts.push(records.len());
            if let Err(found) =
                parse::read_records(path, text, policy, parse::CHUNK_BYTES, &mut records)
            {
                add(&mut problems, found);
            }
        }
        if let Some(mut problems) = problems {
            if let Some(repeated) = self.repeated() {
                problems.extend(repeated);
                problems.sort();
            }
            return Err(problems);
        }
        records.shrink_to_fit();
        KeyMap::new(records).map_err(|repeated| self.problems(&repeated, &starts))
    }

    /// What is there more than once among files of which something else is wrong.
    fn repeated(&self) -> Option<Problems> {
        let mut names = Vec::new();
        let mut starts = Vec::with_capacity(self.files.len());
        for Text { path, text } in &self.files {
            starts.push(names.len());
            names.extend(parse::read_names(path, text, parse::CHUNK_BYTES));
        }
        let repeated = repeated::among(&names);
        (!repeated.is_empty()).then(|| self.problems(&repeated, &starts))
    }

    /// What is repeated, in words; each file's first record has the number in `starts`.
    fn problems(&self, repeated: &[Repeated], starts: &[usize]) -> Problems {
        let files = self.files.iter().zip(starts);
        let files: Vec<_> = files
            .map(|(file, start)| (&*file.path, &*file.text, *start))
            .collect();
        repeated::problems(repeated, &files)
    }
}

/// Shows the number of files.
impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Texts({} files)", self.files.len())
    }
}

// The map answers from memory and never fails: it is the source that all others are measured by.
impl KeySource for KeyMap {
    fn name(&self) -> &'static str {
        "file"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        let answer = self.get(digest).map_or(SourceAnswer::NotFound, |record| {
            SourceAnswer::Found(Arc::clone(record))
        });
        Box::pin(std::future::ready(Ok(answer.into())))
    }
}
