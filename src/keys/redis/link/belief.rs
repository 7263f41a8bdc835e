//! Keeps a connection there, and gives up one to a server that may not be believed any more.
//!
//! A server that was a master, or a replica connected to one, stays reachable and goes on answering when it is that no more, and its
//! answers are old. So its role is asked for every second, and sentinels are asked for the master that they name: a master that is cut off
//! from them does not know that another took its place. A server that is not believed is not asked either: lookups fail until
//! there is one that is.

use std::time::Duration;

use super::super::dial::{CONNECT_TIMEOUT, Target, Wire};
use super::super::fault::Reason;
use super::super::role::{BEAT_EVERY, NoBeat};
use super::{Failed, Link, Up, lock};

impl Link {
    /// Makes a connection when there is none, drives attempts that lookups no longer wait for, and watches the server at its other
    /// end. Never ends.
    pub(in super::super) async fn keep(&self) {
        loop {
            match self.connection().await {
                Ok(up) => tokio::select! {
                    () = self.lost.notified() => {}
                    () = self.watch(up) => {}
                },
                Err(_) => tokio::time::sleep(self.until_due()).await,
            }
        }
    }

    /// Watches the server of a connection until there is another connection or none.
    async fn watch(&self, mut up: Up) {
        let number = up.number;
        loop {
            tokio::time::sleep(BEAT_EVERY).await;
            if self.glimpse().is_none_or(|now| now.number != number) {
                return;
            }
            match self.check(&mut up).await {
                Ok(()) => {}
                Err(NoBeat::Distrusted(why)) => {
                    return self.distrust(|up| up.number == number, &why);
                }
                // Another one is made at once, as it is for a lookup under which it breaks.
                Err(NoBeat::Broken(_)) => return self.discard(number),
            }
        }
    }

    /// Fails if the server says, or sentinels say, that it is not to be believed. A server that does not answer says nothing: lookups
    /// find out by themselves.
    async fn check(&self, up: &mut Up) -> Result<(), NoBeat> {
        let (Wire::One(connection), Some((target, heartbeat))) = (&mut up.wire, &up.server) else {
            return Ok(());
        };
        let beat = self.dialer.beat(*heartbeat, connection, target);
        if let Ok(answer) = tokio::time::timeout(CONNECT_TIMEOUT, beat).await {
            answer?;
        }
        if !self.dialer.has_sentinels() {
            return Ok(());
        }
        let Ok(material) = self.dialer.files().load().await else {
            return Ok(());
        };
        match self.dialer.named_master(&material).await {
            Ok(master) if master != *target => {
                let why = format!("{target}: the sentinels name another master, {master}");
                Err(NoBeat::Distrusted(why.into()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Gives up the connection if it is to that server.
    pub(in super::super) fn distrust_server(&self, target: &Target, why: &Reason) {
        self.distrust(|up| up.target() == Some(target), why);
    }

    fn distrust(&self, is_meant: impl FnOnce(&Up) -> bool, why: &Reason) {
        let mut inner = lock(&self.inner);
        // It may be another one already.
        if !inner.up.as_ref().is_some_and(is_meant) {
            return;
        }
        inner.up = None;
        inner.failed = Some(Failed {
            reason: Reason::clone(why),
            due: self.clock.monotonic() + inner.backoff.pause(),
        });
        self.distrusted.send_replace(Some(Reason::clone(why)));
        self.lost.notify_one();
        self.trouble.notify_one();
    }

    /// Tells from now on when a server is not believed any more, and why.
    pub(in super::super) fn distrusts(&self) -> tokio::sync::watch::Receiver<Option<Reason>> {
        self.distrusted.subscribe()
    }

    /// Waits until there is a reason to suspect the source: no connection can be made, or its server is not believed any more.
    pub(in super::super) async fn trouble(&self) {
        self.trouble.notified().await;
    }

    fn until_due(&self) -> Duration {
        let due = lock(&self.inner).failed.as_ref().map(|failed| failed.due);
        // Never nothing, so that whoever waits for it does let others run.
        due.unwrap_or_default()
            .saturating_sub(self.clock.monotonic())
            .max(Duration::from_millis(1))
    }
}
