//! The cache through which the authorizer finds keys: one kind for a file, one for a remote source.
//!
//! Takes a digest and gives the key that has it, with what was prepared for that key under one
//! generation of the configuration. For a file, whose map is in the snapshot, [`FileKeys`] only
//! keeps what was prepared. [`RemoteKeys`] keeps what a source answered: with a negative cache,
//! single-flight lookups, a circuit breaker, invalidation by pushes, and stale-if-error.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::{Cache, CacheBuilder};

use super::source::{InvalidRecord, SourceError};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::{Generation, Snapshot};
use crate::observe::metrics::CacheMetrics;

mod breaker;
mod entries;
mod fetcher;
mod file;
mod lookup_slots;
mod remote;
mod single_flight;

#[cfg(test)]
mod tests;

pub use breaker::SourceHealth;
pub use fetcher::{RemoteMetrics, RemoteSettings};
pub use file::FileKeys;
pub use remote::RemoteKeys;

/// A known key, with what was prepared for it.
#[derive(Debug)]
pub struct CachedKey<P> {
    /// The key's facts.
    pub record: Arc<KeyRecord>,
    /// What was prepared from them under `generation`.
    pub prepared: P,
    /// The generation of the snapshot that it was prepared under.
    pub generation: Generation,
}

/// What is known of a digest.
#[derive(Debug)]
pub enum Lookup<P> {
    /// The key that has it.
    Known(Arc<CachedKey<P>>),
    /// No key has it.
    Unknown,
    /// There is a record and it is not valid.
    Invalid(InvalidRecord),
}

/// A digest could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The source failed for a key in use, or no connection to it can be made.
    #[error(transparent)]
    Unavailable(SourceError),
    /// The lookup failed in a way that any caller can trigger with a made-up key. It must be
    /// answered as a denial: an error of keyward's would open an Envoy that fails open.
    #[error(transparent)]
    Overloaded(SourceError),
}

/// How much is cached, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many known keys are cached; at least 1.
    pub capacity: usize,
    /// How long a known key is fresh.
    pub ttl: Duration,
    /// How many unknown digests are cached; at least 1.
    pub negative_capacity: usize,
    /// How long an unknown digest is fresh, or one whose record is not valid.
    pub negative_ttl: Duration,
    /// How long a known key may be served stale while the source fails.
    pub stale_if_error: Duration,
}

fn bounded<K, V>(capacity: usize) -> CacheBuilder<K, V, Cache<K, V>>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(u64::try_from(capacity).unwrap_or(u64::MAX))
}

/// Prepares what is cached with a key from its record, under a snapshot.
pub type Prepare<P> = Box<dyn Fn(&Arc<KeyRecord>, &Snapshot) -> P + Send + Sync>;

/// The keys of a file or of a remote source.
pub enum KeyCache<P> {
    /// Of a file.
    File(FileKeys<P>),
    /// Of a source that has to be asked.
    Remote(RemoteKeys<P>),
}

impl<P: Send + Sync + 'static> KeyCache<P> {
    /// What is known of a digest under that snapshot.
    ///
    /// # Errors
    /// When the source cannot answer. Never for a file.
    pub async fn find(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
    ) -> Result<Lookup<P>, LookupError> {
        match self {
            Self::File(keys) => Ok(keys.find(digest, snapshot)),
            Self::Remote(keys) => keys.find(digest, snapshot).await,
        }
    }

    /// Updates the gauges of the cache's size, for a scrape.
    pub fn measure(&self) {
        match self {
            Self::File(keys) => keys.measure(),
            Self::Remote(keys) => keys.measure(),
        }
    }
}

/// What both kinds do with a record that they found.
struct Preparer<P> {
    prepare: Prepare<P>,
    metrics: Option<CacheMetrics>,
}

impl<P> Preparer<P> {
    fn prepare(&self, record: &Arc<KeyRecord>, snapshot: &Snapshot) -> Arc<CachedKey<P>> {
        Arc::new(CachedKey {
            record: Arc::clone(record),
            prepared: (self.prepare)(record, snapshot),
            generation: snapshot.generation,
        })
    }

    fn count(&self, which: impl FnOnce(&CacheMetrics) -> &prometheus::IntCounter) {
        if let Some(metrics) = &self.metrics {
            which(metrics).inc();
        }
    }

    fn measure(&self, (keys, negatives): (u64, u64)) {
        if let Some(metrics) = &self.metrics {
            metrics.set_entries(keys, negatives);
        }
    }
}
