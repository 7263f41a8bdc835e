//! Keeps a client connected, and drops a connection to a server that is no longer usable.
//!
//! A server that was a master, or a replica connected to one, stays reachable when it is that no
//! more, and keeps answering with old data. So it is asked for its role every second, and
//! sentinels are asked for the master that they name: a master cut off from them does not know that
//! another took its place. An unusable server is not asked for keys either: lookups fail until
//! there is a usable one.

use std::time::Duration;

use super::super::connect::{CONNECT_TIMEOUT, CommandConnection, ServerAddress};
use super::super::error_text::Cause;
use super::super::role::{HEARTBEAT_INTERVAL, HeartbeatError};
use super::{LiveConnection, RedisClient};
use crate::mutex::lock;

impl RedisClient {
    /// Makes a connection when there is none, drives attempts that no caller waits for any more,
    /// and checks the server at its other end. Never ends.
    pub(super) async fn keep_connected(&self) {
        loop {
            match self.connection().await {
                Ok(live) => tokio::select! {
                    () = self.lost.notified() => {}
                    () = self.check_while_live(live) => {}
                },
                Err(_) => tokio::time::sleep(self.until_retry()).await,
            }
        }
    }

    /// Checks the server of a connection every second, until there is another connection or none.
    async fn check_while_live(&self, mut live: LiveConnection) {
        let number = live.number;
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            if self.progress().is_none_or(|now| now.number() != number) {
                return;
            }
            match self.check(&mut live).await {
                Ok(()) => {}
                Err(HeartbeatError::Unusable(cause)) => {
                    return self.drop_if(|live| live.number == number, &cause);
                }
                // The next one is made at once, as after a lookup under which the connection
                // breaks.
                Err(HeartbeatError::Broken(_)) => return self.discard(number),
            }
        }
    }

    /// Fails if the server says, or sentinels say, that it is not usable. No answer is not a
    /// failure: lookups that time out discard a silent connection.
    async fn check(&self, live: &mut LiveConnection) -> Result<(), HeartbeatError> {
        let (CommandConnection::One(connection), Some((address, heartbeat))) =
            (&mut live.commands, &live.server)
        else {
            return Ok(());
        };
        let beat = self.connector.heartbeat(*heartbeat, connection, address);
        if let Ok(answer) = tokio::time::timeout(CONNECT_TIMEOUT, beat).await {
            answer?;
        }
        if !self.connector.has_sentinels() {
            return Ok(());
        }
        let Ok(credentials) = self.connector.files().load().await else {
            return Ok(());
        };
        match self.connector.named_master(&credentials).await {
            Ok(master) if master != *address => {
                let cause = format!("{address}: the sentinels name another master, {master}");
                Err(HeartbeatError::Unusable(cause.into()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Drops the connection if it is to that server, which is no longer usable.
    pub(crate) fn drop_server(&self, address: &ServerAddress, cause: &Cause) {
        self.drop_if(|live| live.address() == Some(address), cause);
    }

    fn drop_if(&self, matches: impl FnOnce(&LiveConnection) -> bool, cause: &Cause) {
        let mut state = lock(&self.state);
        // It may be another one already.
        if !state.live.as_ref().is_some_and(matches) {
            return;
        }
        state.live = None;
        state.fail(Cause::clone(cause), self.clock.monotonic());
        self.unusable.send_replace(Some(Cause::clone(cause)));
        self.lost.notify_one();
        self.failure_noticed.notify_one();
    }

    /// Notified when a server becomes unusable, with the cause.
    pub(crate) fn unusable(&self) -> tokio::sync::watch::Receiver<Option<Cause>> {
        self.unusable.subscribe()
    }

    /// Waits until an attempt to connect failed, or the server became unusable.
    pub(crate) async fn failure_noticed(&self) {
        self.failure_noticed.notified().await;
    }

    fn until_retry(&self) -> Duration {
        let state = lock(&self.state);
        let retry_at = state.failure.as_ref().map(|failure| failure.retry_at);
        // Never zero, so that waiting for it lets other tasks run.
        retry_at
            .unwrap_or_default()
            .saturating_sub(self.clock.monotonic())
            .max(Duration::from_millis(1))
    }
}
