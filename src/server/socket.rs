//! The sockets of both listeners: TCP and Unix, listening and connected, behind one type each.
//!
//! One type for all kinds keeps one copy of the HTTP machinery in the binary. A Unix socket is put in place so that
//! nobody can connect before its mode is set, takes the place of a stale one only, and is removed at the end.

mod stream;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, UnixListener};

pub(crate) use self::stream::{Http2Stream, ReadBudget, Socket, Stream};
use self::unix::Placed;
use crate::config::ListenAddress;

/// What the system keeps of answers that a peer does not read, which counts as this container's memory: Linux would let it
/// grow to 4 MiB a connection. Hundreds of answers to checks.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is another process's.
    #[error("{address} is in use by another process: stop it, or give another address")]
    InUse {
        /// The address.
        address: String,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "{address} may not be listened on: ports below 1024 and guarded directories need a right to them"
    )]
    Denied {
        /// The address.
        address: String,
    },
    /// The address is none of this machine's.
    #[error("{address} is not an address of this machine: give one of its own, or 0.0.0.0 for all")]
    NotLocal {
        /// The address.
        address: String,
    },
    /// Something else than a socket is where the socket is to be.
    #[error("{} is there and is not a socket: remove it, or give another path", path.display())]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The directory of the socket does not exist.
    #[error("{} does not exist: the directory of a Unix socket is not made by keyward", directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The system refuses for another reason.
    #[error("{address} cannot be listened on")]
    Failed {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

impl BindError {
    fn of(address: &ListenAddress, cause: io::Error) -> Self {
        let address = address.to_string();
        let kind = cause.kind();
        if kind == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Denied { address }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotLocal { address }
        } else {
            Self::Failed { address, cause }
        }
    }
}

/// A bound listener. Dropping it closes it, and removes its Unix socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener, Placed),
}

impl Listener {
    /// Binds an endpoint.
    pub(crate) async fn bind(endpoint: &ListenAddress) -> Result<Self, BindError> {
        match endpoint {
            ListenAddress::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                bound
                    .map(Self::Tcp)
                    .map_err(|cause| BindError::of(endpoint, cause))
            }
            ListenAddress::Unix { path, mode } => {
                let (listener, placed) = unix::bind(endpoint, path, *mode).await?;
                Ok(Self::Unix(listener, placed))
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix(_, placed) => format!("unix:{}", placed.path().display()),
        }
    }

    /// The next connection, and who made it where that is known. May be dropped and called anew.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Checks are small and waited for; without this an answer waits for the peer's acknowledgement. Fails where
                // the peer has gone already, of which the next read will tell.
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
