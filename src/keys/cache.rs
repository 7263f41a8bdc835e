//! moka in front of the source: known and unknown digests in caches of their own.
//!
//! A known key is held with what was prepared for it under one generation of the configuration. For a file, whose map is
//! always at hand in the snapshot, the map decides and the cache only keeps what is prepared for the keys in use. For a remote
//! source it keeps what was learnt, and `remote` judges by our clock and by what was heard of changes how far to believe it; moka
//! only bounds the memory. An error is never kept, and nobody waits with a lock in hand.

use std::sync::Arc;
use std::time::Duration;

use super::invalidation::{Bucket, EntryValidity, Version};
use super::record::fits;
use super::source::{InvalidRecord, SourceAnswer, SourceError};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::{Generation, Snapshot};
use crate::observe::metrics::CacheMetrics;

mod breaker;
mod entries;
mod lookup_slots;
mod remote;
mod single_flight;

#[cfg(test)]
mod tests;

pub use breaker::SourceHealth;
pub use remote::RemoteSettings;

use entries::{Entry, EntryState, EntryStore, KnownKey, RejectedKey};
use remote::Remote;

/// How often a key is asked for anew that changes while it is looked up.
const MAX_LOOKUPS: usize = 3;

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
    /// The lookup failed in a way that any caller can bring about with a made-up key. It must not be answered as an error of
    /// keyward's, which would open an Envoy that fails open.
    #[error(transparent)]
    Overloaded(SourceError),
}

/// Prepares what is kept with a key from its record, under a snapshot.
pub type Prepare<P> = Box<dyn Fn(&Arc<KeyRecord>, &Snapshot) -> P + Send + Sync>;

/// The cache in front of the source.
pub struct KeyCache<P> {
    entries: Arc<EntryStore<P>>,
    remote: Option<Remote>,
    prepare: Prepare<P>,
    metrics: Option<CacheMetrics>,
}

