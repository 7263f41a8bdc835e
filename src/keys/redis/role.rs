//! Whether a server may be believed, by its role.
//!
//! A replica answers lookups and pushes changes as a master does, and goes on when the link to its master is down: then it knows
//! nothing of a revocation. So a server is asked for its `ROLE` when a connection to it is made, and every second from then on,
//! which tells that it lives, too. A user that may not ask is served as if by a master; the source says so once.

use std::time::Duration;

use redis::{RedisError, Value};

use super::dial::topology::{bytes, items};
use super::dial::{Connection, Dialer, Target, in_time};
use super::fault::{Reason, is_unknown_command, told};

/// How often a server is asked.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What is said where `ROLE` is refused.
pub(super) const ROLE_IS_REFUSED: &str = "the user may not ask for ROLE, so that a replica which has lost its master would not be noticed; allow the user `+role`";

/// What a server is asked every second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heartbeat {
    /// Its role.
    Role,
    /// Only whether it lives, for it does not tell its role.
    Ping,
}

/// Why there was no heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoBeat {
    /// The server says that it may not be believed.
    Distrusted(Reason),
    /// The connection is broken, or the server answers with something else: nothing is known of it.
    Broken(Reason),
}

impl Dialer {
    /// Asks a server for its role on a new connection, and gives what to ask it from then on.
    ///
    /// # Errors
    /// When the server may not be believed, or does not answer.
    pub(super) async fn check_role(
        &self,
        connection: &mut Connection,
        target: &Target,
    ) -> Result<Heartbeat, Reason> {
        match in_time(&redis::cmd("ROLE"), connection).await {
            Err(error) if is_refusal(&error) => {
                if self.note_refused_role() {
                    let server = target.to_string();
                    tracing::warn!(source = "redis", server, "{ROLE_IS_REFUSED}");
                }
                Ok(Heartbeat::Ping)
            }
            Err(error) => Err(format!("{target}: {}", told(&error)).into()),
            Ok(answer) => self.judge(&answer, target).map(|()| Heartbeat::Role),
        }
    }

    /// Asks a server what it is asked every second, for as long as it takes to answer.
    ///
    /// # Errors
    /// When the server may not be believed, or that can't be told.
    pub(super) async fn beat(
        &self,
        heartbeat: Heartbeat,
        connection: &mut Connection,
        target: &Target,
    ) -> Result<(), NoBeat> {
        let command = match heartbeat {
            Heartbeat::Role => redis::cmd("ROLE"),
            Heartbeat::Ping => redis::cmd("PING"),
        };
        match command.query_async::<Value>(connection).await {
            Ok(answer) if heartbeat == Heartbeat::Role => {
                self.judge(&answer, target).map_err(NoBeat::Distrusted)
            }
            Ok(_) => Ok(()),
            // A refusal is an answer, and answers are what tells that a server lives.
            Err(error) if is_refusal(&error) => Ok(()),
            Err(error) => {
                let why = format!("{target}: {}", told(&error));
                Err(NoBeat::Broken(why.into()))
            }
        }
    }

    /// What an answer to `ROLE` means.
    fn judge(&self, answer: &Value, target: &Target) -> Result<(), Reason> {
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

/// Whether a server refuses a command to this user, or to everybody.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || is_unknown_command(error)
}
