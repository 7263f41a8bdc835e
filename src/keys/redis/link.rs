//! The connection that commands go over, and how it is made anew.
//!
//! Takes a command and gives its answer. Whoever needs a connection that is not there starts an attempt to make one, or joins
//! the one under way, and waits for it as long as he likes: an attempt is bound to nobody's timeout, and what one has
//! begun the next goes on with. While the last attempt has failed and the next is not due, the reason is given at once: many
//! lookups that wait for a server that is down would only be more of a burden.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::sync::{Notify, watch};

use super::dial::{Dialed, Dialer, Target, Wire};
use super::fault::{Reason, told};
use super::role::{Heartbeat, is_refusal};
use crate::backoff::Backoff;
use crate::clock::Clock;

mod belief;

/// How long to wait after the first failure to connect; each further one doubles it.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// How long at most: with what connecting takes, a server is found again within five seconds of its return.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A connection that comes back.
pub(super) struct Link {
    dialer: Arc<Dialer>,
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
    lost: Notify,
    moved: Arc<Notify>,
    /// An attempt failed, or the server is not believed any more.
    trouble: Arc<Notify>,
    /// Why a server was last not believed any more.
    distrusted: watch::Sender<Option<Reason>>,
}

struct Inner {
    up: Option<Up>,
    attempt: Option<Shared<Attempt>>,
    failed: Option<Failed>,
    backoff: Backoff,
    /// Which attempts may still put their connection here; grows when one is put by force.
    epoch: u64,
    last_number: u64,
    /// The server of the last connection, which may be gone.
    last_target: Option<Target>,
}

type Attempt = Pin<Box<dyn Future<Output = Result<Up, Reason>> + Send>>;

/// A connection that was made.
#[derive(Clone)]
struct Up {
    number: u64,
    wire: Wire,
    /// The one server that it is to, and what that is asked every second; `None` for a cluster's.
    server: Option<(Target, Heartbeat)>,
    /// How many commands were answered, for all who send some.
    answered: Arc<AtomicU64>,
    /// Of what was in the files when it was made.
    mark: blake3::Hash,
}

/// The last attempt, where it failed.
struct Failed {
    reason: Reason,
    due: Duration,
}

/// A command was not answered.
#[derive(Debug)]
pub(super) enum LinkError {
    /// There is no connection.
    Down(Reason),
    /// The server, or the connection, gave an error.
    Failed(RedisError),
}

/// A connection as it was at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glimpse {
    number: u64,
    answered: u64,
}

impl Glimpse {
    /// Which connection it is.
    #[cfg(test)]
    pub(super) fn number(self) -> u64 {
        self.number
    }
}

