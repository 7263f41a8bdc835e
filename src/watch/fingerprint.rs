//! What a look at a file shows: enough to tell whether it changed, and how.
//!
//! The only calls to the file system that judging needs; what is made of two sightings is decided in `tracker`, which is
//! pure. Nothing is opened, so that a look succeeds when there is no file descriptor left.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file as it was at one moment. Two are equal if nothing can be seen to have changed between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// The path without symlinks; `None` where it leads nowhere.
    pub resolved: Option<PathBuf>,
    /// Whether the name itself is a symlink.
    pub is_link: bool,
    /// The file's state; `None` if it cannot be told.
    pub state: Option<FileStat>,
}

/// The state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device and inode: other ones are another file.
    pub identity: (u64, u64),
    /// The size in bytes.
    pub size: u64,
    /// When its content changed last, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// When anything about it changed last. A write sets both times alike; a rename, or a change of mode, only this one.
    pub changed: (i64, i64),
}

impl Fingerprint {
    /// A look at a file; symlinks are followed.
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

    /// Device and inode; `None` where there is no file.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.state.map(|state| state.identity)
    }

    /// Whether another file stands there than in an earlier fingerprint, which saw one.
    pub(super) fn replaces(&self, earlier: &Self) -> bool {
        self.state.is_some() && earlier.state.is_some() && self.identity() != earlier.identity()
    }

    /// Whether it is as in an earlier fingerprint, or came whole since: by a rename, of which an event told (`moved`) or its times
    /// tell, or by a symlink that was swapped. A file that is gone did not: some writers remove a file before they write it anew.
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
            // Where nothing was, only a new link is known to be no file that somebody has begun to write here.
            (None, Some(_)) => self.is_link,
            (_, None) => false,
        };
        // What is created and written in place has both times alike, until something other than its content is changed.
        moved || swapped || state.changed != state.modified
    }
}
