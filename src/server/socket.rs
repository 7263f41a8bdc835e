//! The sockets of both listeners: TCP and Unix, listening and connected, behind one type each.
//!
//! One type for all kinds keeps one copy of the HTTP code in the binary. A Unix socket is put in
//! place so that no client can connect before its mode is set; it replaces a stale socket only, and
//! is removed at the end.

mod stream;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, UnixListener};

pub(crate) use self::stream::{Http2Stream, ReadBudget, Socket, Stream};
use self::unix::SocketFile;
use crate::config::ListenAddress;

/// The kernel's buffer for responses that a peer does not read, which counts as memory of this
/// container: Linux would let it grow to 4 MiB per connection. It holds hundreds of responses.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{0} is in use by another process: stop it, or give another address")]
    InUse(String),
    /// The process has no permission for it.
    #[error("{0}: listening on a port below 1024 or in that directory needs a permission")]
    Denied(String),
    /// It is not an address of this machine.
    #[error("{0} is not an address of this machine: give one of its own, or 0.0.0.0 for all")]
    NotLocal(String),
    /// There is a file that is not a socket.
    #[error("{} is there and is not a socket: remove it, or give another path", .0.display())]
    NotASocket(PathBuf),
    /// The directory of the socket does not exist.
    #[error("{} does not exist: the directory of a Unix socket is not made by keyward", .0.display())]
    NoDirectory(PathBuf),
    /// Another error of the system.
    #[error("{0} cannot be listened on")]
    Failed(String, #[source] io::Error),
}

impl BindError {
    fn of(address: &ListenAddress, cause: io::Error) -> Self {
        let address = address.to_string();
        let kind = cause.kind();
        if kind == io::ErrorKind::AddrInUse {
            Self::InUse(address)
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Denied(address)
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotLocal(address)
        } else {
            Self::Failed(address, cause)
        }
    }
}

/// A bound listener. Dropping it closes it, and removes its Unix socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    pub(crate) async fn bind(endpoint: &ListenAddress) -> Result<Self, BindError> {
        match endpoint {
            ListenAddress::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                bound
                    .map(Self::Tcp)
                    .map_err(|cause| BindError::of(endpoint, cause))
            }
            ListenAddress::Unix { path, mode } => {
                let (listener, file) = unix::bind(endpoint, path, *mode).await?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Its address, with the port that the system chose.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// The next connection, and its peer's address if it has one. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Otherwise a small response would wait for the acknowledgement of the one before.
                // Both fail if the peer is gone already, which the next read will report.
                _ = stream.set_nodelay(true);
                _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
                Ok((Socket::Left(stream), Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
                Ok((Socket::Right(stream), None))
            }
        }
    }
}

#[cfg(test)]
mod tests;