impl<P: Send + Sync + 'static> KeyCache<P> {
    /// A cache for the keys of a file, with room for `capacity` of them.
    pub fn for_file(capacity: u64, prepare: Prepare<P>) -> Self {
        let entries = Arc::new(EntryStore::for_file(capacity));
        Self {
            entries,
            remote: None,
            prepare,
            metrics: None,
        }
    }

    /// A cache in front of a source that has to be asked.
    pub fn for_source(source: RemoteSettings, prepare: Prepare<P>) -> Self {
        let entries = EntryStore::for_remote(
            source.capacity,
            source.negative_capacity,
            source.negative_ttl,
        );
        let (entries, remote) = (Arc::new(entries), Some(Remote::new(source)));
        Self {
            entries,
            remote,
            prepare,
            metrics: None,
        }
    }

    /// The same, counting its lookups there.
    #[must_use]
    pub fn counted_by(self, metrics: CacheMetrics) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// What is known of a digest under that snapshot.
    ///
    /// # Errors
    /// When the source cannot say.
    pub async fn find(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
    ) -> Result<Lookup<P>, LookupError> {
        match &self.remote {
            None => Ok(self.find_in_file(digest, snapshot)),
            Some(remote) => self.find_remote(digest, snapshot, remote).await,
        }
    }

    /// What the source does by itself, and the watch over it; to be run for as long as the cache is served from. Never ends.
    pub async fn run(&self) {
        match &self.remote {
            None => std::future::pending().await,
            Some(remote) => remote.run().await,
        }
    }

    /// Sets all keys of a file aside: for a reload, so that what was prepared under the generation before it does not outlive
    /// the last check that uses it. May take milliseconds; call it off the threads that serve.
    pub fn clear(&self) {
        self.entries.clear();
    }

    /// Has each key of a remote source looked up at its next use, as far as the source answers.
    pub fn revalidate_all(&self) {
        if let Some(remote) = &self.remote {
            remote.log().revalidate_all();
        }
    }

    /// What is known of the source; `None` for a file, which is not asked.
    pub fn source_health(&self) -> Option<SourceHealth> {
        self.remote.as_ref().map(Remote::health)
    }

    /// Brings the gauges of what is kept up to date, for a scrape. Does what moka has put off.
    pub fn measure(&self) {
        let (keys, negatives) = self.entries.counts();
        if let Some(metrics) = &self.metrics {
            metrics.set_entries(keys, negatives);
        }
    }

    fn find_in_file(&self, digest: &KeyDigest, snapshot: &Snapshot) -> Lookup<P> {
        // A generation is of one map, so that what was prepared under it need not be looked up in the map again.
        if let Some(Entry {
            value:
                KnownKey {
                    kept: EntryState::Prepared(cached),
                    ..
                },
            ..
        }) = self.entries.known(digest)
            && cached.generation == snapshot.generation
        {
            self.count(|metrics| &metrics.hit);
            return Lookup::Known(cached);
        }
        self.count(|metrics| &metrics.miss);
        let Some(record) = snapshot.keys.as_ref().and_then(|keys| keys.get(digest)) else {
            return Lookup::Unknown;
        };
        let cached = self.prepared(record, snapshot);
        let kept = EntryState::Prepared(Arc::clone(&cached));
        // Nothing is heard of a file's changes but by a new generation.
        let entry = Entry {
            value: KnownKey {
                kept,
                buckets: [Bucket::default(); 2],
            },
            at: Duration::ZERO,
            fresh_for: Duration::MAX,
            version: Version::default(),
        };
        self.entries.keep_of_file(digest, entry);
        Lookup::Known(cached)
    }

    async fn find_remote(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
        remote: &Remote,
    ) -> Result<Lookup<P>, LookupError> {
        let begun = remote.log().version();
        let now = remote.now();
        if let Some(entry) = self.entries.known(digest)
            && remote.is_valid(&entry, now)
        {
            self.count(|metrics| &metrics.hit);
            return Ok(self.give(digest, &entry, snapshot, remote));
        }
        if let Some(entry) = self.entries.unknown(digest)
            && remote.is_negative_valid(&entry, now)
        {
            self.count(|metrics| &metrics.negative_hit);
            return Ok(entry.value.map_or(Lookup::Unknown, Lookup::Invalid));
        }
        for _ in 0..MAX_LOOKUPS {
            let outcome = remote.look_up(digest, &self.entries).await;
            let took_off_before = outcome.version < begun;
            let record = match &outcome.answer {
                Ok(SourceAnswer::Found(record)) => record,
                // Whatever was heard before this caller came may have made it known.
                Ok(SourceAnswer::NotFound | SourceAnswer::Invalid(_))
                    if took_off_before
                        && remote.log().validity_of_negative(outcome.version)
                            != EntryValidity::Valid =>
                {
                    continue;
                }
                Ok(SourceAnswer::NotFound) => {
                    self.count(|metrics| &metrics.miss);
                    return Ok(Lookup::Unknown);
                }
                Ok(SourceAnswer::Invalid(invalid)) => {
                    self.count(|metrics| &metrics.miss);
                    return Ok(Lookup::Invalid(invalid.clone()));
                }
                Err(error) => return self.stand_in(digest, snapshot, remote, error),
            };
            let mut entry = outcome.entry(remote.known_key(digest, record));
            match remote.log().validity(entry.version, entry.value.buckets) {
                // It changed while it was under way, or it took off before something was heard that this caller came after.
                EntryValidity::Outdated => continue,
                EntryValidity::Revalidate if took_off_before => continue,
                EntryValidity::Valid | EntryValidity::Revalidate => {}
            }
            // Of all that waited, the first has prepared it for the others.
            if let Some(prepared) = self.entries.known(digest)
                && Arc::ptr_eq(prepared.value.kept.record(), record)
            {
                entry = prepared;
            }
            self.count(|metrics| &metrics.miss);
            return Ok(self.give(digest, &entry, snapshot, remote));
        }
        self.count(|metrics| &metrics.miss);
        let error = SourceError::Failed("the key changes faster than it is read".into());
        Err(self.lookup_error(digest, remote, error))
    }

    /// What a known key may do for a source that failed to answer.
    fn stand_in(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
        remote: &Remote,
        error: &SourceError,
    ) -> Result<Lookup<P>, LookupError> {
        let source_fails = match error {
            SourceError::Timeout | SourceError::Unreachable(_) | SourceError::Failed(_) => true,
            SourceError::Overloaded => false,
        };
        if source_fails
            && let Some(entry) = self.entries.known(digest)
            && remote.may_stand_in(&entry)
            && !self.is_known_to_be_stopped(&entry)
        {
            self.count(|metrics| &metrics.stale);
            return Ok(self.give(digest, &entry, snapshot, remote));
        }
        self.count(|metrics| &metrics.miss);
        Err(self.lookup_error(digest, remote, error.clone()))
    }

    /// Whether a failure may be told as an outage: a caller with a made-up key can bring about timeouts, errors and a queue that is
    /// full, and so can one whose key was found revoked or disabled; none of them can cut the source off.
    fn lookup_error(&self, digest: &KeyDigest, remote: &Remote, error: SourceError) -> LookupError {
        let is_outage = match &error {
            SourceError::Unreachable(_) => true,
            SourceError::Timeout | SourceError::Failed(_) => {
                let recently_known = self.entries.recently_known(digest, remote.now());
                recently_known.is_some_and(|entry| {
                    let is_stopped = entry.value.kept.record().is_stopped();
                    !is_stopped && !self.is_known_to_be_stopped(&entry)
                })
            }
            SourceError::Overloaded => false,
        };
        if is_outage {
            LookupError::Unavailable(error)
        } else {
            LookupError::Overloaded(error)
        }
    }

    /// Whether another of the key's digests was looked up since, and the key found revoked or disabled.
    fn is_known_to_be_stopped(&self, entry: &Entry<KnownKey<P>>) -> bool {
        let record = entry.value.kept.record();
        !record.is_stopped() && self.entries.was_stopped_since(&record.id, entry.at)
    }

    /// A known key as it is used under that snapshot, unless it does not fit its policy.
    fn give(
        &self,
        digest: &KeyDigest,
        entry: &Entry<KnownKey<P>>,
        snapshot: &Snapshot,
        remote: &Remote,
    ) -> Lookup<P> {
        let generation = snapshot.generation;
        let record = match &entry.value.kept {
            EntryState::Prepared(cached) if cached.generation == generation => {
                return Lookup::Known(Arc::clone(cached));
            }
            EntryState::Rejected(refused) if refused.generation == generation => {
                return Lookup::Invalid(refused.invalid.clone());
            }
            kept @ (EntryState::Prepared(_) | EntryState::Rejected(_) | EntryState::Fetched(_)) => {
                Arc::clone(kept.record())
            }
        };
        if let Err(invalid) = fits(&record, &snapshot.policy) {
            tracing::warn!(%digest, problem = %invalid.problem, "a key is refused for its record");
            let refused = Arc::new(RejectedKey {
                record: Arc::clone(&record),
                invalid: invalid.clone(),
                generation,
            });
            self.entries.replace(digest, &record, |entry| Entry {
                fresh_for: entry.fresh_for.min(remote.negative_ttl()),
                ..entry.with_kept(EntryState::Rejected(refused))
            });
            return Lookup::Invalid(invalid);
        }
        let cached = self.prepared(&record, snapshot);
        let prepared = EntryState::Prepared(Arc::clone(&cached));
        self.entries
            .replace(digest, &record, |entry| entry.with_kept(prepared));
        Lookup::Known(cached)
    }

    /// A key with what is kept with it.
    fn prepared(&self, record: &Arc<KeyRecord>, snapshot: &Snapshot) -> Arc<CachedKey<P>> {
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
}
