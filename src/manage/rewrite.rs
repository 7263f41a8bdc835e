//! Rewrites a file so that nobody's write is lost: read under a lock, put in place whole, and begun anew when the file
//! changed meanwhile.
//!
//! Writers of keyward wait for one another by a lock on the directory, for a lock on the file would go with the file. Editors and
//! synchronizers know no such lock: so the new file is exchanged with the old one at one stroke, and what was taken out must be what
//! was read, or it is put back. Everything happens through descriptors, for whoever may write in the directory could swap a path
//! for a link to a file that is not theirs. Owner, group and mode stay; a symlink stays one.

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

/// The mode of a new file where nothing says otherwise: digests of weak secrets are worth guessing, so that it is its owner's alone.
const OWNERS_ALONE: u32 = 0o600;
/// Of a mode, what a new file may take from another: no set-user-id and the like.
const PERMISSIONS: u32 = 0o777;
const GROUP_READS: u32 = 0o040;
/// Symlinks that are followed to the file, at most: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// What was tried in vain, and why.
pub(crate) type Failure = (&'static str, io::Error);

/// A file's place, locked against other writers of keyward until it is dropped.
pub(crate) struct Place {
    path: PathBuf,
    directory: File,
    name: OsString,
    _locks: Vec<File>,
}

/// What a place held when it was read.
pub(crate) struct Original {
    /// `None` where there is no file.
    content: Option<Content>,
}

struct Content {
    bytes: Vec<u8>,
    identity: (u64, u64),
    owner: Owner,
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// What became of putting a new content in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It is in place, and outlasts a loss of power.
    Done,
    /// The file was not what was read: it is as somebody else left it, and must be read anew.
    Changed,
}

impl Place {
    /// Locks the place of the file of that name, and the directories in which a symlink to it lies.
    pub(crate) fn lock(named: &Path) -> Result<Self, Failure> {
        let opening = |error| ("opening its directory", error);
        let mut path = named.to_owned();
        let mut directories = Vec::new();
        for _ in 0..MAX_LINKS {
            let parent = parent_of(&path);
            directories.push(File::open(parent).map_err(opening)?);
            match std::fs::read_link(&path) {
                Ok(to) => path = parent.join(to),
                // It is no link, or nothing.
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

    /// Reads what is there.
    pub(crate) fn read(&self) -> Result<Original, Failure> {
        let content = self
            .content(&self.name)
            .map_err(|error| ("reading it", error))?;
        Ok(Original { content })
    }

    /// Puts the new content in place of the original. A new file is `like` another, else its directory's.
    pub(crate) fn replace(
        &self,
        original: &Original,
        new: &[u8],
        like: Option<Owner>,
    ) -> Result<Replaced, Failure> {
        let owner = match (&original.content, like) {
            (Some(content), _) => content.owner,
            (None, Some(like)) => like,
            (None, None) => self
                .owner_of_new()
                .map_err(|error| ("looking at its directory", error))?,
        };
        let draft = self.draft(new, owner)?;
        let moving = |error: io::Error| ("renaming", error);
        if self.read()?.is_as(original) {
            let replaced = match &original.content {
                Some(before) => self.exchange(&draft, before).map_err(moving)?,
                None => self.create(&draft).map_err(moving)?,
            };
            if replaced == Replaced::Done {
                drop(draft);
                // The rename itself must outlast a loss of power.
                let synced = self.directory.sync_all();
                synced.map_err(|error| ("writing its directory", error))?;
                return Ok(Replaced::Done);
            }
        }
        Ok(Replaced::Changed)
    }

    /// A file beside it with the new content, hidden so that no reader looks for it.
    fn draft(&self, new: &[u8], owner: Owner) -> Result<Draft<'_>, Failure> {
        let writing = |error: io::Error| ("writing beside it", error);
        let name = {
            let mut name = OsString::from(".");
            name.push(&self.name);
            name.push(".keyward.tmp");
            name
        };
        // One of this name is left over from a process that died: the lock keeps out everyone else.
        self.remove(&name).map_err(writing)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            openat(&self.directory, &name, flags, mode).map_err(|error| writing(error.into()))?;
        let mut file = File::from(file);
        let data = file.metadata().map_err(writing)?;
        let draft = Draft {
            place: self,
            name,
            identity: (data.dev(), data.ino()),
        };
        file.write_all(new).map_err(writing)?;
        owner
            .give(&file)
            .map_err(|error| ("keeping owner, group and mode", error))?;
        file.sync_all().map_err(writing)?;
        Ok(draft)
    }

    /// Exchanges draft and file, and puts the file back unless it is what it was before.
    fn exchange(&self, draft: &Draft<'_>, before: &Content) -> io::Result<Replaced> {
        let exchange = || {
            let (here, name, draft) = (&self.directory, &self.name, &draft.name);
            renameat_with(here, draft, here, name, RenameFlags::EXCHANGE)
        };
        match exchange() {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Replaced::Changed),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                // The file system cannot. It was looked at a moment ago, which is all that can be had here.
                renameat(&self.directory, &draft.name, &self.directory, &self.name)?;
                return Ok(Replaced::Done);
            }
            Err(error) => return Err(error.into()),
        }
        // It may be what cannot be read: a link, or a file that its owner alone may read.
        let taken_out = self.content(&draft.name);
        if matches!(&taken_out, Ok(Some(content)) if content.is_as(before)) {
            // Nobody could do more about it if this fails.
            let _ = self.remove(&draft.name);
            return Ok(Replaced::Done);
        }
        exchange()?;
        if !draft.is_there()? {
            // Somebody put yet another file in place of ours: it is the newest.
            exchange()?;
        }
        taken_out.map(|_| Replaced::Changed)
    }

    /// Puts the draft where no file is.
    fn create(&self, draft: &Draft<'_>) -> io::Result<Replaced> {
        let here = &self.directory;
        let renamed = renameat_with(here, &draft.name, here, &self.name, RenameFlags::NOREPLACE);
        let created = match renamed {
            // The file system cannot; a link is not made over a file either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                linkat(here, &draft.name, here, &self.name, AtFlags::empty())
            }
            renamed => renamed,
        };
        match created {
            Ok(()) => Ok(Replaced::Done),
            Err(Errno::EXIST) => Ok(Replaced::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// A regular file of the directory; `None` where there is nothing of that name.
    fn content(&self, name: &OsStr) -> io::Result<Option<Content>> {
        // Not blocking, for a pipe would.
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
            owner: Owner::of(&data),
        }))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose a new file is where no other says: the directory's, and its group's to read where the group may read there and is
    /// not that of whoever writes.
    fn owner_of_new(&self) -> io::Result<Owner> {
        let data = self.directory.metadata()?;
        let is_anothers = data.gid() != rustix::process::getegid().as_raw();
        let group = if is_anothers {
            data.mode() & GROUP_READS
        } else {
            0
        };
        Ok(Owner {
            uid: data.uid(),
            gid: data.gid(),
            mode: OWNERS_ALONE | group,
        })
    }
}

/// A new file that is removed again, wherever it was not put in place. What an exchange left under its name is another's.
struct Draft<'p> {
    place: &'p Place,
    name: OsString,
    identity: (u64, u64),
}

