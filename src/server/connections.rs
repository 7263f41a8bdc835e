//! The connections of a listener: how many there may be, and which one is closed when all places are taken.
//!
//! A listener always accepts: where no place is left, the idlest connection is closed, so that nobody keeps others out
//! by connecting first. Idle is judged by whole messages, never by bytes or pings, for those cost a peer nothing.
//! Connections that have not sent a message yet go first; a connection of which a check is being decided never goes.
//! The same list bounds what calls hold in memory. When that is used up, connections that stalled are closed, and calls are
//! refused in answers. A connection that is in use is never closed for it: it is an Envoy's, every check on it would be
//! an error to that Envoy, and one that fails open (`failure_mode_allow`) lets those through.

mod peer;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::peer::{Closing, MemoryUse, Peer, StageGuard};
use super::accept::accept;
use super::socket::{Listener, Socket};
use crate::clock::Clock;
use crate::mutex::lock;
use crate::observe::metrics::ConnectionMetrics;

/// A peer's time for its first words: TLS and HTTP/2's preface, or the head of an HTTP/1 request. Several round trips to
/// anywhere. From then on a connection without a message is the first to go.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may take for an answer before its connection is closed; whole seconds.
const MAX_UNREAD_SECONDS: u64 = 12;
/// Connections beyond the places that may be open while they say goodbye.
const MAX_CLOSING: usize = 32;
/// What calls may hold, in bytes: a quarter of the memory limit that deploy/ ships.
const HELD_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Beyond it no message grows that is not whole, so that large ones leave room for thousands of calls with small ones; more
/// than the largest message.
const MESSAGES_MAX_BYTES: usize = HELD_MAX_BYTES / 4 * 3;
/// A connection stalled when it sent nothing of a message that it owes for so long. An Envoy sends them in one go.
const STALLED_TIME: Duration = Duration::from_secs(2);
/// Nor is it closed for memory within this time of a whole message.
const IN_USE_TIME: Duration = Duration::from_secs(5);
/// A connection stalled, too, when it did not take an answer for so long. Whole seconds that are counted by the clock's:
/// two or more have passed.
const STALLED_UNREAD_SECONDS: u64 = 3;
/// How often the log tells of connections that were closed to make room.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections a listener has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimit {
    /// Connections at once.
    pub(crate) connections: usize,
    /// So many of them may be without a message for less than `HANDSHAKE_TIMEOUT`. Beyond, the oldest of these goes rather
    /// than a connection that has sent messages.
    pub(crate) newcomers: usize,
}

/// The connections of one listener.
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

/// A connection's place; dropping it gives the place to another.
pub(crate) struct Permit(Arc<Peer>);

/// A connection that was accepted.
pub(crate) struct Accepted {
    /// The connection.
    pub(crate) socket: Socket,
    /// Who made it, where that is known.
    pub(crate) address: Option<SocketAddr>,
    /// Its place.
    pub(crate) permit: Permit,
}

/// What the connections of a listener share.
struct Shared {
    listener: &'static str,
    limit: ConnectionLimit,
    clock: Arc<dyn Clock>,
    metrics: ConnectionMetrics,
    open: watch::Sender<usize>,
    /// Bytes that calls hold.
    held: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    peers: Vec<Arc<Peer>>,
    /// Connections that were closed to make room, and those that were refused, since the log told of them.
    unreported: usize,
    last_report: Option<Duration>,
}

