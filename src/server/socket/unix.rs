//! A Unix socket put in its place and taken away again.
//!
//! The socket is made in a directory that is this user's alone, gets its mode there, and is then renamed to where it
//! belongs, so that at no moment anyone can reach it whom the mode keeps out, whatever the umask. The rename also
//! replaces a stale socket in one step. `ConnectionRefused` alone means stale: a socket whose owner is merely slow
//! answers otherwise.

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

/// A socket file of ours; dropping it removes the file, unless another one took its place.
#[derive(Debug)]
pub(crate) struct Placed {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Placed {
    /// Where the socket is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let Ok(there) = fs::symlink_metadata(&self.path) else {
            return;
        };
        if (there.dev(), there.ino()) == (self.device, self.inode) {
            // Nobody is left to be told; what stays behind is a stale socket, which the next start replaces.
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a Unix socket.
pub(super) async fn bind(
    endpoint: &ListenAddress,
    path: &NamedFile,
    mode: u32,
) -> Result<(UnixListener, Placed), BindError> {
    let failed = |cause| BindError::of(endpoint, cause);
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let told = path.as_told();
        let directory = told.parent().filter(|told| !told.as_os_str().is_empty());
        return Err(BindError::NoDirectory {
            directory: directory.unwrap_or(told).to_owned(),
        });
    }
    make_sure_that_nobody_answers(endpoint, path).await?;

    let cradle = Cradle::new(directory).map_err(failed)?;
    let newborn = cradle.0.join("s");
    let listener = UnixListener::bind(&newborn).map_err(failed)?;
    fs::set_permissions(&newborn, Permissions::from_mode(mode)).map_err(failed)?;
    fs::rename(&newborn, path).map_err(failed)?;
    let there = fs::symlink_metadata(path).map_err(failed)?;
    Ok((
        listener,
        Placed {
            path: path.to_path_buf(),
            device: there.dev(),
            inode: there.ino(),
        },
    ))
}

async fn make_sure_that_nobody_answers(
    endpoint: &ListenAddress,
    path: &NamedFile,
) -> Result<(), BindError> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::of(endpoint, error)),
    };
    if !there.file_type().is_socket() {
        return Err(BindError::NotASocket {
            path: path.as_told().to_owned(),
        });
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
        // WouldBlock is a full backlog, and so somebody's.
        Ok(_) => Err(BindError::InUse {
            address: endpoint.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse {
            address: endpoint.to_string(),
        }),
        Err(error) => Err(BindError::of(endpoint, error)),
    }
}

/// A directory for this user alone, removed when dropped.
struct Cradle(PathBuf);

impl Cradle {
    fn new(parent: &Path) -> io::Result<Self> {
        // Short, for a socket's path has at most 107 bytes.
        let path = parent.join(format!(".kw{}", std::process::id()));
        let make = || DirBuilder::new().mode(0o700).create(&path);
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a process of the same number that was killed right here. In a container the number is always 1.
                _ = fs::remove_file(path.join("s"));
                fs::remove_dir(&path)?;
                make()?;
            }
            result => result?,
        }
        Ok(Self(path))
    }
}

impl Drop for Cradle {
    fn drop(&mut self) {
        _ = fs::remove_file(self.0.join("s"));
        _ = fs::remove_dir(&self.0);
    }
}
