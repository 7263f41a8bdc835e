//! Subscribes to changes: a connection to each master, on which the server pushes the names that
//! were written (client-side caching, `CLIENT TRACKING` in broadcasting mode).
//!
//! A subscription is all or nothing. Only when every master pushes, the connection for lookups has
//! been replaced, so that it cannot be to a former master, and a lookup has succeeded on it, are
//! the cache's entries valid. A connection that does not answer, an unusable server, or a change
//! of masters ends the subscription, and everything is set up again. A server that refuses to push
//! is asked again each minute.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{select_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::invalidation::InvalidationLog;
use super::layout::{Layout, RedisName};
use super::read::Reader;
use super::settings::PushMode;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::redis::client::{MAX_BACKOFF, MIN_BACKOFF, RedisClient};
use crate::redis::connect::topology::{bytes, masters_by};
use crate::redis::connect::{CONNECT_TIMEOUT, Connection, ServerAddress};
use crate::redis::error_text::{Cause, PushError, describe};
use crate::redis::role::{HEARTBEAT_INTERVAL, Heartbeat, HeartbeatError};

/// After so many unanswered heartbeats a connection counts as broken.
const MAX_UNANSWERED_HEARTBEATS: u32 = 3;
/// How often a server that refuses to push is asked again: its operator may have changed it.
pub(super) const REFUSED_RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// A subscription that lasted so long resets the backoff.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(5);

/// Subscribes to changes, and again whenever a subscription ends.
pub(super) struct InvalidationListener<'a> {
    pub(super) client: &'a RedisClient,
    pub(super) layout: &'a Layout,
    pub(super) clock: &'a dyn Clock,
    pub(super) log: Arc<InvalidationLog>,
    pub(super) mode: PushMode,
    /// How often a server that refuses to push is asked again.
    pub(super) refused_retry_interval: Duration,
}

/// A master that pushes, and the connection on which it does.
pub(super) struct TrackedMaster {
    master: ServerAddress,
    connection: Connection,
    heartbeat: Heartbeat,
}

/// All masters push.
pub(super) struct Subscription {
    masters: Vec<TrackedMaster>,
    /// A connection is closed.
    disconnected: Arc<Notify>,
    /// Notified when the server of lookups becomes unusable.
    unusable: watch::Receiver<Option<Cause>>,
}

