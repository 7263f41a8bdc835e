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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::config::ListenAddress;

    #[tokio::test]
    async fn a_connection_waits_for_the_place_of_another() {
        let address = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let listener = Listener::bind(&address).await.unwrap();
        for (name, room) in [
            ("connections", Room::new(1, 9)),
            ("handshakes", Room::new(9, 1)),
        ] {
            let open = room.open();
            let _first = TcpStream::connect(listener.address()).await.unwrap();
            let _second = TcpStream::connect(listener.address()).await.unwrap();
            let mut first = room.accept(&listener).await;
            // Not a wait for something to happen: there is nothing that could let it in.
            let next = timeout(Duration::ZERO, room.accept(&listener)).await;
            assert!(next.is_err(), "{name}");
            assert_eq!(*open.borrow(), 1, "{name}");
            if name == "handshakes" {
                first.place.shook_hands();
                room.accept(&listener).await;
            }
            drop(first);
            assert_eq!(*open.borrow(), 0, "{name}");
            if name == "connections" {
                room.accept(&listener).await;
            }
        }
    }

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        for (number, passed_over) in [(ECONNABORTED, true), (EMFILE, false)] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_of_one_connection(&error), passed_over, "{error}");
        }
    }
}