impl LinkError {
    /// Whether the server refuses that command to us, or to everybody.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error) if is_refusal(error))
    }

    /// Whether what has the name holds something else than a string.
    pub(super) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Failed(error) if error.code() == Some("WRONGTYPE"))
    }

    /// Whether no connection can be made. A cluster's client makes its connections by itself.
    pub(super) fn is_down(&self) -> bool {
        match self {
            Self::Down(_) => true,
            Self::Failed(error) => {
                error.kind() == ErrorKind::ClusterConnectionNotFound
                    || error.is_connection_refusal()
            }
        }
    }

    /// Why, for operators.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Down(reason) => reason.to_string(),
            Self::Failed(error) => told(error),
        }
    }
}

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>, clock: Arc<dyn Clock>) -> Self {
        Self {
            dialer,
            clock,
            inner: Arc::new(Mutex::new(Inner::new())),
            lost: Notify::new(),
            moved: Arc::default(),
            trouble: Arc::default(),
            distrusted: watch::Sender::new(None),
        }
    }

    /// The answer to a command that changes nothing: it is sent once more where the connection breaks under it.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, LinkError> {
        match self.send(command).await {
            Err((LinkError::Failed(_), true)) => self.write(command).await,
            other => other.map_err(|(error, _)| error),
        }
    }

    /// The answer to a command that is sent once: where the connection breaks under it, nobody knows what came of it.
    pub(super) async fn write(&self, command: &Cmd) -> Result<Value, LinkError> {
        self.send(command).await.map_err(|(error, _)| error)
    }

    /// Why there is no connection, if there is none and the last attempt to make one failed.
    pub(super) fn down(&self) -> Option<Reason> {
        let inner = lock(&self.inner);
        let failed = inner.failed.as_ref().filter(|_| inner.up.is_none());
        failed.map(|failed| Arc::clone(&failed.reason))
    }

    /// Makes a connection if there is none.
    pub(super) async fn connect(&self) -> Result<(), Reason> {
        self.connection().await.map(drop)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, (LinkError, bool)> {
        let up = self.connection().await;
        let mut up = up.map_err(|reason| (LinkError::Down(reason), false))?;
        let answer = up.wire.query(command).await;
        answer.inspect(|_| up.was_answered()).map_err(|error| {
            let is_broken = up.wire.is_broken_by(&error);
            if is_broken {
                self.discard(up.number);
            } else {
                up.was_answered();
            }
            (LinkError::Failed(error), is_broken)
        })
    }

    async fn connection(&self) -> Result<Up, Reason> {
        let attempt = {
            let mut inner = lock(&self.inner);
            if let Some(up) = &inner.up {
                return Ok(up.clone());
            }
            match (&inner.attempt, &inner.failed) {
                (Some(attempt), _) => attempt.clone(),
                (None, Some(failed)) if self.clock.monotonic() < failed.due => {
                    return Err(Arc::clone(&failed.reason));
                }
                (None, _) => {
                    let attempt = self.attempt(inner.epoch);
                    inner.attempt = Some(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await
    }

    fn attempt(&self, epoch: u64) -> Shared<Attempt> {
        let (dialer, clock) = (Arc::clone(&self.dialer), Arc::clone(&self.clock));
        let (moved, trouble) = (Arc::clone(&self.moved), Arc::clone(&self.trouble));
        // The attempt is kept in what it changes, and must not keep that in turn.
        let inner = Arc::downgrade(&self.inner);
        let attempt: Attempt = Box::pin(async move {
            let outcome = dial(&dialer).await;
            let Some(inner) = inner.upgrade() else {
                return Err("the source is gone".into());
            };
            let mut inner = lock(&inner);
            let is_wanted = inner.epoch == epoch;
            if is_wanted {
                inner.attempt = None;
            }
            match outcome {
                Ok(made) => {
                    let up = inner.number(made);
                    if is_wanted {
                        inner.is_well();
                        inner.put(up.clone(), &moved);
                    }
                    Ok(up)
                }
                Err(reason) => {
                    if is_wanted {
                        inner.failed = Some(Failed {
                            reason: Arc::clone(&reason),
                            due: clock.monotonic() + inner.backoff.pause(),
                        });
                        trouble.notify_one();
                    }
                    Err(reason)
                }
            }
        });
        attempt.shared()
    }

    /// Puts a new connection in place of the one that is there, which stays if none can be made. Gives the one server that it is to;
    /// `None` for a cluster's.
    pub(super) async fn renew(&self) -> Result<Option<Target>, Reason> {
        let made = dial(&self.dialer).await?;
        let target = made
            .dialed
            .server
            .as_ref()
            .map(|(target, _)| target.clone());
        let mut inner = lock(&self.inner);
        let up = inner.number(made);
        inner.put(up, &self.moved);
        // An attempt under way may be on its way to a server that this is to get away from.
        inner.attempt = None;
        inner.is_well();
        inner.epoch += 1;
        Ok(target)
    }

    /// Waits until there is a connection to another server than the one before was to.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// The one server that the connection is to, if there is a connection and it is to one.
    pub(super) fn target(&self) -> Option<Target> {
        lock(&self.inner).up.as_ref()?.target().cloned()
    }

    /// Whether there is a connection that was made with other contents of the files.
    pub(super) fn was_made_without(&self, mark: blake3::Hash) -> bool {
        let inner = lock(&self.inner);
        inner.up.as_ref().is_some_and(|up| up.mark != mark)
    }

    /// The connection as it is now, if there is one.
    pub(super) fn glimpse(&self) -> Option<Glimpse> {
        let inner = lock(&self.inner);
        inner.up.as_ref().map(|up| Glimpse {
            number: up.number,
            answered: up.answered.load(Ordering::Relaxed),
        })
    }

    /// A command was sent over the connection as it was then, and has not been answered in time. If no other one was either, the
    /// connection is given up: a peer that went away without a word would be waited for until the kernel notices.
    pub(super) fn suspect(&self, then: Glimpse) {
        let is_silent = lock(&self.inner).up.as_ref().is_some_and(|up| {
            up.wire.is_one()
                && up.number == then.number
                && up.answered.load(Ordering::Relaxed) == then.answered
        });
        if is_silent {
            self.discard(then.number);
        }
    }

    fn discard(&self, number: u64) {
        let mut inner = lock(&self.inner);
        // It may be another one already.
        if inner.up.as_ref().is_some_and(|up| up.number == number) {
            inner.up = None;
            self.lost.notify_one();
        }
    }
}

impl Inner {
    fn new() -> Self {
        Self {
            up: None,
            attempt: None,
            failed: None,
            backoff: Backoff::new(BACKOFF_MIN, BACKOFF_MAX),
            epoch: 0,
            last_number: 0,
            last_target: None,
        }
    }

    /// An attempt succeeded.
    fn is_well(&mut self) {
        self.failed = None;
        self.backoff.reset();
    }

    fn number(&mut self, made: MadeConnection) -> Up {
        self.last_number += 1;
        Up {
            number: self.last_number,
            wire: made.dialed.wire,
            server: made.dialed.server,
            answered: Arc::default(),
            mark: made.mark,
        }
    }

    fn put(&mut self, up: Up, moved: &Notify) {
        let before = std::mem::replace(&mut self.last_target, up.target().cloned());
        if before.is_some() && before.as_ref() != up.target() {
            moved.notify_one();
        }
        self.up = Some(up);
    }
}

impl Up {
    /// The one server that it is to; `None` for a cluster's.
    fn target(&self) -> Option<&Target> {
        self.server.as_ref().map(|(target, _)| target)
    }

    fn was_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that has no number yet.
struct MadeConnection {
    dialed: Dialed,
    mark: blake3::Hash,
}

async fn dial(dialer: &Dialer) -> Result<MadeConnection, Reason> {
    let material = dialer.files().load().await?;
    Ok(MadeConnection {
        dialed: dialer.commands(&material).await?,
        mark: material.mark,
    })
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // Every change is whole before anything could panic.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
