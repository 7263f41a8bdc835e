//! Whether a server is usable, by its role.
//!
//! A replica answers lookups and pushes changes as a master does, and continues when the link to
//! its master is down: then it misses revocations. So each server is asked for its `ROLE` when a
//! connection to it is made, and every second from then on as a heartbeat. Where the user may not
//! ask, the server is taken for a master, and a warning is logged once.

use std::time::Duration;

use redis::{RedisError, Value};

use super::connect::topology::{bytes, items};
use super::connect::{Connection, Connector, ServerAddress, with_timeout};
use super::error_text::{Cause, describe, is_unknown_command};

/// How often a heartbeat is sent.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) const ROLE_IS_REFUSED: &str = "the user may not ask for ROLE, so that a replica which has lost its master would not be noticed; allow the user `+role`";

/// What a server is sent every second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    Role,
    /// `PING`, where it refuses `ROLE`.
    Ping,
}

/// A heartbeat failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatError {
    /// By its answer the server is not usable.
    Unusable(Cause),
    /// The connection is broken, or the server answered with an error: its role is unknown.
    Broken(Cause),
}

impl Connector {
    /// Asks a server for its role on a new connection, and gives the heartbeat to send from then
    /// on.
    ///
    /// # Errors
    /// When the server is not usable, or does not answer.
    pub(crate) async fn check_role(
        &self,
        connection: &mut Connection,
        target: &ServerAddress,
    ) -> Result<Heartbeat, Cause> {
        match with_timeout(&redis::cmd("ROLE"), connection).await {
            Err(error) if is_refusal(&error) => {
                if self.note_refused_role() {
                    let server = target.to_string();
                    tracing::warn!(source = "redis", server, "{ROLE_IS_REFUSED}");
                }
                Ok(Heartbeat::Ping)
            }
            Err(error) => Err(format!("{target}: {}", describe(&error)).into()),
            Ok(answer) => self
                .check_role_answer(&answer, target)
                .map(|()| Heartbeat::Role),
        }
    }

    /// Sends a heartbeat and waits for the answer as long as it takes.
    ///
    /// # Errors
    /// When the server is not usable, or its role is unknown.
    pub(crate) async fn heartbeat(
        &self,
        heartbeat: Heartbeat,
        connection: &mut Connection,
        target: &ServerAddress,
    ) -> Result<(), HeartbeatError> {
        let command = match heartbeat {
            Heartbeat::Role => redis::cmd("ROLE"),
            Heartbeat::Ping => redis::cmd("PING"),
        };
        match command.query_async::<Value>(connection).await {
            Ok(answer) if heartbeat == Heartbeat::Role => self
                .check_role_answer(&answer, target)
                .map_err(HeartbeatError::Unusable),
            Ok(_) => Ok(()),
            // A refusal is an answer too: the server lives.
            Err(error) if is_refusal(&error) => Ok(()),
            Err(error) => {
                let why = format!("{target}: {}", describe(&error));
                Err(HeartbeatError::Broken(why.into()))
            }
        }
    }

    /// Fails if the answer to `ROLE` means that the server is not usable.
    fn check_role_answer(&self, answer: &Value, target: &ServerAddress) -> Result<(), Cause> {
        let must_be_master = self.has_sentinels() || self.is_cluster();
        let mut words = items(answer).iter().map(bytes);
        let problem = match (words.next().flatten(), words.nth(2).flatten()) {
            (Some(b"slave"), _) if must_be_master => "it is not a master",
            (Some(b"master"), _) | (Some(b"slave"), Some(b"connected")) => return Ok(()),
            (Some(b"slave"), _) => "it is a replica that is not connected to its master",
            (Some(b"sentinel"), _) => "it is a sentinel; name it under `sentinel`",
            _ => "its answer to ROLE is not understood",
        };
        Err(format!("{target}: {problem}").into())
    }
}

/// Whether a server refuses a command to this user, or to all.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || is_unknown_command(error)
}
