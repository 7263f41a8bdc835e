//! A client of Redis that reconnects: commands go over one connection, which is replaced when
//! needed.
//!
//! A caller that finds no connection starts an attempt to make one, or joins the attempt under way
//! (single-flight), and waits for it as long as its own timeout allows. An attempt belongs to no
//! caller: when one gives up waiting, the next continues with the same attempt. While the last
//! attempt has failed and its backoff runs, callers get the failure at once: lookups that queue for
//! a server that is down would only add to its load.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::sync::{Notify, watch};

use super::RedisSettings;
use super::connect::{Connector, ServerAddress};
use super::credentials::{self, CredentialFiles, RedisCredentialsError};
use super::error_text::{Cause, describe};
use super::role::is_refusal;
use crate::clock::Clock;
use crate::mutex::lock;
use crate::tls::CertificateStatus;
use crate::watch::WatchedFiles;

mod health;
mod rotation;
mod state;

pub(crate) use state::{MAX_BACKOFF, MIN_BACKOFF, Progress};

use state::{LiveConnection, NewConnection, State};

pub(crate) struct RedisClient {
    connector: Arc<Connector>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    lost: Notify,
    /// The connection is to another server than the one before.
    moved: Arc<Notify>,
    /// An attempt failed, or the server became unusable.
    failure_noticed: Arc<Notify>,
    /// Why a server last became unusable.
    unusable: watch::Sender<Option<Cause>>,
    files: WatchedFiles,
    /// What is reported of the certificates; `None` where no files of TLS are named.
    certificates: Option<CertificateStatus>,
}

type Attempt = Pin<Box<dyn Future<Output = Result<LiveConnection, Cause>> + Send>>;

/// A command was not answered.
#[derive(Debug)]
pub(crate) enum CommandError {
    Down(Cause),
    /// The server, or the connection, gave an error.
    Failed(RedisError),
}

// === impl CommandError ===

impl CommandError {
    /// Whether the server refuses that command to us, or to everybody.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error) if is_refusal(error))
    }

    /// Whether the Redis key holds something other than a string.
    pub(crate) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Failed(error) if error.code() == Some("WRONGTYPE"))
    }

    /// Whether no connection can be made. A cluster's client makes its connections by itself.
    pub(crate) fn is_down(&self) -> bool {
        match self {
            Self::Down(_) => true,
            Self::Failed(error) => {
                error.kind() == ErrorKind::ClusterConnectionNotFound
                    || error.is_connection_refusal()
            }
        }
    }

    /// Why, for operators.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Down(cause) => cause.to_string(),
            Self::Failed(error) => describe(error),
        }
    }
}

// === impl RedisClient ===

