//! What is known of one connection: when its last message came, and what its calls wait for and hold.
//!
//! Counters only, for every check touches them. Waiting calls are counted by the second in which their wait began, in a
//! ring that is longer than any wait may last, so that the longest wait is known without a list.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{HELD_MAX_BYTES, Shared};

/// Seconds that are told apart: more than a call may wait.
const RING: usize = 16;
/// What a call holds besides its message: its stream, its task and its answer.
const CALL_BYTES: usize = 4096;

/// How a connection is closed before its peer wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Calls in flight may finish.
    Politely,
    /// What it holds is needed.
    AtOnce,
}

/// One connection.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    since: Duration,
    /// Milliseconds, and one more; 0 is never.
    last_message: AtomicU64,
    deciding: AtomicUsize,
    waiting: [AtomicUsize; RING],
    held: AtomicUsize,
    leaving: OnceLock<Leaving>,
    left: CancellationToken,
}

/// A call that waits for its peer: for the rest of its message, or for its answer to be taken.
pub(crate) struct Waiting {
    peer: Arc<Peer>,
    second: u64,
}

/// What a call holds in memory.
pub(crate) struct Held {
    peer: Arc<Peer>,
    bytes: usize,
}

/// A call whose message is there and whose answer is not. The connection stays for it.
pub(crate) struct Deciding(Arc<Peer>);

impl Peer {
    pub(super) fn new(shared: Arc<Shared>, since: Duration) -> Self {
        Self {
            shared,
            since,
            last_message: AtomicU64::new(0),
            deciding: AtomicUsize::new(0),
            waiting: std::array::from_fn(|_| AtomicUsize::new(0)),
            held: AtomicUsize::new(0),
            leaving: OnceLock::new(),
            left: CancellationToken::new(),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn since(&self) -> Duration {
        self.since
    }

    pub(super) fn last_message(&self) -> Option<u64> {
        let last = self.last_message.load(Ordering::Relaxed);
        (last > 0).then_some(last)
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.deciding.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get().is_some()
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// For how many seconds its longest waiting call has waited; `None` without one.
    pub(super) fn longest_wait(&self, now: u64) -> Option<u64> {
        let ring = u64::try_from(RING).unwrap_or(u64::MAX);
        (0..ring).rev().find(|age| {
            now.checked_sub(*age)
                .and_then(|second| self.waiting_since(second))
                .is_some_and(|count| count.load(Ordering::Relaxed) > 0)
        })
    }

    /// How many of its calls wait.
    pub(super) fn waiting_calls(&self) -> usize {
        let counts = self.waiting.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn waiting_since(&self, second: u64) -> Option<&AtomicUsize> {
        let ring = u64::try_from(RING).unwrap_or(u64::MAX);
        self.waiting.get(usize::try_from(second % ring).ok()?)
    }

    pub(super) fn leave(&self, how: Leaving) {
        _ = self.leaving.set(how);
        self.left.cancel();
    }

    /// Waits until the connection is to be closed, and tells how.
    pub(crate) async fn told_to_leave(&self) -> Leaving {
        self.left.cancelled().await;
        self.leaving.get().copied().unwrap_or(Leaving::AtOnce)
    }

    /// A whole message has come.
    pub(crate) fn message_came(&self) {
        let now = self.shared.clock.monotonic().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.last_message
            .store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// Whether a whole message has come ever.
    pub(crate) fn has_sent_a_message(&self) -> bool {
        self.last_message().is_some()
    }

    /// A call begins to wait for this peer.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        let second = self.shared.clock.monotonic().as_secs();
        if let Some(count) = self.waiting_since(second) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Waiting {
            peer: Arc::clone(self),
            second,
        }
    }

    /// What a call holds from its beginning to its end. Where that is too much, the connection whose calls wait longest
    /// is closed, and of several the one with most of them: an Envoy sends its messages whole and takes its answers.
    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        let mut held = Held {
            peer: Arc::clone(self),
            bytes: 0,
        };
        if !held.grow(CALL_BYTES) {
            self.shared.make_room(0);
        }
        held
    }

    /// A call's decision begins.
    pub(crate) fn decide(self: &Arc<Self>) -> Deciding {
        self.deciding.fetch_add(1, Ordering::Relaxed);
        Deciding(Arc::clone(self))
    }
}

impl Held {
    /// Holds so many bytes of a message more, for which connections whose calls have waited for a second or more are
    /// closed. Returns false where there is no room even so; they are held nevertheless.
    pub(crate) fn message_grows(&mut self, bytes: usize) -> bool {
        self.grow(bytes) || self.peer.shared.make_room(1)
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.peer.held.fetch_add(bytes, Ordering::Relaxed);
        let before = self.peer.shared.held.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= HELD_MAX_BYTES
    }

    /// The message is no longer needed.
    pub(crate) fn message_went(&mut self) {
        self.shrink(self.bytes.saturating_sub(CALL_BYTES));
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.peer.held.fetch_sub(bytes, Ordering::Relaxed);
        self.peer.shared.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(count) = self.peer.waiting_since(self.second) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        self.0.deciding.fetch_sub(1, Ordering::Relaxed);
    }
}
