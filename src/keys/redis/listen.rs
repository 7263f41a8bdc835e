//! Hears of changes: a connection to each master on which the server tells what was written (client-side caching, `CLIENT
//! TRACKING` in broadcasting mode).
//!
//! Takes what the servers push and tells the cache. What is armed is all or nothing: only when every master has been told to
//! push, and the connection for lookups has been made anew so that it cannot be to a server that is no master any more, may the
//! cache believe what it holds. A connection that does not answer pings, or a change of masters, ends that, and all is made anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{select_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::super::backoff::Backoff;
use super::super::push::Pushes;
use super::dial::topology::{bytes, check_role, is_master, masters_by};
use super::dial::{CONNECT_TIMEOUT, Connection, Dialer, Target};
use super::fault::{Reason, told};
use super::layout::{Layout, Named};
use super::link::{BACKOFF_MAX, BACKOFF_MIN, Link};
use crate::authz::clock::Clock;

/// How often each connection is pinged, and a cluster asked for its masters.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A connection with so many pings unanswered is not believed in any more.
const PINGS_UNANSWERED: u32 = 3;
/// Pushes that were armed for so long were not armed in vain: what comes after is a new failure, and is tried at once.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Hears of changes.
pub(super) struct Listener<'a> {
    pub(super) dialer: &'a Dialer,
    pub(super) link: &'a Link,
    pub(super) layout: &'a Layout,
    pub(super) clock: &'a dyn Clock,
    pub(super) pushes: Pushes,
}

/// A connection on which a master pushes.
pub(super) struct Line {
    master: Target,
    connection: Connection,
}

