//! The seam between the cache and where keys come from.
//!
//! A source is asked for one digest at a time. Not knowing a digest is an answer; failing to find
//! out is an error, which must not be taken for that answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::invalidation::InvalidationLog;
use crate::authz::digest::{DigestKind, KeyDigest};
use crate::authz::key::KeyRecord;
use crate::tls::CertificateStatus;

#[cfg(test)]
pub(crate) mod contract;

/// What a source knows of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAnswer {
    /// The key that has a secret with that digest.
    Found(Arc<KeyRecord>),
    /// No key has it.
    NotFound,
    /// There is a record and it is not valid; says what is wrong with it.
    Invalid(InvalidRecord),
}

/// An answer, and for how long it may be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReply {
    /// What the source knows.
    pub answer: SourceAnswer,
    /// How long the source says that it may be cached at most, such as `max-age` of `Cache-Control`
    /// (RFC 9111 section 5.2.2.1); zero: not at all. `None` where it does not say.
    pub max_age: Option<Duration>,
}

impl From<SourceAnswer> for SourceReply {
    fn from(answer: SourceAnswer) -> Self {
        Self {
            answer,
            max_age: None,
        }
    }
}

/// A record of a remote source that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record is not valid: {problem}")]
pub struct InvalidRecord {
    /// What is wrong, and where.
    pub problem: Arc<str>,
}

impl InvalidRecord {
    /// A record with that problem, which must not repeat what may be a secret.
    pub fn new(problem: impl Into<Arc<str>>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

/// A source could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It did not answer in time.
    #[error("the source did not answer in time")]
    Timeout,
    /// No connection to it can be made.
    #[error("the source failed: {0}")]
    Unreachable(Arc<str>),
    /// It answers with an error, or not with what an answer is.
    #[error("the source failed: {0}")]
    Failed(Arc<str>),
    /// As many lookups as are allowed are in flight.
    #[error("too many lookups are in flight")]
    Overloaded,
}

/// The digest that probes ask for. No key has it, so that no caller's request is spent on testing a
/// source.
pub fn probe_digest() -> KeyDigest {
    KeyDigest::new(DigestKind::Blake3, blake3::hash(b"keyward probe").into())
}

/// What a source does, for as long as it is borrowed.
pub type SourceFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A lookup.
pub type LookupFuture<'a> = SourceFuture<'a, Result<SourceReply, SourceError>>;

/// Whether a source pushes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushSupport {
    /// It has no way to.
    None,
    /// It could, and its operator does not want it to.
    Disabled,
    /// It is asked to: entries of the cache are valid only while it does, or refuses to.
    Enabled,
}

/// Where keys come from.
pub trait KeySource: Send + Sync {
    /// The `source` label: file, http or redis.
    fn name(&self) -> &'static str;

    /// Looks a digest up, within the source's own timeout, whether or not `follow` runs.
    ///
    /// # Errors
    /// When the source cannot say whether there is such a key.
    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a>;

    /// Connects, in longer than a lookup may take, so that the first lookup need not. A failure is
    /// left to the lookup to report.
    fn connect(&self) -> SourceFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Tries the source once: whether it answers a lookup, and whether it would push changes. Gives
    /// warnings for its operator about a source that can be used.
    ///
    /// # Errors
    /// When either fails.
    fn probe(&self) -> SourceFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(async {
            self.connect().await;
            self.lookup(&probe_digest()).await.map(|_| Vec::new())
        })
    }

    /// Whether changes are pushed.
    fn push(&self) -> PushSupport {
        PushSupport::None
    }

    /// The certificates that it is reached with; `None` where the configuration names none.
    fn certificates(&self) -> Option<&CertificateStatus> {
        None
    }

    /// What the source does by itself while it is in use: reports changes, keeps connections, reads
    /// files again that changed. Never ends.
    fn follow(&self, log: Arc<InvalidationLog>) -> SourceFuture<'_, ()> {
        drop(log);
        Box::pin(std::future::pending())
    }
}
