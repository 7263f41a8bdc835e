//! Atomic replacement of a file's content that loses no concurrent write.
//!
//! Writers of keyward wait for one another by a lock on the directory: a lock on the file would go
//! with the replaced file. Editors and synchronizers take no such lock. So the new file is
//! exchanged with the old one atomically (`RENAME_EXCHANGE`), and if the old one is not what was
//! read, it is put back and the caller starts again. All steps use file descriptors, since an
//! attacker who may write in the directory could swap a path for a symlink. Owner, group and mode
//! stay; a symlink stays one.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

#[cfg(test)]
mod tests;

/// The mode of a new file without a sibling to imitate. Readers could guess weak secrets from
/// digests, so only the owner reads it.
const OWNER_ONLY: u32 = 0o600;
/// The part of a mode that a new file takes from another: no set-user-id and the like.
const PERMISSIONS: u32 = 0o777;
const GROUP_READS: u32 = 0o040;
/// The most symlinks that are followed: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The step that failed, and why.
pub(crate) type Failure = (&'static str, io::Error);

/// A path whose directory is locked against other writers of keyward until this is dropped. The
/// file need not exist.
pub(crate) struct LockedFile {
    path: PathBuf,
    directory: File,
    name: OsString,
    _locks: Vec<File>,
}

/// The content of the file when it was read.
pub(crate) struct Original {
    /// `None` where there is no file.
    content: Option<Content>,
}

struct Content {
    bytes: Vec<u8>,
    identity: (u64, u64),
    owner: Ownership,
}

/// A file's owner, group and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Whether a new content is in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplaceOutcome {
    /// It is, durably.
    Done,
    /// Another writer changed the file meanwhile; its version stays, and must be read again.
    Changed,
}

impl LockedFile {
    /// Locks the directory of the file, and those of the symlinks that lead to it.
    pub(crate) fn lock(named: &Path) -> Result<Self, Failure> {
        let opening = |error| ("opening its directory", error);
        let mut path = named.to_owned();
        let mut directories = Vec::new();
        for _ in 0..MAX_LINKS {
            let parent = parent_of(&path);
            directories.push(File::open(parent).map_err(opening)?);
            match std::fs::read_link(&path) {
                Ok(to) => path = parent.join(to),
                // Not a symlink, or nothing there.
                Err(_) => break,
            }
        }
        let name = path.file_name().map(OsStr::to_owned);
        let name = name.ok_or_else(|| opening(io::ErrorKind::InvalidFilename.into()))?;
        let directory = File::open(parent_of(&path)).map_err(opening)?;
        let canonical = parent_of(&path).canonicalize().map_err(opening)?;
        Ok(Self {
            path: canonical.join(&name),
            directory,
            name,
            _locks: lock_all(directories).map_err(|error| ("locking its directory", error))?,
        })
    }

