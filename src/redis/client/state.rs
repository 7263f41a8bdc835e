//! What a client knows of its connection: the live one, the attempt under way, the last failure.
//!
//! Guarded by one lock that is never held across an `await`. Connections are numbered, so that
//! code that finds a broken connection discards that one and not its successor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::Shared;
use tokio::sync::Notify;

use super::super::connect::{CommandConnection, Connected, ServerAddress};
use super::super::error_text::Cause;
use super::super::role::Heartbeat;
use super::Attempt;
use crate::backoff::Backoff;

/// How long to wait after the first failure to connect; each further one doubles it.
pub(crate) const MIN_BACKOFF: Duration = Duration::from_millis(50);
/// How long at most: with the time that connecting takes, a server is found again within five
/// seconds of its return.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(1);

pub(super) struct State {
    pub(super) live: Option<LiveConnection>,
    pub(super) attempt: Option<Shared<Attempt>>,
    pub(super) failure: Option<Failure>,
    backoff: Backoff,
    /// Attempts begun in an earlier epoch no longer install their connection; `renew` begins a new
    /// one.
    pub(super) epoch: u64,
    last_number: u64,
    /// The server of the last connection, which may be gone.
    last_address: Option<ServerAddress>,
}

/// A connection that was made; clones share it.
#[derive(Clone)]
pub(super) struct LiveConnection {
    pub(super) number: u64,
    pub(super) commands: CommandConnection,
    /// The one server that it is to, and its heartbeat; `None` for a cluster's.
    pub(super) server: Option<(ServerAddress, Heartbeat)>,
    answered: Arc<AtomicU64>,
    /// Of the files when it was made.
    pub(super) content_hash: blake3::Hash,
}

/// A connection that has no number yet.
pub(super) struct NewConnection {
    pub(super) connected: Connected,
    pub(super) content_hash: blake3::Hash,
}

pub(super) struct Failure {
    pub(super) cause: Cause,
    /// When the next attempt may begin.
    pub(super) retry_at: Duration,
}

/// How far a connection had come: which one it was, and how many commands it had answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    number: u64,
    answered: u64,
}

impl Progress {
    /// Which connection it is.
    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            live: None,
            attempt: None,
            failure: None,
            backoff: Backoff::new(MIN_BACKOFF, MAX_BACKOFF),
            epoch: 0,
            last_number: 0,
            last_address: None,
        }
    }

    pub(super) fn succeed(&mut self) {
        self.failure = None;
        self.backoff.reset();
    }

    pub(super) fn fail(&mut self, cause: Cause, now: Duration) {
        let retry_at = now + self.backoff.pause();
        self.failure = Some(Failure { cause, retry_at });
    }

    pub(super) fn assign_number(&mut self, new: NewConnection) -> LiveConnection {
        self.last_number += 1;
        LiveConnection {
            number: self.last_number,
            commands: new.connected.commands,
            server: new.connected.server,
            answered: Arc::default(),
            content_hash: new.content_hash,
        }
    }

    pub(super) fn install(&mut self, live: LiveConnection, moved: &Notify) {
        let before = std::mem::replace(&mut self.last_address, live.address().cloned());
        if before.is_some() && before.as_ref() != live.address() {
            moved.notify_one();
        }
        self.live = Some(live);
    }
}

impl LiveConnection {
    /// The one server that it is to; `None` for a cluster's.
    pub(super) fn address(&self) -> Option<&ServerAddress> {
        self.server.as_ref().map(|(address, _)| address)
    }

    pub(super) fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            number: self.number,
            answered: self.answered.load(Ordering::Relaxed),
        }
    }
}

impl NewConnection {
    pub(super) fn address(&self) -> Option<&ServerAddress> {
        self.connected.server.as_ref().map(|(address, _)| address)
    }
}
