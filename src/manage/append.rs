//! Adds a record to a keys file.
//!
//! The rest of the file stays as it is, comments and layout included; the record is added after the
//! last line, in the column of the others. The new text is checked before it replaces the file, and
//! readers see the old file or the new one, never a part. A record is refused if another file of a
//! served directory has its id or secret: none of the directory could be loaded then.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record_text::to_item;
use super::rewrite::{LockedFile, Original, Ownership, ReplaceOutcome, parent_of};
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::Policy;
use crate::keys::file::chunks::plain_list;
use crate::keys::file::{list, read_text, records_of};
use crate::keys::record::KeySpec;
use crate::keys::source::InvalidRecord;
use crate::watch::named_file::NamedFile;
use crate::yaml::Problems;

#[cfg(test)]
mod tests;

/// The file of a directory that records are added to.
const FILE_IN_DIRECTORY: &str = "keys.yaml";

/// The column of the dashes in a list that was empty.
const INDENT: usize = 2;

/// How many times writing is tried while others change the file.
const MAX_TRIES: usize = 100;

/// A record could not be added. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The record itself cannot be used.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// The file is not valid as it is.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// There is a key of that id. An id that was checked can be printed.
    #[error("{}: there is a key `{id}` already; choose another id", file.display())]
    IdTaken {
        /// The id.
        id: String,
        /// The file that has it.
        file: PathBuf,
    },
    /// Another key has one of the digests.
    #[error("{}: the key `{id}` has the same secret; make another one", file.display())]
    DigestTaken {
        /// The id of the other key.
        id: String,
        /// The file that has it.
        file: PathBuf,
    },
    /// The list is written in brackets, or there is more than a list in the file.
    #[error(
        "{}: a key can be added only where `keys` has a line with a dash for each key and is the last thing in the file; write it so, or add the key by hand",
        file.display()
    )]
    Layout {
        /// The file.
        file: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {what} failed", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The step that failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another program writes it again and again.
    #[error("{}: it changed whenever it was to be written; try again", file.display())]
    Changing {
        /// The file.
        file: PathBuf,
    },
}

impl AppendError {
    /// The same for a file that the configuration names: an I/O error shows the name as the
    /// configuration has it.
    #[must_use]
    pub fn of(mut self, named: &NamedFile) -> Self {
        if let Self::Io { file, .. } = &mut self {
            named.as_shown().clone_into(file);
        }
        self
    }

    /// Whether the content of the file is the cause: exit code 3.
    pub fn is_bad_file(&self) -> bool {
        matches!(self, Self::Problems(_) | Self::Layout { .. })
    }
}

/// The file that a record added to `path` goes into: a directory's `keys.yaml`, or the file itself.
pub fn written_to(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FILE_IN_DIRECTORY)
    } else {
        path.to_owned()
    }
}

/// Adds the record to the keys file, which is created if it does not exist; in a directory, to its
/// `keys.yaml`. Gives the path of the file that was written. Without a policy, plans and the like
/// are not checked. `source` is the file or directory that is served, where that is known.
///
/// # Errors
/// When the record or the file is not valid, when the id or a digest is taken, or when the file
/// system refuses.
pub fn append_record(
    path: &Path,
    spec: &KeySpec,
    policy: Option<&Policy>,
    source: Option<&Path>,
) -> Result<PathBuf, AppendError> {
    let record = crate::keys::record::validate(spec, policy)?;
    let named = written_to(path);
    let served = if path.is_dir() { Some(path) } else { source };
    for _ in 0..MAX_TRIES {
        let file = LockedFile::lock(&named).map_err(|failure| failed(&named, failure))?;
        let original = file
            .read()
            .map_err(|failure| failed(file.path(), failure))?;
        let is_new = original.is_missing();
        let like = refuse_taken_beside(&named, file.path(), is_new, &record, policy, served)?;
        let new = appended(file.path(), &original, spec, &record, policy)?;
        let replaced = file.replace(&original, new.as_bytes(), like);
        match replaced.map_err(|failure| failed(file.path(), failure))? {
            ReplaceOutcome::Done => return Ok(file.path().to_owned()),
            ReplaceOutcome::Changed => {}
        }
    }
    Err(AppendError::Changing { file: named })
}

