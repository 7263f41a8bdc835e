//! Taking connections in: with bounds on their number, and past every error.
//!
//! Linux reports errors of a single connection from `accept`, and being out of file descriptors; neither may end the
//! loop (RUSTSEC-2024-0376 was that). A connection holds its place from before it is taken in until it is gone, and a
//! place among the handshakes until it has shown that it means business, so that peers who say nothing cannot use up
//! the room of those who do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::socket::{Listener, Socket};

/// The first pause after an error that is not a single connection's.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// The longest: file descriptors come free when connections end, and nobody should wait much longer than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Room for so many connections.
#[derive(Debug)]
pub(crate) struct Room {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    open: Arc<watch::Sender<usize>>,
}

/// A connection's place; dropping it gives the place to another.
#[derive(Debug)]
pub(crate) struct Place {
    _connection: OwnedSemaphorePermit,
    handshake: Option<OwnedSemaphorePermit>,
    open: Arc<watch::Sender<usize>>,
}

/// A connection that was taken in.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The connection.
    pub(crate) socket: Socket,
    /// Who made it, where that is known.
    pub(crate) peer: Option<SocketAddr>,
    /// Its place.
    pub(crate) place: Place,
}

impl Room {
    /// Room for so many connections, and so many of them that have not said anything yet.
    pub(crate) fn new(connections: usize, handshakes: usize) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            open: Arc::new(watch::Sender::new(0)),
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// The next connection, as soon as there is room for it. May be dropped and called anew.
    pub(crate) async fn accept(&self, listener: &Listener) -> Accepted {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let connection = Arc::clone(&self.connections).acquire_owned().await;
            let handshake = Arc::clone(&self.handshakes).acquire_owned().await;
            let (Ok(connection), Ok(handshake)) = (connection, handshake) else {
                // Nobody closes the semaphores; were they closed, there would be no room ever again.
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok((socket, peer)) => {
                    self.open.send_modify(|open| *open += 1);
                    let open = Arc::clone(&self.open);
                    let place = Place {
                        _connection: connection,
                        handshake: Some(handshake),
                        open,
                    };
                    return Accepted {
                        socket,
                        peer,
                        place,
                    };
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if pause == SHORTEST_PAUSE {
                        tracing::warn!(%error, "connections cannot be taken in, trying again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }
}

impl Place {
    /// The connection has shown that it means business.
    pub(crate) fn shook_hands(&mut self) {
        self.handshake = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