impl RedisClient {
    /// A client with these settings. Connects to nothing; reads the files that the settings name.
    ///
    /// # Errors
    /// When one of those files cannot be used.
    pub(crate) fn new(
        settings: RedisSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RedisCredentialsError> {
        // Observed before they are read, so that a change in between is noticed later.
        let watched = WatchedFiles::polled(credentials::paths(&settings));
        let (files, certificates) = CredentialFiles::open(&settings)?;
        Ok(Self {
            connector: Arc::new(Connector::new(settings, files)),
            clock,
            state: Arc::new(Mutex::new(State::new())),
            lost: Notify::new(),
            moved: Arc::default(),
            failure_noticed: Arc::default(),
            unusable: watch::Sender::new(None),
            files: watched,
            certificates,
        })
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// What is reported of the certificates; `None` where no files of TLS are named.
    pub(crate) fn certificates(&self) -> Option<&CertificateStatus> {
        self.certificates.as_ref()
    }

    /// Keeps a connection, and replaces it when files of the settings change. Never ends. Commands
    /// work without it, but then only callers' attempts reconnect.
    pub(crate) async fn run(&self) {
        tokio::join!(self.keep_connected(), self.follow_files());
    }

    /// The answer to a command that changes nothing: it is sent once more where the connection
    /// breaks under it.
    pub(crate) async fn read(&self, command: &Cmd) -> Result<Value, CommandError> {
        match self.send(command).await {
            Err((CommandError::Failed(_), true)) => self.write(command).await,
            other => other.map_err(|(error, _)| error),
        }
    }

    /// The answer to a command that is sent once: where the connection breaks under it, whether the
    /// server executed it is unknown.
    pub(crate) async fn write(&self, command: &Cmd) -> Result<Value, CommandError> {
        self.send(command).await.map_err(|(error, _)| error)
    }

    /// Why there is no connection, if there is none and the last attempt to make one failed.
    pub(crate) fn connection_failure(&self) -> Option<Cause> {
        let state = lock(&self.state);
        let failure = state.failure.as_ref().filter(|_| state.live.is_none());
        failure.map(|failure| Arc::clone(&failure.cause))
    }

    pub(crate) async fn connect(&self) -> Result<(), Cause> {
        self.connection().await.map(drop)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, (CommandError, bool)> {
        let live = self.connection().await;
        let mut live = live.map_err(|cause| (CommandError::Down(cause), false))?;
        let answer = live.commands.query(command).await;
        answer.inspect(|_| live.count_answer()).map_err(|error| {
            let is_broken = live.commands.is_broken_by(&error);
            if is_broken {
                self.discard(live.number);
            } else {
                live.count_answer();
            }
            (CommandError::Failed(error), is_broken)
        })
    }

    async fn connection(&self) -> Result<LiveConnection, Cause> {
        let attempt = {
            let mut state = lock(&self.state);
            if let Some(live) = &state.live {
                return Ok(live.clone());
            }
            match (&state.attempt, &state.failure) {
                (Some(attempt), _) => attempt.clone(),
                (None, Some(failure)) if self.clock.monotonic() < failure.retry_at => {
                    return Err(Arc::clone(&failure.cause));
                }
                (None, _) => {
                    let attempt = self.attempt(state.epoch);
                    state.attempt = Some(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await
    }

    /// An attempt to connect, that all callers share. `renew` may replace the connection while it
    /// runs; then the epoch has changed, and what came of the attempt goes to its callers but not
    /// into the state.
    fn attempt(&self, epoch: u64) -> Shared<Attempt> {
        let (connector, clock) = (Arc::clone(&self.connector), Arc::clone(&self.clock));
        let (moved, failure_noticed) = (Arc::clone(&self.moved), Arc::clone(&self.failure_noticed));
        // The state holds the attempt, so that the attempt must not hold the state.
        let state = Arc::downgrade(&self.state);
        let attempt: Attempt = Box::pin(async move {
            let outcome = open(&connector).await;
            let Some(state) = state.upgrade() else {
                return Err("the client was dropped".into());
            };
            let mut state = lock(&state);
            let is_current = state.epoch == epoch;
            if is_current {
                state.attempt = None;
            }
            match outcome {
                Ok(new) => {
                    let live = state.assign_number(new);
                    if is_current {
                        state.succeed();
                        state.install(live.clone(), &moved);
                    }
                    Ok(live)
                }
                Err(cause) => {
                    if is_current {
                        state.fail(Arc::clone(&cause), clock.monotonic());
                        failure_noticed.notify_one();
                    }
                    Err(cause)
                }
            }
        });
        attempt.shared()
    }

    /// Replaces the connection by a new one; the old one remains if none can be made. Gives the one
    /// server that it is to; `None` for a cluster's.
    pub(crate) async fn renew(&self) -> Result<Option<ServerAddress>, Cause> {
        let new = open(&self.connector).await?;
        let address = new.address().cloned();
        let mut state = lock(&self.state);
        let live = state.assign_number(new);
        state.install(live, &self.moved);
        // An attempt under way may be connecting to the very server that this is to get away from.
        state.attempt = None;
        state.succeed();
        state.epoch += 1;
        Ok(address)
    }

    /// Waits until there is a connection to another server than the one before was to.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// The one server that the connection is to, if there is a connection and it is to one.
    pub(crate) fn address(&self) -> Option<ServerAddress> {
        lock(&self.state).live.as_ref()?.address().cloned()
    }

    /// How far the connection has come, if there is one.
    pub(crate) fn progress(&self) -> Option<Progress> {
        lock(&self.state)
            .live
            .as_ref()
            .map(LiveConnection::progress)
    }

    /// Discards the connection if nothing was answered on it since `before`. Called when a command
    /// was not answered in time: otherwise every lookup would wait in vain until the kernel notices
    /// that the peer is gone.
    pub(crate) fn discard_if_silent(&self, before: Progress) {
        let is_silent = lock(&self.state)
            .live
            .as_ref()
            .is_some_and(|live| live.commands.is_one() && live.progress() == before);
        if is_silent {
            self.discard(before.number());
        }
    }

    fn discard(&self, number: u64) {
        let mut state = lock(&self.state);
        // It may be another one already.
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.number == number)
        {
            state.live = None;
            self.lost.notify_one();
        }
    }
}

async fn open(connector: &Connector) -> Result<NewConnection, Cause> {
    let credentials = connector.files().load().await?;
    Ok(NewConnection {
        connected: connector.commands(&credentials).await?,
        content_hash: credentials.content_hash,
    })
}
