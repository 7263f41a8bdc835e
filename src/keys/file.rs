//! The file source: reads a keys file, or every one in a directory, into a `KeyMap`.
//!
//! At start all files are read and checked, so that all their problems are reported at once; either
//! all of them are loaded or none. Later each file is loaded or rejected by itself
//! ([`LoadedKeys`]). Reading ([`read`]) and checking are two steps, so that a changed file can be
//! told from a touched one. Both block: do not call them on threads that serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{KeySource, LookupFuture, SourceAnswer};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::authz::key_map::{KeyMap, Repeated};
use crate::authz::snapshot::Policy;
use crate::watch::WatchedFile;
use crate::watch::named_file::NamedFile;
use crate::yaml::{self, Problems, ReadError};

pub(crate) mod chunks;
mod listing;
mod loaded;
mod parse;
mod repeated;

#[cfg(test)]
mod tests;

pub use listing::{files_in, list};
pub use loaded::{CheckedFiles, FileChange, LoadedKeys};

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
}

/// A file's text. Not for printing: it may hold what was never meant to be there.
struct Text {
    path: PathBuf,
    content: String,
    watched: WatchedFile,
}

/// Loads the keys of a file or directory under that policy.
///
/// # Errors
/// Everything that is wrong in any of the files; no file is an error too.
pub fn load(path: &NamedFile, policy: &Policy) -> Result<KeyMap, LoadError> {
    Ok(read(path)?.checked(Some(policy))?.0)
}

/// Reads the file, or every keys file in the directory.
///
/// # Errors
/// When one cannot be read or is no text, or when they change meanwhile.
pub fn read(path: &NamedFile) -> Result<Texts, LoadError> {
    let mut files = Vec::new();
    let mut problems: Option<Problems> = None;
    for file in files_in(path)? {
        let watched = WatchedFile::new(&file);
        match read_text(&file) {
            Ok(content) => files.push(Text {
                path: file,
                content,
                watched,
            }),
            Err(found) => add(&mut problems, found),
        }
    }
    if let Some(problems) = problems {
        return Err(problems.into());
    }
    // A change that this misses, of equal size within one tick of the clock, is seen by the
    // follower's second look.
    if !files.iter().all(|file| file.watched.was_read_whole()) {
        return Err(LoadError::Changing {
            file: path.display().to_string(),
        });
    }
    Ok(Texts { files })
}

/// A file's text.
///
/// # Errors
/// When it cannot be read or is no text.
pub fn read_text(path: &Path) -> Result<String, Problems> {
    yaml::read(path).map_err(|error| match error {
        ReadError::Io { source, .. } => {
            Problems::one(path, None, format!("cannot be read: {source}"), None)
        }
        ReadError::Problems(problems) => problems,
    })
}

/// The records of a file's text.
pub(crate) fn records_of(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
) -> Result<Vec<Arc<KeyRecord>>, Problems> {
    let mut records = parse::Records::default();
    parse::read_records(path, text, policy, parse::CHUNK_BYTES, &mut records)?;
    Ok(records.into_parts().0)
}

fn add(problems: &mut Option<Problems>, more: Problems) {
    match problems {
        Some(problems) => problems.extend(more),
        None => *problems = Some(more),
    }
}

impl Texts {
    /// The files as they were read, each with the hash of its content.
    pub fn watched(&self) -> impl Iterator<Item = (WatchedFile, blake3::Hash)> {
        let files = self.files.iter();
        files.map(|file| (file.watched.clone(), blake3::hash(file.content.as_bytes())))
    }

    /// The keys in the files, by file.
    ///
    /// # Errors
    /// All that is wrong in any of the files.
    pub fn keys(self, policy: &Policy) -> Result<LoadedKeys, Problems> {
        let (map, starts) = self.checked(Some(policy))?;
        let paths = self.files.into_iter().map(|file| file.path);
        Ok(LoadedKeys::new(map, paths.zip(starts)))
    }

    /// The keys in the files, and the number of each file's first; without a policy what only it
    /// can tell is not checked.
    fn checked(&self, policy: Option<&Policy>) -> Result<(KeyMap, Vec<usize>), Problems> {
        let mut records = parse::Records::default();
        let mut problems = None;
        let mut starts = Vec::with_capacity(self.files.len());
        for Text { path, content, .. } in &self.files {
            starts.push(records.items());
            let read = parse::read_records(path, content, policy, parse::CHUNK_BYTES, &mut records);
            if let Err(found) = read {
                add(&mut problems, found);
            }
        }
        let (records, without) = records.into_parts();
        match (KeyMap::new(records), problems) {
            (Ok(map), None) => Ok((map, starts)),
            (Ok(_), Some(problems)) => Err(problems),
            (Err(repeated), mut problems) => {
                let repeated = parse::Records::in_items(&without, repeated);
                let mut found = self.problems(&repeated, &starts);
                if let Some(problems) = problems.take() {
                    found.extend(problems);
                    found.sort();
                }
                Err(found)
            }
        }
    }

    /// What is repeated, in words; each file's first record has the number in `starts`.
    fn problems(&self, repeated: &[Repeated], starts: &[usize]) -> Problems {
        let files = self.files.iter().zip(starts);
        let files: Vec<_> = files
            .map(|(file, start)| (&*file.path, Some(&*file.content), *start))
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