impl Connections {
    /// No connections yet.
    pub(crate) fn new(
        listener: &'static str,
        limit: ConnectionLimit,
        clock: Arc<dyn Clock>,
        metrics: ConnectionMetrics,
    ) -> Self {
        metrics.set_max(limit.connections);
        Self {
            shared: Arc::new(Shared {
                listener,
                limit,
                clock,
                metrics,
                open: watch::Sender::new(0),
                held: AtomicUsize::new(0),
                list: Mutex::default(),
            }),
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.shared.open.subscribe()
    }

    /// The next connection, for which another may have been closed. May be dropped and called anew.
    pub(crate) async fn accept(&self, listener: &Listener) -> Accepted {
        let most = self.shared.limit.connections + MAX_CLOSING;
        loop {
            // Those that were told to go do so within moments. An error is impossible, for the sender is here.
            _ = self.open().wait_for(|open| *open < most).await;
            let (socket, address) = accept(listener).await;
            if let Some(permit) = self.admit() {
                return Accepted {
                    socket,
                    address,
                    permit,
                };
            }
        }
    }

    /// A place for a new connection; `None` where every other has a check in the works.
    fn admit(&self) -> Option<Permit> {
        let shared = &self.shared;
        let now = shared.clock.monotonic();
        let mut list = shared.list();
        let staying = list.peers.iter().filter(|peer| !peer.is_closing()).count();
        if staying >= shared.limit.connections {
            let victim = connection_to_evict(&list.peers, now, shared.limit.newcomers);
            shared.report_limit(&mut list, now, victim.is_none());
            victim?.close(Closing::Gracefully);
        }
        let peer = Arc::new(Peer::new(Arc::clone(shared), now));
        list.peers.push(Arc::clone(&peer));
        shared.count(&list);
        Some(Permit(peer))
    }

    /// Closes connections whose peers do not take their answers; to be called every second.
    pub(crate) fn close_stalled(&self) {
        let now = self.shared.clock.monotonic().as_secs();
        for peer in &self.shared.list().peers {
            if peer.longest_unread(now) > Some(MAX_UNREAD_SECONDS) {
                tracing::debug!("a connection is closed: its peer does not take its answers");
                peer.close(Closing::Immediately);
            }
        }
    }
}

/// The connection to close for another: one that has not sent a message in its time; else the oldest newcomer where they
/// are many; else the one whose last message is the longest ago.
fn connection_to_evict(peers: &[Arc<Peer>], now: Duration, newcomers: usize) -> Option<Arc<Peer>> {
    let staying = || peers.iter().filter(|peer| !peer.is_closing());
    let silent = || staying().filter(|peer| peer.last_message().is_none());
    let oldest = silent().min_by_key(|peer| peer.since());
    let overdue = oldest.filter(|peer| {
        now.saturating_sub(peer.since()) >= HANDSHAKE_TIMEOUT || silent().count() > newcomers
    });
    let idle = || {
        staying()
            .filter(|peer| peer.last_message().is_some() && !peer.is_deciding())
            .min_by_key(|peer| peer.last_message())
    };
    overdue.or_else(idle).or(oldest).cloned()
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        lock(&self.list)
    }

    fn count(&self, list: &List) {
        let open = list.peers.len();
        self.metrics.set_open(open);
        self.open.send_replace(open);
    }

    fn report_limit(&self, list: &mut List, now: Duration, refused: bool) {
        list.unreported += 1;
        let is_due = list
            .last_report
            .is_none_or(|last| now.saturating_sub(last) >= LOG_INTERVAL);
        if !is_due {
            return;
        }
        let (listener, max) = (self.listener, self.limit.connections);
        let count = std::mem::take(&mut list.unreported);
        list.last_report = Some(now);
        if refused {
            tracing::warn!(
                listener,
                max,
                count,
                "all connections are taken and have checks in flight: new ones are refused"
            );
        } else {
            tracing::warn!(
                listener,
                max,
                count,
                "all connections are taken: the idlest are closed to make room for new ones"
            );
        }
    }

    /// Whether calls hold at most so much, for which connections that stalled are closed, the one of the longest time first.
    fn free_memory(&self, max_bytes: usize) -> bool {
        if self.held.load(Ordering::Relaxed) <= max_bytes {
            return true;
        }
        let list = self.list();
        let now = self.clock.monotonic();
        loop {
            let closing = list.peers.iter().filter(|peer| peer.is_closing());
            let going: usize = closing.map(|peer| peer.held()).sum();
            if self.held.load(Ordering::Relaxed).saturating_sub(going) <= max_bytes {
                return true;
            }
            let staying = list.peers.iter().filter(|peer| !peer.is_closing());
            let stalled = staying.filter_map(|peer| Some((peer.stalled_for(now)?, peer)));
            let longest = stalled.max_by_key(|(time, peer)| (*time, peer.held()));
            let Some((_, victim)) = longest else {
                return false;
            };
            tracing::warn!(
                listener = self.listener,
                held_bytes = victim.held(),
                "calls hold too much memory: the connection that stalled longest is closed"
            );
            victim.close(Closing::Immediately);
        }
    }
}

impl Permit {
    /// What is known of the connection.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = self.0.shared();
        let mut list = shared.list();
        list.peers.retain(|peer| !Arc::ptr_eq(peer, &self.0));
        shared.count(&list);
    }
}

#[cfg(test)]
mod tests;