impl Listener<'_> {
    /// Keeps hearing. Never ends.
    pub(super) async fn listen(&self) {
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        let mut told: Option<Reason> = None;
        loop {
            match self.arm().await {
                Ok((lines, gone)) => {
                    self.pushes.armed();
                    let since = self.clock.monotonic();
                    let why = self.watch(&lines, &gone).await;
                    self.pushes.lost(&why);
                    told = None;
                    if self.clock.monotonic().saturating_sub(since) >= STEADY_AFTER {
                        backoff.reset();
                    }
                }
                Err(why) => {
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(
                            source = "redis",
                            why = &*why,
                            "changes of keys are not pushed; each key is looked up at its next use"
                        );
                    }
                    self.pushes.lost(&why);
                    told = Some(why);
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Has every master push.
    pub(super) async fn arm(&self) -> Result<(Vec<Line>, Arc<Notify>), Reason> {
        let material = self.dialer.files().load().await?;
        let masters = self.dialer.masters(&material).await?;
        let gone = Arc::new(Notify::new());
        let lines = masters.iter().map(async |master| {
            let (layout, pushes) = (self.layout.clone(), self.pushes.clone());
            let gone = Arc::clone(&gone);
            let heard = move |push: PushInfo| {
                if push.kind == PushKind::Invalidate {
                    tell(&push.data, &layout, &pushes);
                } else if push.kind == PushKind::Disconnection {
                    gone.notify_one();
                }
            };
            let connection = self.dialer.pushes(master, &material, heard).await?;
            let mut line = Line {
                master: master.clone(),
                connection,
            };
            self.track(&mut line).await?;
            Ok::<_, Reason>(line)
        });
        let mut lines = try_join_all(lines).await?;
        // What has become a master since must push as well.
        if self.dialer.is_cluster()
            && let Some(line) = lines.first_mut()
            && masters_by(&mut line.connection, &line.master).await? != masters
        {
            return Err("the cluster's masters change".into());
        }
        let commands_are_at = self.link.renew().await?;
        if let (Some(target), [line]) = (&commands_are_at, &*lines)
            && *target != line.master
        {
            return Err("the master changes".into());
        }
        Ok((lines, gone))
    }

    /// Has one master push.
    async fn track(&self, line: &mut Line) -> Result<(), Reason> {
        let failed = |text: &str| Reason::from(format!("{}: {text}", line.master));
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in [self.layout.keys(), self.layout.digests()] {
            tracking.arg("PREFIX").arg(prefix);
        }
        let asking = tracking.query_async::<()>(&mut line.connection);
        match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(&format!("CLIENT TRACKING: {}", told(&error)))),
            Err(_) => return Err(failed("CLIENT TRACKING: no answer in time")),
        }
        if self.dialer.has_sentinels() {
            check_role(&mut line.connection, &line.master).await?;
        }
        Ok(())
    }

    /// Comes back when something may not be heard any more, with the reason.
    async fn watch(&self, lines: &[Line], gone: &Notify) -> Reason {
        let pings = select_all(lines.iter().map(|line| Box::pin(self.ping(line))));
        tokio::select! {
            () = gone.notified() => "the connection for pushes was closed".into(),
            (why, ..) = pings => why,
            why = self.watch_masters(lines) => why,
            why = self.watch_sentinels(lines) => why,
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

    /// Comes back when the sentinels name another master than the one that pushes: cut off from them and from its replicas, that one
    /// goes on as if it were still the master.
    async fn watch_sentinels(&self, lines: &[Line]) -> Reason {
        let Some(line) = lines.first().filter(|_| self.dialer.has_sentinels()) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(PING_EVERY).await;
            // Where they cannot be asked they have no say.
            let Ok(material) = self.dialer.files().load().await else {
                continue;
            };
            match self.dialer.named_master(&material).await {
                Ok(master) if master != line.master => {
                    return format!("the sentinels name another master, {master}").into();
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Pings a connection until too few are answered.
    async fn ping(&self, line: &Line) -> Reason {
        let failed = |text: &str| Reason::from(format!("{}: {text}", line.master));
        let mut unanswered = 0;
        let mut answers = FuturesUnordered::new();
        let mut ticks = interval(PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What has been answered is looked at first, so that a process that was stopped does not blame the server.
                biased;
                Some(answer) = answers.next() => match answer {
                    Ok(()) => unanswered = 0,
                    Err(why) => return why,
                },
                _ = ticks.tick() => {
                    if unanswered >= PINGS_UNANSWERED {
                        return failed("it does not answer");
                    }
                    unanswered += 1;
                    answers.push(self.ping_once(line));
                }
            }
        }
    }

    async fn ping_once(&self, line: &Line) -> Result<(), Reason> {
        let mut connection = line.connection.clone();
        let failed = |error| Reason::from(format!("{}: {}", line.master, told(&error)));
        if self.dialer.has_sentinels() {
            let role = redis::cmd("ROLE");
            let role = role.query_async::<Value>(&mut connection).await;
            return is_master(&role.map_err(failed)?)
                .then_some(())
                .ok_or_else(|| Reason::from(format!("{}: it is not a master", line.master)));
        }
        let ping = redis::cmd("PING");
        ping.query_async(&mut connection).await.map_err(failed)
    }

    /// Comes back when a cluster has other masters than those that push.
    async fn watch_masters(&self, lines: &[Line]) -> Reason {
        let Some(first) = lines.first().filter(|_| self.dialer.is_cluster()) else {
            return std::future::pending().await;
        };
        let mut connection = first.connection.clone();
        loop {
            tokio::time::sleep(PING_EVERY).await;
            match masters_by(&mut connection, &first.master).await {
                Ok(masters) if masters.iter().eq(lines.iter().map(|line| &line.master)) => {}
                Ok(_) => return "the cluster has other masters".into(),
                Err(why) => return why,
            }
        }
    }
}

/// Tells the cache of names that were written to; no names at all are all of them.
fn tell(data: &[Value], layout: &Layout, pushes: &Pushes) {
    let Some(Value::Array(names)) = data.first() else {
        pushes.all_changed();
        return;
    };
    for name in names {
        match layout.read(bytes(name).unwrap_or_default()) {
            Named::Key(id) => pushes.key_changed(id),
            Named::Digest(digest) => pushes.digest_changed(&digest),
            Named::Unknown => pushes.all_changed(),
        }
    }
}