impl InvalidationListener<'_> {
    /// Keeps a subscription. Never ends.
    pub(super) async fn listen(&self) {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        loop {
            match self.subscribe().await {
                Ok(mut subscription) => {
                    self.log.subscribed();
                    let since = self.clock.monotonic();
                    let why = self.watch(&mut subscription).await;
                    self.log.unsubscribed(&why);
                    if self.clock.monotonic().saturating_sub(since) >= BACKOFF_RESET_AFTER {
                        backoff.reset();
                    }
                }
                Err(PushError::Refused(why)) => {
                    if self.mode == PushMode::Auto {
                        self.log.refused(&why);
                    } else {
                        self.log.unsubscribed(&why);
                    }
                    tokio::time::sleep(self.refused_retry_interval).await;
                    continue;
                }
                Err(PushError::Failed(why)) => self.log.unsubscribed(&why),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Has every master push.
    ///
    /// The order matters: a change that is made before the lookups' new connection exists is seen
    /// by lookups on it, and a change made later is pushed.
    pub(super) async fn subscribe(&self) -> Result<Subscription, PushError> {
        let unusable = self.client.unusable();
        let connector = self.client.connector();
        let credentials = connector.files().load().await?;
        let masters = connector.masters(&credentials).await?;
        let disconnected = Arc::new(Notify::new());
        let lines = masters.iter().map(async |master| {
            let (layout, log) = (self.layout.clone(), self.log.clone());
            let disconnected = Arc::clone(&disconnected);
            let on_push = move |push: PushInfo| {
                if push.kind == PushKind::Invalidate {
                    forward(&push.data, &layout, &log);
                } else if push.kind == PushKind::Disconnection {
                    disconnected.notify_one();
                }
            };
            let mut connection = connector.pushes(master, &credentials, on_push).await?;
            self.track(&mut connection, master).await?;
            Ok::<_, PushError>(TrackedMaster {
                heartbeat: connector.check_role(&mut connection, master).await?,
                master: master.clone(),
                connection,
            })
        });
        let lines = try_join_all(lines).await?;
        // A server that has become a master since must push as well.
        if connector.is_cluster() {
            check_masters(&lines).await?;
        }
        let commands_are_at = self.client.renew().await?;
        if let (Some(target), [line]) = (&commands_are_at, &*lines)
            && *target != line.master
        {
            return Err(PushError::Failed("the master changes".into()));
        }
        let (client, layout) = (self.client, self.layout);
        Reader { client, layout }.probe(CONNECT_TIMEOUT).await?;
        Ok(Subscription {
            masters: lines,
            disconnected,
            unusable,
        })
    }

    async fn track(
        &self,
        connection: &mut Connection,
        master: &ServerAddress,
    ) -> Result<(), PushError> {
        let failed = |text: &str| Cause::from(format!("{master}: CLIENT TRACKING: {text}"));
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in [self.layout.key_prefix(), self.layout.digest_prefix()] {
            tracking.arg("PREFIX").arg(prefix);
        }
        let asking = tracking.query_async::<()>(connection);
        match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_lasting(&error) => {
                Err(PushError::Refused(failed(&describe(&error))))
            }
            Ok(Err(error)) => Err(PushError::Failed(failed(&describe(&error)))),
            Err(_) => Err(PushError::Failed(failed("no answer in time"))),
        }
    }

    /// Waits until changes may be missed, and gives the cause.
    async fn watch(&self, subscription: &mut Subscription) -> Cause {
        let Subscription {
            masters,
            disconnected,
            unusable,
        } = subscription;
        let beats = select_all(
            masters
                .iter()
                .map(|master| Box::pin(self.send_heartbeats(master))),
        );
        tokio::select! {
            () = disconnected.notified() => "the connection for pushes was closed".into(),
            (why, ..) = beats => why,
            why = self.watch_masters(masters) => why,
            why = server_unusable(unusable) => why,
            () = self.lookup_server_changed(masters) => "lookups are at another server".into(),
        }
    }

    /// Waits until lookups go to another server than the one that pushes.
    async fn lookup_server_changed(&self, lines: &[TrackedMaster]) {
        loop {
            self.client.moved().await;
            let at = self.client.address();
            if at.is_some_and(|at| lines.iter().all(|line| line.master != at)) {
                return;
            }
        }
    }

    /// Sends heartbeats until the server is not usable, or too many are unanswered.
    async fn send_heartbeats(&self, line: &TrackedMaster) -> Cause {
        let mut unanswered = 0;
        let mut answers = FuturesUnordered::new();
        let connector = self.client.connector();
        let mut ticks = interval(HEARTBEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Answers first: a process that was stopped must not count them as unanswered.
                biased;
                Some(answer) = answers.next() => match answer {
                    Ok(()) => unanswered = 0,
                    Err(HeartbeatError::Unusable(why)) => {
                        // Lookups must not go there any more either.
                        self.client.drop_server(&line.master, &why);
                        return why;
                    }
                    Err(HeartbeatError::Broken(why)) => return why,
                },
                _ = ticks.tick() => {
                    if unanswered >= MAX_UNANSWERED_HEARTBEATS {
                        return format!("{}: it does not answer", line.master).into();
                    }
                    unanswered += 1;
                    let mut connection = line.connection.clone();
                    answers.push(async move {
                        connector.heartbeat(line.heartbeat, &mut connection, &line.master).await
                    });
                }
            }
        }
    }

    /// Waits until a cluster has other masters than those that push.
    async fn watch_masters(&self, lines: &[TrackedMaster]) -> Cause {
        if !self.client.connector().is_cluster() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            if let Err(why) = check_masters(lines).await {
                return why;
            }
        }
    }
}

/// Fails unless each of those masters names exactly these masters as the cluster's: one that is cut
/// off from the others does not know that another took its place.
async fn check_masters(lines: &[TrackedMaster]) -> Result<(), Cause> {
    let asking = lines.iter().map(async |line| {
        let mut connection = line.connection.clone();
        let masters = masters_by(&mut connection, &line.master).await?;
        if masters.iter().eq(lines.iter().map(|line| &line.master)) {
            Ok(())
        } else {
            Err(Cause::from(format!(
                "{}: the cluster has other masters",
                line.master
            )))
        }
    });
    try_join_all(asking).await.map(drop)
}

/// Waits until the server of lookups becomes unusable, and gives the cause.
async fn server_unusable(unusable: &mut watch::Receiver<Option<Cause>>) -> Cause {
    // The sender lives as long as the client, and so longer than this.
    _ = unusable.changed().await;
    let why = unusable.borrow_and_update().clone();
    why.unwrap_or_else(|| "the server is no longer usable".into())
}

/// Whether the refusal is permanent: the server does not know the command, or does not allow it to
/// this user.
fn is_lasting(error: &RedisError) -> bool {
    matches!(error.code(), Some("ERR" | "NOPERM"))
}

/// Forwards the names that were written to the cache; a push without names means all of them.
fn forward(data: &[Value], layout: &Layout, log: &InvalidationLog) {
    let Some(Value::Array(names)) = data.first() else {
        log.all_changed();
        return;
    };
    for name in names {
        match layout.parse(bytes(name).unwrap_or_default()) {
            RedisName::Key(id) => log.key_changed(id),
            RedisName::Digest(digest) => log.digest_changed(&digest),
            RedisName::Unknown => log.all_changed(),
        }
    }
}
