//! Placing a Unix socket, and removing it again.
//!
//! The socket is made in a directory that only this user can enter, gets its mode there, and is
//! then renamed to its path. So a user that the mode excludes can never connect, whatever
//! the umask, and the rename replaces a stale socket in one step. Only `ConnectionRefused` means
//! stale: a socket whose owner is slow fails in other ways.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::BindError;
use crate::config::ListenAddress;
use crate::watch::named_file::NamedFile;

/// A socket file of ours; dropping it removes the file, unless it has been replaced.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(there) = fs::symlink_metadata(&self.path) else {
            return;
        };
        if (there.dev(), there.ino()) == (self.device, self.inode) {
            // If it fails, a stale socket is left, which the next start replaces.
            _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) async fn bind(
    endpoint: &ListenAddress,
    path: &NamedFile,
    mode: u32,
) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |cause| BindError::of(endpoint, cause);
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let shown = path.as_shown();
        let directory = shown.parent().filter(|path| !path.as_os_str().is_empty());
        return Err(BindError::NoDirectory(
            directory.unwrap_or(shown).to_owned(),
        ));
    }
    ensure_unused(endpoint, path).await?;

    let private = PrivateDirectory::new(directory).map_err(failed)?;
    let draft = private.0.join("s");
    let listener = UnixListener::bind(&draft).map_err(failed)?;
    fs::set_permissions(&draft, Permissions::from_mode(mode)).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    let there = fs::symlink_metadata(path).map_err(failed)?;
    Ok((
        listener,
        SocketFile {
            path: path.to_path_buf(),
            device: there.dev(),
            inode: there.ino(),
        },
    ))
}

async fn ensure_unused(endpoint: &ListenAddress, path: &NamedFile) -> Result<(), BindError> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::of(endpoint, error)),
    };
    if !there.file_type().is_socket() {
        return Err(BindError::NotASocket(path.as_shown().to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Ok(_) => Err(BindError::InUse(endpoint.to_string())),
        // A full backlog: another process has the socket.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::InUse(endpoint.to_string()))
        }
        Err(error) => Err(BindError::of(endpoint, error)),
    }
}

/// A directory for this user alone, removed when dropped.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new(parent: &Path) -> io::Result<Self> {
        // Short, for a socket's path has at most 107 bytes.
        let path = parent.join(format!(".kw{}", std::process::id()));
        let make = || DirBuilder::new().mode(0o700).create(&path);
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a killed process with the same id. In a container the id is always 1.
                _ = fs::remove_file(path.join("s"));
                fs::remove_dir(&path)?;
                make()?;
            }
            result => result?,
        }
        Ok(Self(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        _ = fs::remove_file(self.0.join("s"));
        _ = fs::remove_dir(&self.0);
    }
}
