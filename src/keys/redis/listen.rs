//! Hears of changes: a connection to each master on which the server tells what was written (client-side caching, `CLIENT
//! TRACKING` in broadcasting mode).
//!
//! Takes what the servers push and tells the cache. What is armed is all or nothing: only when every master has been told to
//! push, the connection for lookups has been made anew so that it cannot be to a server that is no master any more, and a lookup has
//! succeeded on it, may the cache believe what it holds. A connection that does not answer, a server that may not be believed any more, or
//! a change of masters ends that, and all is made anew. A server that refuses to push is asked again each minute.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{select_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::invalidation::InvalidationSink;
use super::dial::topology::{bytes, masters_by};
use super::dial::{CONNECT_TIMEOUT, Connection, Dialer, Target};
use super::fault::{NoPushes, Reason, told};
use super::layout::{Layout, Named};
use super::link::{BACKOFF_MAX, BACKOFF_MIN, Link};
use super::read::Reader;
use super::role::{BEAT_EVERY, Heartbeat, NoBeat};
use super::settings::PushMode;
use crate::backoff::Backoff;
use crate::clock::Clock;

/// A connection on which so many heartbeats are unanswered is not believed in any more.
const BEATS_UNANSWERED: u32 = 3;
/// How often a server that refuses to push is asked again: its operator may have changed it.
pub(super) const ASK_AGAIN_EVERY: Duration = Duration::from_mins(1);
/// Pushes that were armed for so long were not armed in vain: what comes after is a new failure, and is tried at once.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Hears of changes.
pub(super) struct Listener<'a> {
    pub(super) dialer: &'a Dialer,
    pub(super) link: &'a Link,
    pub(super) layout: &'a Layout,
    pub(super) clock: &'a dyn Clock,
    pub(super) sink: InvalidationSink,
    pub(super) mode: PushMode,
    /// How often a server that refuses to push is asked again.
    pub(super) ask_again_every: Duration,
}

/// A connection on which a master pushes.
pub(super) struct Line {
    master: Target,
    connection: Connection,
    heartbeat: Heartbeat,
}

/// Pushes that are armed.
pub(super) struct Armed {
    lines: Vec<Line>,
    /// A connection is closed.
    gone: Arc<Notify>,
    /// Tells when the server of lookups is not believed any more.
    distrusts: watch::Receiver<Option<Reason>>,
}