impl Draft<'_> {
    /// Whether its name is still its own.
    fn is_there(&self) -> io::Result<bool> {
        let found = statat(&self.place.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(found) => Ok((found.st_dev, found.st_ino) == self.identity),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Ok(true) = self.is_there() {
            // Nobody could do more about it.
            let _ = self.place.remove(&self.name);
        }
    }
}

impl Original {
    /// The text; `None` where there is no file.
    ///
    /// # Errors
    /// The place of the first byte that is not UTF-8.
    pub(crate) fn text(&self) -> Result<Option<&str>, std::str::Utf8Error> {
        let bytes = self.content.as_ref().map(|content| &*content.bytes);
        bytes.map(std::str::from_utf8).transpose()
    }

    /// Whether there is no file.
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

impl Owner {
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

    /// Gives an open file to this owner. Only root may give files away: others keep the group, which lets in whoever it let in before.
    fn give(self, file: &File) -> io::Result<()> {
        let is = Self::of(&file.metadata()?);
        if (is.uid, is.gid) != (self.uid, self.gid) {
            fchown(file, Some(self.uid), Some(self.gid))
                .or_else(|_| fchown(file, None, Some(self.gid)))?;
        }
        // After it, for giving a file away takes some of the mode.
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// The directory of a path; that of a bare name is the one that we are in.
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
