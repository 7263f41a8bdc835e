//! The fingerprint of a file: what the file system shows of it without opening it.
//!
//! It tells whether the file changed, and whether it came whole or is being written in place.
//! Taking one opens nothing, so it succeeds even when the process has no file descriptor left.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file's state at one moment. Equal fingerprints show no change between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// The path without symlinks; `None` if it leads nowhere.
    pub resolved: Option<PathBuf>,
    /// Whether the last component is a symlink.
    pub is_link: bool,
    /// The state of the file; `None` if it is unknown.
    pub state: Option<FileStat>,
}

/// The state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device and inode.
    pub identity: (u64, u64),
    /// The size in bytes.
    pub size: u64,
    /// `mtime`, in seconds and nanoseconds: the last change of the content.
    pub modified: (i64, i64),
    /// `ctime`: the last change of anything. A write sets both times alike; a rename or a change of
    /// mode sets only this one.
    pub changed: (i64, i64),
}

impl Fingerprint {
    /// Takes the fingerprint of a path; symlinks are followed.
    pub fn of(path: &Path) -> Self {
        Self {
            resolved: std::fs::canonicalize(path).ok(),
            is_link: std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink()),
            state: std::fs::metadata(path).ok().map(|data| FileStat {
                identity: (data.dev(), data.ino()),
                size: data.len(),
                modified: (data.mtime(), data.mtime_nsec()),
                changed: (data.ctime(), data.ctime_nsec()),
            }),
        }
    }

    /// Device and inode; `None` if there is no file.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.state.map(|state| state.identity)
    }

    /// Whether there is a file, and another one than before.
    pub(super) fn replaces(&self, earlier: &Self) -> bool {
        self.state.is_some() && earlier.state.is_some() && self.identity() != earlier.identity()
    }

    /// Whether it is as before, or came whole since: by a rename, which an event (`moved`) or its
    /// times show, or by a swapped symlink. A missing file did not come whole: some writers remove
    /// a file before they write the new one.
    pub(super) fn came_whole_since(&self, before: &Self, moved: bool) -> bool {
        if self == before {
            return true;
        }
        let Some(state) = self.state else {
            return false;
        };
        if before.identity() == Some(state.identity) {
            return false;
        }
        let swapped = match (&before.resolved, &self.resolved) {
            (Some(before), Some(now)) => before != now,
            // Where nothing was before, a regular file may just have been begun; a link has not.
            (None, Some(_)) => self.is_link,
            (_, None) => false,
        };
        // A file that is created and written in place has equal times until something other than
        // its content changes; a rename changes only `ctime`.
        moved || swapped || state.changed != state.modified
    }
}