/// The path without symlinks; the file itself need not exist.
pub fn resolved(path: &Path) -> Option<PathBuf> {
    let of_directory = || {
        let directory = parent_of(path).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(of_directory)
}

fn failed(file: &Path, (what, source): (&'static str, io::Error)) -> AppendError {
    let file = file.to_owned();
    AppendError::Io { file, what, source }
}

fn appended(
    file: &Path,
    original: &Original,
    spec: &KeySpec,
    record: &Arc<KeyRecord>,
    policy: Option<&Policy>,
) -> Result<String, AppendError> {
    let old = original.text().map_err(|_| not_text(file))?;
    let before = match old {
        Some(old) => records_of(file, old, policy)?,
        None => Vec::new(),
    };
    refuse_taken(&before, record, file)?;
    let new = match old {
        Some(old) => with_item(old, spec),
        None => Some(format!("keys:\n{}", to_item(spec, INDENT))),
    };
    // The text was edited without a parser, so it is used only if it parses to the old records and
    // the new.
    let checked = new.filter(|new| {
        records_of(file, new, policy).is_ok_and(|after| {
            after
                .split_last()
                .is_some_and(|(last, rest)| last == record && *rest == *before)
        })
    });
    checked.ok_or_else(|| AppendError::Layout {
        file: file.to_owned(),
    })
}

fn not_text(file: &Path) -> AppendError {
    // Reading it again gives the position.
    let problems = read_text(file).err();
    problems
        .unwrap_or_else(|| Problems::one(file, None, "not UTF-8", None))
        .into()
}

/// Refuses a record whose id or secret is in a file that may be served beside the one that is
/// written: each file of a served directory, and where it is unknown what is served, each keys file
/// beside a new file. Gives the ownership of the first.
fn refuse_taken_beside(
    named: &Path,
    target: &Path,
    is_new: bool,
    record: &KeyRecord,
    policy: Option<&Policy>,
    served: Option<&Path>,
) -> Result<Option<Ownership>, AppendError> {
    let served = served.and_then(resolved);
    if served.as_deref() == Some(target) {
        return Ok(None);
    }
    let mut like = None;
    let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
    let directories = [named.parent(), target.parent()].into_iter().flatten();
    let directories = directories.filter_map(|directory| directory.canonicalize().ok());
    for directory in directories.collect::<BTreeSet<_>>() {
        let is_served = served.as_ref() == Some(&directory);
        let listing = |error| failed(&directory, ("listing it", error));
        for other in list(&directory).map_err(listing)? {
            let is_target = other.canonicalize().is_ok_and(|other| other == target);
            // A file that exists already may be served alone. Reading a pipe would block.
            if is_target || !(is_served || (is_new && other.is_file())) {
                continue;
            }
            let records = read_text(&other).and_then(|text| records_of(&other, &text, policy));
            match records {
                Ok(records) => refuse_taken(&records, record, &other)?,
                Err(problems) if is_served => return Err(problems.into()),
                // Not a keys file.
                Err(_) => continue,
            }
            like = like.or_else(|| Ownership::of_file(&other));
        }
    }
    Ok(like)
}

fn refuse_taken(
    records: &[Arc<KeyRecord>],
    new: &KeyRecord,
    file: &Path,
) -> Result<(), AppendError> {
    let has_digest = |record: &KeyRecord| {
        let mut digests = record.secrets.iter().map(|secret| secret.digest);
        digests.any(|digest| new.secrets.iter().any(|secret| secret.digest == digest))
    };
    for record in records {
        let (id, file) = (record.id.to_string(), file.to_owned());
        if record.id == new.id {
            return Err(AppendError::IdTaken { id, file });
        }
        if has_digest(record) {
            return Err(AppendError::DigestTaken { id, file });
        }
    }
    Ok(())
}

/// The text with the record as the last item of its list; `None` if it does not end with a
/// block-style list.
fn with_item(old: &str, spec: &KeySpec) -> Option<String> {
    let (mut text, indent) = match plain_list(old.trim_start_matches('\u{feff}'), usize::MAX) {
        Some(list) => (old.to_owned(), list.indent),
        None => (open_empty_list(old)?, INDENT),
    };
    let line_break = if old.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.ends_with('\n') {
        text.push_str(line_break);
    }
    text.push_str(&to_item(spec, indent).replace('\n', line_break));
    Some(text)
}

/// The text with `keys:` for `keys: []`, if it holds no other value.
fn open_empty_list(text: &str) -> Option<String> {
    let mut opened = String::with_capacity(text.len());
    let mut found = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches('\u{feff}');
        let behind = bare
            .strip_prefix("keys:")
            .and_then(|rest| rest.trim_start().strip_prefix("[]"));
        match behind {
            Some(behind)
                if !found && (behind.trim().is_empty() || behind.trim_start().starts_with('#')) =>
            {
                found = true;
                opened.push_str("keys:");
                opened.push_str(behind);
            }
            None if is_nothing(bare) => opened.push_str(line),
            Some(_) | None => return None,
        }
    }
    found.then_some(opened)
}

fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line == "---"
}
