//! The connection limit of a listener, and the memory limit of its calls.
//!
//! A listener always accepts: at the limit it closes the connection that has been idle longest, so
//! that no client can keep others out by connecting first. Idleness is the time since the last
//! whole message, not since bytes or pings, which cost a client nothing. Connections without any
//! message go first; one with a check that is being decided is never closed.
//!
//! When the calls hold too much memory, connections that stalled are closed, and then calls are
//! refused by a response. A connection in use is never closed for memory: it is an Envoy's, each
//! check on it would become an error to that Envoy, and one that fails open (`failure_mode_allow`)
//! would let those requests through.

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

/// A peer's time for TLS and HTTP/2's preface, or for the head of an HTTP/1 request: several round
/// trips to anywhere. From then on a connection without a message is the first to be closed.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may leave a response unread before its connection is closed, in whole seconds.
const MAX_UNREAD_SECONDS: u64 = 12;
/// Connections beyond the limit that may be open while they close.
const MAX_CLOSING: usize = 32;
/// The memory limit of all calls: a quarter of the container's limit that deploy/ ships.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// Beyond it no incomplete message may grow, so that large messages leave memory for thousands of
/// calls with small ones. More than the largest message.
const MAX_MESSAGES_BYTES: usize = MAX_HELD_BYTES / 4 * 3;
/// A connection has stalled when it has sent nothing of an incomplete message for so long. Envoy
/// sends a message at once.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is in use for so long after each whole message.
const IN_USE_TIME: Duration = Duration::from_secs(5);
/// A connection has stalled, too, when it has left a response unread for so many of the clock's
/// seconds, so that more than two have passed.
const STALLED_UNREAD_SECONDS: u64 = 3;
/// How often the log reports connections that were closed at the limit.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections a listener may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimit {
    /// In all.
    pub(crate) connections: usize,
    /// Of these, connections younger than `HANDSHAKE_TIMEOUT` without a message. Beyond it the
    /// oldest of them is closed rather than a connection that has sent messages.
    pub(crate) newcomers: usize,
}

pub(crate) struct Connections {
    shared: Arc<Shared>,
}

/// The permit of a connection; dropping it frees it for another.
pub(crate) struct Permit(Arc<Peer>);

/// A connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    /// The peer's address, if it has one.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) permit: Permit,
}

/// The state that the connections of a listener share.
struct Shared {
    listener: &'static str,
    limit: ConnectionLimit,
    clock: Arc<dyn Clock>,
    metrics: ConnectionMetrics,
    open: watch::Sender<usize>,
    /// Bytes that all calls hold.
    held: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    peers: Vec<Arc<Peer>>,
    /// Connections that were closed at the limit or refused since the last report.
    unreported: usize,
    last_report: Option<Duration>,
}

impl Connections {
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

    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.shared.open.subscribe()
    }

    /// The next connection, for which another may have been closed. Cancel-safe.
    pub(crate) async fn accept(&self, listener: &Listener) -> Accepted {
        let most = self.shared.limit.connections + MAX_CLOSING;
        loop {
            // Connections that are closing end within moments, so this wait is short. Without it a
            // client that connects faster than connections close could exhaust file descriptors.
            // It cannot fail: the sender is in `self`.
            _ = self.open().wait_for(|open| *open < most).await;
            let (socket, address) = accept(listener).await;
            // Without a permit the socket is dropped, which closes the connection.
            if let Some(permit) = self.admit() {
                return Accepted {
                    socket,
                    address,
                    permit,
                };
            }
        }
    }

    /// A permit for a new connection; `None` if each other one has a check that is being decided.
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

    /// Closes connections whose peers do not read their responses; the caller calls it every
    /// second.
    pub(crate) fn close_stalled(&self) {
        let now = self.shared.clock.monotonic().as_secs();
        for peer in &self.shared.list().peers {
            if peer.longest_unread(now) > Some(MAX_UNREAD_SECONDS) {
                tracing::debug!("a connection is closed: its peer does not read its responses");
                peer.close(Closing::Immediately);
            }
        }
    }
}

/// The connection to close for a new one: the oldest without a message, if its time is over or
/// there are too many of these; else the one whose last message is longest ago; else the oldest
/// without a message.
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
                "all connections are taken: the longest idle are closed for new ones"
            );
        }
    }

    /// Whether all calls hold at most `max_bytes`, after closing stalled connections for it, those
    /// that stalled longest first.
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