impl Listener<'_> {
    /// Keeps hearing. Never ends.
    pub(super) async fn listen(&self) {
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        let mut told: Option<Reason> = None;
        loop {
            match self.arm().await {
                Ok(mut armed) => {
                    self.sink.subscribed();
                    let since = self.clock.monotonic();
                    let why = self.watch(&mut armed).await;
                    self.sink.unsubscribed(&why);
                    told = None;
                    if self.clock.monotonic().saturating_sub(since) >= STEADY_AFTER {
                        backoff.reset();
                    }
                }
                Err(NoPushes::Refused(why)) => {
                    if self.mode == PushMode::Auto {
                        self.sink.refused(&why);
                    } else {
                        self.not_armed(&why, &mut told);
                    }
                    tokio::time::sleep(self.ask_again_every).await;
                    continue;
                }
                Err(NoPushes::Failed(why)) => self.not_armed(&why, &mut told),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    fn not_armed(&self, why: &Reason, told: &mut Option<Reason>) {
        if told.as_ref() != Some(why) {
            tracing::warn!(
                source = "redis",
                why = &**why,
                "changes of keys are not pushed; each key is looked up at its next use"
            );
        }
        self.sink.unsubscribed(why);
        *told = Some(Reason::clone(why));
    }

    /// Has every master push.
    pub(super) async fn arm(&self) -> Result<Armed, NoPushes> {
        let distrusts = self.link.distrusts();
        let material = self.dialer.files().load().await?;
        let masters = self.dialer.masters(&material).await?;
        let gone = Arc::new(Notify::new());
        let lines = masters.iter().map(async |master| {
            let (layout, sink) = (self.layout.clone(), self.sink.clone());
            let gone = Arc::clone(&gone);
            let heard = move |push: PushInfo| {
                if push.kind == PushKind::Invalidate {
                    tell(&push.data, &layout, &sink);
                } else if push.kind == PushKind::Disconnection {
                    gone.notify_one();
                }
            };
            let mut connection = self.dialer.pushes(master, &material, heard).await?;
            self.track(&mut connection, master).await?;
            Ok::<_, NoPushes>(Line {
                heartbeat: self.dialer.check_role(&mut connection, master).await?,
                master: master.clone(),
                connection,
            })
        });
        let lines = try_join_all(lines).await?;
        // What has become a master since must push as well.
        if self.dialer.is_cluster() {
            agree(&lines).await?;
        }
        let commands_are_at = self.link.renew().await?;
        if let (Some(target), [line]) = (&commands_are_at, &*lines)
            && *target != line.master
        {
            return Err(NoPushes::Failed("the master changes".into()));
        }
        let (link, layout) = (self.link, self.layout);
        Reader { link, layout }.try_once(CONNECT_TIMEOUT).await?;
        Ok(Armed {
            lines,
            gone,
            distrusts,
        })
    }

    /// Has one master push.
    async fn track(&self, connection: &mut Connection, master: &Target) -> Result<(), NoPushes> {
        let failed = |text: &str| Reason::from(format!("{master}: CLIENT TRACKING: {text}"));
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in [self.layout.keys(), self.layout.digests()] {
            tracking.arg("PREFIX").arg(prefix);
        }
        let asking = tracking.query_async::<()>(connection);
        match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_lasting(&error) => Err(NoPushes::Refused(failed(&told(&error)))),
            Ok(Err(error)) => Err(NoPushes::Failed(failed(&told(&error)))),
            Err(_) => Err(NoPushes::Failed(failed("no answer in time"))),
        }
    }

    /// Comes back when something may not be heard any more, with the reason.
    async fn watch(&self, armed: &mut Armed) -> Reason {
        let Armed {
            lines,
            gone,
            distrusts,
        } = armed;
        let beats = select_all(lines.iter().map(|line| Box::pin(self.beat(line))));
        tokio::select! {
            () = gone.notified() => "the connection for pushes was closed".into(),
            (why, ..) = beats => why,
            why = self.watch_masters(lines) => why,
            why = distrusted(distrusts) => why,
            () = self.moves(lines) => "lookups are at another server".into(),
        }
    }

    /// Comes back when lookups are made at another server than the one that pushes.
    async fn moves(&self, lines: &[Line]) {
        loop {
            self.link.moved().await;
            let at = self.link.target();
            if at.is_some_and(|at| lines.iter().all(|line| line.master != at)) {
                return;
            }
        }
    }

    /// Asks a server every second until it says that it may not be believed, or too often says nothing.
    async fn beat(&self, line: &Line) -> Reason {
        let mut unanswered = 0;
        let mut answers = FuturesUnordered::new();
        let mut ticks = interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What has been answered is looked at first, so that a process that was stopped does not blame the server.
                biased;
                Some(answer) = answers.next() => match answer {
                    Ok(()) => unanswered = 0,
                    Err(NoBeat::Distrusted(why)) => {
                        // Lookups are not to be made there any more either.
                        self.link.distrust_server(&line.master, &why);
                        return why;
                    }
                    Err(NoBeat::Broken(why)) => return why,
                },
                _ = ticks.tick() => {
                    if unanswered >= BEATS_UNANSWERED {
                        return format!("{}: it does not answer", line.master).into();
                    }
                    unanswered += 1;
                    let mut connection = line.connection.clone();
                    answers.push(async move {
                        self.dialer.beat(line.heartbeat, &mut connection, &line.master).await
                    });
                }
            }
        }
    }

    /// Comes back when a cluster has other masters than those that push.
    async fn watch_masters(&self, lines: &[Line]) -> Reason {
        if !self.dialer.is_cluster() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(BEAT_EVERY).await;
            if let Err(why) = agree(lines).await {
                return why;
            }
        }
    }
}

/// Fails unless each of those masters says that they are all the masters that a cluster has: one that is cut off from the others does
/// not know that another took its place.
async fn agree(lines: &[Line]) -> Result<(), Reason> {
    let asking = lines.iter().map(async |line| {
        let mut connection = line.connection.clone();
        let masters = masters_by(&mut connection, &line.master).await?;
        if masters.iter().eq(lines.iter().map(|line| &line.master)) {
            Ok(())
        } else {
            Err(Reason::from(format!(
                "{}: the cluster has other masters",
                line.master
            )))
        }
    });
    try_join_all(asking).await.map(drop)
}

/// Waits until the server of lookups is not believed any more; why.
async fn distrusted(distrusts: &mut watch::Receiver<Option<Reason>>) -> Reason {
    // Whoever tells lives as long as the source, and with it this.
    _ = distrusts.changed().await;
    let why = distrusts.borrow_and_update().clone();
    why.unwrap_or_else(|| "the server is not believed any more".into())
}

/// Whether a server that answers so will do it again: it does not know the command, or does not let this user send it.
fn is_lasting(error: &RedisError) -> bool {
    matches!(error.code(), Some("ERR" | "NOPERM"))
}

/// Tells the cache of names that were written to; no names at all are all of them.
fn tell(data: &[Value], layout: &Layout, sink: &InvalidationSink) {
    let Some(Value::Array(names)) = data.first() else {
        sink.all_changed();
        return;
    };
    for name in names {
        match layout.read(bytes(name).unwrap_or_default()) {
            Named::Key(id) => sink.key_changed(id),
            Named::Digest(digest) => sink.digest_changed(&digest),
            Named::Unknown => sink.all_changed(),
        }
    }
}