    /// The file itself, without symlinks.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read(&self) -> Result<Original, Failure> {
        let content = self
            .content(&self.name)
            .map_err(|error| ("reading it", error))?;
        Ok(Original { content })
    }

    /// Replaces the original by the new content. A new file gets the ownership `like`, else that of
    /// its directory.
    pub(crate) fn replace(
        &self,
        original: &Original,
        new: &[u8],
        like: Option<Ownership>,
    ) -> Result<ReplaceOutcome, Failure> {
        let owner = match (&original.content, like) {
            (Some(content), _) => content.owner,
            (None, Some(like)) => like,
            (None, None) => self
                .owner_of_new()
                .map_err(|error| ("looking at its directory", error))?,
        };
        let temp = self.write_temp(new, owner)?;
        let moving = |error: io::Error| ("renaming", error);
        if self.read()?.is_as(original) {
            let replaced = match &original.content {
                Some(before) => self.exchange(&temp, before).map_err(moving)?,
                None => self.create(&temp).map_err(moving)?,
            };
            if replaced == ReplaceOutcome::Done {
                drop(temp);
                // The rename too must survive a loss of power.
                let synced = self.directory.sync_all();
                synced.map_err(|error| ("writing its directory", error))?;
                return Ok(ReplaceOutcome::Done);
            }
        }
        Ok(ReplaceOutcome::Changed)
    }

    /// A temporary file beside it with the new content, under a hidden name that no reader lists.
    fn write_temp(&self, new: &[u8], owner: Ownership) -> Result<TempFile<'_>, Failure> {
        let writing = |error: io::Error| ("writing beside it", error);
        let name = {
            let mut name = OsString::from(".");
            name.push(&self.name);
            name.push(".keyward.tmp");
            name
        };
        // A file of this name is left over from a process that died, since the lock is ours.
        self.remove(&name).map_err(writing)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            openat(&self.directory, &name, flags, mode).map_err(|error| writing(error.into()))?;
        let mut file = File::from(file);
        let data = file.metadata().map_err(writing)?;
        let temp = TempFile {
            file: self,
            name,
            identity: (data.dev(), data.ino()),
        };
        file.write_all(new).map_err(writing)?;
        owner
            .give(&file)
            .map_err(|error| ("keeping owner, group and mode", error))?;
        file.sync_all().map_err(writing)?;
        Ok(temp)
    }

    /// Exchanges temporary file and file, and puts the file back unless it is what was read.
    ///
    /// Another writer may rename its own file into place between our exchange and its reversal. The
    /// second exchange then takes that one out instead of ours, and a third one puts it back: the
    /// newest wins.
    fn exchange(&self, temp: &TempFile<'_>, before: &Content) -> io::Result<ReplaceOutcome> {
        let exchange = || {
            let (here, name, temp) = (&self.directory, &self.name, &temp.name);
            renameat_with(here, temp, here, name, RenameFlags::EXCHANGE)
        };
        match exchange() {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(ReplaceOutcome::Changed),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                // The file system has no exchange: that the file was checked a moment ago must do.
                renameat(&self.directory, &temp.name, &self.directory, &self.name)?;
                return Ok(ReplaceOutcome::Done);
            }
            Err(error) => return Err(error.into()),
        }
        // It may be unreadable: a symlink, or a file that only its owner may read.
        let taken_out = self.content(&temp.name);
        if matches!(&taken_out, Ok(Some(content)) if content.is_as(before)) {
            // Nothing more can be done if this fails.
            let _ = self.remove(&temp.name);
            return Ok(ReplaceOutcome::Done);
        }
        exchange()?;
        if !temp.is_there()? {
            exchange()?;
        }
        taken_out.map(|_| ReplaceOutcome::Changed)
    }

    /// Moves the temporary file into place where there is no file yet.
    fn create(&self, temp: &TempFile<'_>) -> io::Result<ReplaceOutcome> {
        let here = &self.directory;
        let renamed = renameat_with(here, &temp.name, here, &self.name, RenameFlags::NOREPLACE);
        let created = match renamed {
            // The file system has no NOREPLACE; a hard link does not replace a file either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                linkat(here, &temp.name, here, &self.name, AtFlags::empty())
            }
            renamed => renamed,
        };
        match created {
            Ok(()) => Ok(ReplaceOutcome::Done),
            Err(Errno::EXIST) => Ok(ReplaceOutcome::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of a regular file in the directory; `None` where there is nothing of that name.
    fn content(&self, name: &OsStr) -> io::Result<Option<Content>> {
        // Opening a pipe would block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a file",
            ));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(Content {
            bytes,
            identity: (data.dev(), data.ino()),
            owner: Ownership::of(&data),
        }))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The ownership of a new file without a sibling to imitate: the directory's owner and group.
    /// The group may read it if it may read the directory and is not our own.
    fn owner_of_new(&self) -> io::Result<Ownership> {
        let data = self.directory.metadata()?;
        let is_anothers = data.gid() != rustix::process::getegid().as_raw();
        let group = if is_anothers {
            data.mode() & GROUP_READS
        } else {
            0
        };
        Ok(Ownership {
            uid: data.uid(),
            gid: data.gid(),
            mode: OWNER_ONLY | group,
        })
    }
}

/// A temporary file, removed when dropped unless it was moved into place. What an exchange left
/// under its name is not removed.
struct TempFile<'p> {
    file: &'p LockedFile,
    name: OsString,
    identity: (u64, u64),
}

impl TempFile<'_> {
    /// Whether the file under its name is still this one.
    fn is_there(&self) -> io::Result<bool> {
        let found = statat(&self.file.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(found) => Ok((found.st_dev, found.st_ino) == self.identity),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if let Ok(true) = self.is_there() {
            // Nothing more can be done if this fails.
            let _ = self.file.remove(&self.name);
        }
    }
}

impl Original {
    /// The text; `None` where there is no file.
    ///
    /// # Errors
    /// The content is not UTF-8.
    pub(crate) fn text(&self) -> Result<Option<&str>, std::str::Utf8Error> {
        let bytes = self.content.as_ref().map(|content| &*content.bytes);
        bytes.map(std::str::from_utf8).transpose()
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.content.is_none()
    }

    fn is_as(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Some(ours), Some(theirs)) => ours.is_as(theirs),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Content {
    fn is_as(&self, other: &Self) -> bool {
        self.identity == other.identity && self.bytes == other.bytes
    }
}

impl Ownership {
    /// Of the file of that name, where there is one.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        data.is_file().then(|| Self::of(&data))
    }

    fn of(data: &std::fs::Metadata) -> Self {
        Self {
            uid: data.uid(),
            gid: data.gid(),
            mode: data.mode() & PERMISSIONS,
        }
    }

    /// Sets it on an open file. Only root may change the owner; others keep at least the group, so
    /// that its members can still read.
    fn give(self, file: &File) -> io::Result<()> {
        let is = Self::of(&file.metadata()?);
        if (is.uid, is.gid) != (self.uid, self.gid) {
            fchown(file, Some(self.uid), Some(self.gid))
                .or_else(|_| fchown(file, None, Some(self.gid)))?;
        }
        // Last, since changing the owner clears some bits of the mode.
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// The directory of a path; of a bare name, the current directory.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Locks directories in one order, so that two writers never wait for each other.
fn lock_all(directories: Vec<File>) -> io::Result<Vec<File>> {
    let identify = |file: File| file.metadata().map(|data| ((data.dev(), data.ino()), file));
    let mut directories = directories
        .into_iter()
        .map(identify)
        .collect::<io::Result<Vec<_>>>()?;
    directories.sort_by_key(|(identity, _)| *identity);
    directories.dedup_by_key(|(identity, _)| *identity);
    let files = directories.into_iter().map(|(_, file)| file);
    let lock = |file: File| file.lock().map(|()| file);
    files.map(lock).collect()
}
