//! What a look at a path shows: which files there are, and of each enough to tell whether it changed, and how.
//!
//! The only calls to the file system in this part of the room; what is made of two sightings is decided in
//! `stillness`, which is pure.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::file::list;

/// The files of a path as they were at one moment. Two are equal if nothing can be seen to have changed between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The files, in the order of their names, or why there is no telling.
    files: Result<Vec<FileFacts>, io::ErrorKind>,
}

/// What the file system tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The name under which it is read.
    pub path: PathBuf,
    /// The file itself, if the name is or passes through a symlink.
    pub resolved: Option<PathBuf>,
    /// Its state; `None` if it cannot be told.
    pub state: Option<FileState>,
}

/// The state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// Device and inode: other ones are another file.
    pub identity: (u64, u64),
    /// The size in bytes.
    pub size: u64,
    /// When its content changed last, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// When anything about it changed last. A write sets both times alike; a rename, or a change of mode, only this one.
    pub changed: (i64, i64),
}

impl Sighting {
    /// A look at a file, or at the keys files of a directory; symlinks are followed.
    pub fn of(path: &Path) -> Self {
        let facts = |path: PathBuf| FileFacts {
            resolved: std::fs::canonicalize(&path)
                .ok()
                .filter(|resolved| *resolved != path),
            state: std::fs::metadata(&path).ok().map(|data| FileState {
                identity: (data.dev(), data.ino()),
                size: data.len(),
                modified: (data.mtime(), data.mtime_nsec()),
                changed: (data.ctime(), data.ctime_nsec()),
            }),
            path,
        };
        let files = list(path).map(|files| files.into_iter().map(facts).collect());
        Self {
            files: files.map_err(|error| error.kind()),
        }
    }

    /// A sighting of these files.
    #[cfg(test)]
    pub(super) fn from_facts(files: Result<Vec<FileFacts>, io::ErrorKind>) -> Self {
        Self { files }
    }

    /// Whether every file that differs from an earlier sighting came whole. One that is gone did not: some writers remove a file
    /// before they write it anew.
    pub(super) fn came_whole_since(&self, earlier: &Self, moved: bool) -> bool {
        let Ok(files) = &self.files else { return false };
        let before = earlier.files.as_deref().unwrap_or_default();
        let still_there = |old: &FileFacts| files.iter().any(|file| file.path == old.path);
        before.iter().all(still_there)
            && files
                .iter()
                .all(|file| file.came_whole(before.iter().find(|old| old.path == file.path), moved))
    }
}

impl FileFacts {
    fn came_whole(&self, before: Option<&Self>, moved: bool) -> bool {
        if before == Some(self) {
            return true;
        }
        let Some(state) = self.state else {
            return false;
        };
        let old = before.and_then(|before| before.state);
        if old.is_some_and(|old| old.identity == state.identity) {
            return false;
        }
        let swapped = self.resolved.is_some()
            && self.resolved != before.and_then(|before| before.resolved.clone());
        // What is created and written in place has both times alike, until something other than its content is changed.
        moved || swapped || state.changed != state.modified
    }
}
