//! The state of one connection: its last message, and what its calls wait for and hold.
//!
//! Atomic counters only, since every check updates them. Unread responses are counted by the second
//! in which they were given, in a ring that is longer than any may stay unread, so that the longest
//! wait is known without a list. For incomplete messages the age of a call means nothing, since an
//! Envoy begins many calls at once and sends their messages one after the other: there it counts
//! when the peer last sent anything.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    IN_USE_TIME, MAX_HELD_BYTES, MAX_MESSAGES_BYTES, STALL_TIMEOUT, STALLED_UNREAD_SECONDS, Shared,
};

/// Seconds that are counted apart: more than a response may stay unread.
const RING: usize = 16;
/// The memory of a call besides its message: its stream, its task and its response.
const CALL_BYTES: usize = 4096;

/// How a connection is closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Calls in flight may finish.
    Gracefully,
    /// Its memory is needed.
    Immediately,
}

pub(crate) struct Peer {
    shared: Arc<Shared>,
    since: Duration,
    /// In milliseconds, plus one; 0 means never.
    last_message: AtomicU64,
    /// In milliseconds: when it last sent bytes of a message, or began to owe some.
    last_bytes: AtomicU64,
    deciding: AtomicUsize,
    receiving: AtomicUsize,
    unread: [AtomicUsize; RING],
    held: AtomicUsize,
    closing: OnceLock<Closing>,
    left: CancellationToken,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// For the rest of its message.
    Receiving,
    /// For its decision.
    Deciding,
    /// For the peer to read its response, which was given in that second.
    Unread(u64),
}

/// Counts a call at a stage of its connection's calls until it is dropped.
pub(crate) struct StageGuard {
    peer: Arc<Peer>,
    stage: Stage,
}

pub(crate) struct MemoryUse {
    peer: Arc<Peer>,
    bytes: usize,
}

impl Peer {
    pub(super) fn new(shared: Arc<Shared>, since: Duration) -> Self {
        Self {
            shared,
            since,
            last_message: AtomicU64::new(0),
            last_bytes: AtomicU64::new(0),
            deciding: AtomicUsize::new(0),
            receiving: AtomicUsize::new(0),
            unread: std::array::from_fn(|_| AtomicUsize::new(0)),
            held: AtomicUsize::new(0),
            closing: OnceLock::new(),
            left: CancellationToken::new(),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// When its last whole message was received, in milliseconds.
    pub(super) fn last_message(&self) -> Option<u64> {
        self.last_message.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.deciding.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// For how many seconds a response has been unread; `None` without one.
    pub(super) fn longest_unread(&self, now: u64) -> Option<u64> {
        let ring = u64::try_from(RING).unwrap_or(u64::MAX);
        (0..ring).rev().find(|age| {
            now.checked_sub(*age)
                .and_then(|second| self.unread_since(second))
                .is_some_and(|count| count.load(Ordering::Relaxed) > 0)
        })
    }

    fn unread_since(&self, second: u64) -> Option<&AtomicUsize> {
        let ring = u64::try_from(RING).unwrap_or(u64::MAX);
        self.unread.get(usize::try_from(second % ring).ok()?)
    }

    /// For how long its calls have waited for a peer that does nothing; `None` if it is in use.
    pub(super) fn stalled_for(&self, now: Duration) -> Option<Duration> {
        if self.is_deciding() {
            return None;
        }
        let unread = self
            .longest_unread(now.as_secs())
            .filter(|seconds| *seconds >= STALLED_UNREAD_SECONDS)
            .map(Duration::from_secs);
        let since = |at: u64| now.saturating_sub(Duration::from_millis(at));
        let is_in_use = self
            .last_message()
            .is_some_and(|last| since(last) < IN_USE_TIME);
        let is_owing = self.receiving.load(Ordering::Relaxed) > 0 && !is_in_use;
        let silent = is_owing
            .then(|| since(self.last_bytes.load(Ordering::Relaxed)))
            .filter(|silent| *silent >= STALL_TIMEOUT);
        silent.max(unread)
    }

    pub(super) fn close(&self, how: Closing) {
        _ = self.closing.set(how);
        self.left.cancel();
    }

    /// Waits until the connection is to be closed by us; gives how.
    pub(crate) async fn close_requested(&self) -> Closing {
        self.left.cancelled().await;
        self.closing.get().copied().unwrap_or(Closing::Immediately)
    }

    pub(crate) fn message_received(&self) {
        self.last_message
            .store(self.now().saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn bytes_received(&self) {
        self.last_bytes.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        let now = self.shared.clock.monotonic().as_millis();
        u64::try_from(now).unwrap_or(u64::MAX)
    }

    pub(crate) fn has_sent_message(&self) -> bool {
        self.last_message().is_some()
    }

    /// A call begins to wait for the rest of its message.
    pub(crate) fn start_receiving(self: &Arc<Self>) -> StageGuard {
        if self.receiving.load(Ordering::Relaxed) == 0 {
            // Until now the connection was silent because it had nothing to send.
            self.bytes_received();
        }
        self.start(Stage::Receiving)
    }

    /// A call's message is complete, and its decision begins. The connection is not closed
    /// meanwhile.
    pub(crate) fn start_deciding(self: &Arc<Self>) -> StageGuard {
        self.start(Stage::Deciding)
    }

    /// A call begins to wait for its response to be read.
    pub(crate) fn start_sending(self: &Arc<Self>) -> StageGuard {
        let second = self.shared.clock.monotonic().as_secs();
        self.start(Stage::Unread(second))
    }

    fn start(self: &Arc<Self>, stage: Stage) -> StageGuard {
        if let Some(calls) = self.calls_at(stage) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let peer = Arc::clone(self);
        StageGuard { peer, stage }
    }

    fn calls_at(&self, stage: Stage) -> Option<&AtomicUsize> {
        match stage {
            Stage::Receiving => Some(&self.receiving),
            Stage::Deciding => Some(&self.deciding),
            Stage::Unread(second) => self.unread_since(second),
        }
    }

    /// Counts the memory of a call from its beginning to its end.
    pub(crate) fn track_memory(self: &Arc<Self>) -> MemoryUse {
        let mut held = MemoryUse {
            peer: Arc::clone(self),
            bytes: 0,
        };
        held.grow(CALL_BYTES);
        held
    }
}

impl MemoryUse {
    /// Whether there is memory for the call, after closing stalled connections for it.
    pub(crate) fn call_fits(&self) -> bool {
        self.peer.shared.free_memory(MAX_HELD_BYTES)
    }

    /// Counts more bytes of a message. Whether there is memory for them, after closing stalled
    /// connections for it; they are counted either way.
    pub(crate) fn message_grows(&mut self, bytes: usize) -> bool {
        self.grow(bytes);
        self.peer.shared.free_memory(MAX_MESSAGES_BYTES)
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.peer.held.fetch_add(bytes, Ordering::Relaxed);
        self.peer.shared.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The message is no longer in memory.
    pub(crate) fn message_released(&mut self) {
        self.shrink(self.bytes.saturating_sub(CALL_BYTES));
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.peer.held.fetch_sub(bytes, Ordering::Relaxed);
        self.peer.shared.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for StageGuard {
    fn drop(&mut self) {
        if let Some(calls) = self.peer.calls_at(self.stage) {
            calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
