//! Why keys in Redis could not be read or written.
//!
//! A command whose answer was lost is a case of its own: whether it was executed is unknown until
//! the key is read. No error repeats a record's content, which may be a secret in the wrong place.

use std::sync::Arc;

use crate::authz::key::KeyId;
use crate::keys::source::InvalidRecord;

/// Keys in Redis could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RedisKeyStoreError {
    /// The record to be written cannot be used.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// The stored value is not a record that could be changed.
    #[error("Redis key `{name}`: {source}")]
    Stored {
        /// The Redis key.
        name: String,
        /// What is wrong with it.
        source: InvalidRecord,
    },
    /// There is a key of that id.
    #[error("there is a key `{0}` already; choose another id")]
    IdTaken(KeyId),
    /// Another key has one of the digests.
    #[error("Redis key `{name}`: another key has the same secret; make another one")]
    DigestTaken {
        /// The Redis key that says so.
        name: String,
    },
    /// There is no key of that id.
    #[error("there is no key `{0}`")]
    NotFound(KeyId),
    /// The key was revoked.
    #[error("the key `{id}` was revoked at {since}, permanently; create another one")]
    Revoked {
        /// The key.
        id: KeyId,
        /// The moment, as the record has it.
        since: String,
    },
    /// The record changed each time before a change of it could be written.
    #[error("the key `{0}` is being changed by others all the time; try again")]
    Contended(KeyId),
    /// Redis cannot be reached, or answers with an error; nothing was written.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Redis has no memory left for a write; nothing was written.
    #[error("{0}")]
    Full(Arc<str>),
    /// The answer to a command that writes was lost, and what came of it could not be read.
    #[error("{0}; whether it was written is not known: look at the key before you try again")]
    Unanswered(Arc<str>),
}

impl RedisKeyStoreError {
    /// The same with what to do about it, for the revocation of the key whose record is that Redis
    /// key.
    pub(super) fn while_revoking(self, name: &str) -> Self {
        if let Self::Full(why) = self {
            let help = "revokes it too, and works when the memory is full";
            Self::Full(format!("{why}; the key is not revoked: `DEL {name}` {help}").into())
        } else {
            self
        }
    }

    /// The same, where it is known that nothing was written.
    pub(super) fn nothing_written(self) -> Self {
        if let Self::Unanswered(why) = self {
            Self::Failed(why)
        } else {
            self
        }
    }
}
