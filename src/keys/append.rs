//! Adds a record to a keys file: the whole file anew beside the old one, and renamed over it once it has proved valid.
//!
//! What stands in the file stays as it is, comments and layout included; the record comes after its last line, in the column of
//! the other ones. Writers wait for one another by a lock on the directory, for a lock on the file would go with the file.
//! keyward and anything else that reads sees the old file or the new one, never a part.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::chunks::plain_list;
use super::file::{list, read_text, records_of};
use super::record::KeySpec;
use super::source::InvalidRecord;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::Policy;
use crate::yaml::Problems;

mod replace;

#[cfg(test)]
mod tests;

/// The file of a directory that records are added to.
const FILE_IN_DIRECTORY: &str = "keys.yaml";

/// The column of the dashes in a list that has none yet.
const INDENT: usize = 2;

/// A record could not be added. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The record itself cannot be used.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// What is in the file already is not valid.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// There is a key of that id, which has been checked to be an id.
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
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl AppendError {
    /// Whether what is in the file is to blame: exit code 3.
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

/// Adds the record to the keys file, which is made if it does not exist; in a directory, to its `keys.yaml`. Gives the path
/// of the file that was written. Without a policy what only it can tell is not checked.
///
/// # Errors
/// When the record or the file is not valid, when the id or a digest is taken, or when the file system refuses.
pub fn append_record(
    path: &Path,
    spec: &KeySpec,
    policy: Option<&Policy>,
) -> Result<PathBuf, AppendError> {
    let record = super::record::prove(spec, policy)?;
    let is_directory = path.is_dir();
    let named = written_to(path);
    // The file behind a symlink is replaced, so that the link stays one.
    let target = std::fs::canonicalize(&named).unwrap_or(named);
    let failed = |what| {
        let file = target.clone();
        move |source| AppendError::Io { file, what, source }
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let lock = File::open(directory).map_err(failed("opening its directory"))?;
    lock.lock().map_err(failed("locking its directory"))?;

    if is_directory {
        for other in list(path).map_err(failed("listing its directory"))? {
            if std::fs::canonicalize(&other).is_ok_and(|other| other != target) {
                let records = records_of(&other, &read_text(&other)?, policy)?;
                refuse_taken(&records, &record, &other)?;
            }
        }
    }
    let exists = std::fs::exists(&target).map_err(failed("looking for it"))?;
    let old = if exists {
        Some(read_text(&target)?)
    } else {
        None
    };
    let before = match &old {
        Some(old) => records_of(&target, old, policy)?,
        None => Vec::new(),
    };
    refuse_taken(&before, &record, &target)?;
    let new = match &old {
        Some(old) => with_item(old, spec),
        None => Some(format!("keys:\n{}", spec.to_item(INDENT))),
    };
    // Whatever the text looks like, it is taken only if it says the same as before and the record.
    let proved = new.filter(|new| {
        records_of(&target, new, policy).is_ok_and(|after| {
            after
                .split_last()
                .is_some_and(|(last, rest)| *last == record && *rest == *before)
        })
    });
    let new = proved.ok_or_else(|| AppendError::Layout {
        file: target.clone(),
    })?;
    replace::replace(&target, directory, new.as_bytes())
        .map_err(|(what, source)| failed(what)(source))?;
    Ok(target)
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

/// The text with the record as the last item of its list; `None` if it does not end with a list in block style.
fn with_item(old: &str, spec: &KeySpec) -> Option<String> {
    let (mut text, indent) = match plain_list(old.trim_start_matches('\u{feff}'), usize::MAX) {
        Some(list) => (old.to_owned(), list.indent),
        None => (open_empty_list(old)?, INDENT),
    };
    let line_break = if old.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.ends_with('\n') {
        text.push_str(line_break);
    }
    text.push_str(&spec.to_item(indent).replace('\n', line_break));
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
