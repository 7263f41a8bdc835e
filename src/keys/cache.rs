//! moka in front of the source: known and unknown digests in caches of their own.
//!
//! A known key is held with what was prepared for it under one generation of the configuration. For a file, whose map is
//! always at hand in the snapshot, the map decides and the cache only keeps what is prepared for the keys in use. For a remote
//! source it keeps what was learnt for as long as it is fresh by our clock; moka only bounds the memory. An error is
//! never kept, and nobody waits with a lock in hand. The server builds `for_file` alone as yet; `for_source` is what remote
//! sources will use.

use std::sync::Arc;
use std::time::Duration;

use super::source::{InvalidRecord, SourceAnswer, SourceError};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::{Generation, Snapshot};
use crate::observe::metrics::CacheMetrics;

mod flight;
mod remote;
mod shelf;

#[cfg(test)]
mod tests;

pub use remote::RemoteSource;

use remote::Remote;
use shelf::{Kept, Learnt, Shelf};

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

/// Prepares what is kept with a key from its record, under a snapshot.
pub type Prepare<P> = Box<dyn Fn(&Arc<KeyRecord>, &Snapshot) -> P + Send + Sync>;

/// The cache in front of the source.
pub struct KeyCache<P> {
    shelf: Arc<Shelf<P>>,
    remote: Option<Remote>,
    prepare: Prepare<P>,
    metrics: Option<CacheMetrics>,
}

impl<P: Send + Sync + 'static> KeyCache<P> {
    /// A cache for the keys of a file, with room for `capacity` of them.
    pub fn for_file(capacity: u64, prepare: Prepare<P>) -> Self {
        // Unknown digests are not kept: the map knows as fast.
        let shelf = Arc::new(Shelf::new(capacity, 0, Duration::ZERO));
        Self {
            shelf,
            remote: None,
            prepare,
            metrics: None,
        }
    }

    /// A cache in front of a source that has to be asked, as remote ones will be.
    pub fn for_source(source: RemoteSource, prepare: Prepare<P>) -> Self {
        let shelf = Shelf::new(
            source.capacity,
            source.negative_capacity,
            source.negative_ttl,
        );
        let (shelf, remote) = (Arc::new(shelf), Some(Remote::new(source)));
        Self {
            shelf,
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
    ) -> Result<Lookup<P>, SourceError> {
        match &self.remote {
            None => Ok(self.find_in_file(digest, snapshot)),
            Some(remote) => self.find_remote(digest, snapshot, remote).await,
        }
    }

    /// Sets all that is kept aside: for a reload, so that what was prepared under the generation before it does not outlive
    /// the last check that uses it. May take milliseconds; call it off the threads that serve.
    pub fn forget_all(&self) {
        self.shelf.forget_all();
        if let Some(remote) = &self.remote {
            remote.forget_all();
        }
    }

    /// Brings the gauges of what is kept up to date, for a scrape. Does what moka has put off.
    pub fn measure(&self) {
        let (keys, negatives) = self.shelf.counts();
        if let Some(metrics) = &self.metrics {
            metrics.set_entries(keys, negatives);
        }
    }

    fn find_in_file(&self, digest: &KeyDigest, snapshot: &Snapshot) -> Lookup<P> {
        let epoch = self.shelf.epoch();
        // A generation is of one map, so that what was prepared under it need not be looked up in the map again.
        if let Some(Learnt {
            what: Kept::Prepared(cached),
            ..
        }) = self.shelf.known(digest)
            && cached.generation == snapshot.generation
        {
            self.count(|metrics| &metrics.hit);
            return Lookup::Known(cached);
        }
        self.count(|metrics| &metrics.miss);
        let Some(record) = snapshot.keys.as_ref().and_then(|keys| keys.get(digest)) else {
            return Lookup::Unknown;
        };
        Lookup::Known(self.prepare(digest, record, snapshot, Duration::ZERO, epoch))
    }

    async fn find_remote(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
        remote: &Remote,
    ) -> Result<Lookup<P>, SourceError> {
        let epoch = self.shelf.epoch();
        let now = remote.now();
        if let Some(Learnt { what, at }) = self.shelf.known(digest)
            && now.saturating_sub(at) < remote.ttl()
        {
            self.count(|metrics| &metrics.hit);
            return Ok(Lookup::Known(match what {
                Kept::Prepared(cached) if cached.generation == snapshot.generation => cached,
                Kept::Prepared(cached) => self.prepare(digest, &cached.record, snapshot, at, epoch),
                Kept::Bare(record) => self.prepare(digest, &record, snapshot, at, epoch),
            }));
        }
        if let Some(Learnt { what, at }) = self.shelf.unknown(digest)
            && now.saturating_sub(at) < remote.negative_ttl()
        {
            self.count(|metrics| &metrics.negative_hit);
            return Ok(what.map_or(Lookup::Unknown, Lookup::Invalid));
        }
        self.count(|metrics| &metrics.miss);
        let landed = remote.look_up(digest, &self.shelf).await;
        match landed.answer? {
            SourceAnswer::NotFound => Ok(Lookup::Unknown),
            SourceAnswer::Invalid(invalid) => Ok(Lookup::Invalid(invalid)),
            SourceAnswer::Found(record) => {
                // Of all that waited, the first has prepared it for the others.
                if let Some(Learnt {
                    what: Kept::Prepared(cached),
                    ..
                }) = self.shelf.known(digest)
                    && cached.generation == snapshot.generation
                    && Arc::ptr_eq(&cached.record, &record)
                {
                    return Ok(Lookup::Known(cached));
                }
                Ok(Lookup::Known(self.prepare(
                    digest,
                    &record,
                    snapshot,
                    landed.asked_at,
                    landed.epoch,
                )))
            }
        }
    }

    /// Prepares what is kept with the key, and keeps it.
    fn prepare(
        &self,
        digest: &KeyDigest,
        record: &Arc<KeyRecord>,
        snapshot: &Snapshot,
        at: Duration,
        epoch: u64,
    ) -> Arc<CachedKey<P>> {
        let cached = Arc::new(CachedKey {
            record: Arc::clone(record),
            prepared: (self.prepare)(record, snapshot),
            generation: snapshot.generation,
        });
        self.shelf.keep_known(
            digest,
            Learnt {
                what: Kept::Prepared(Arc::clone(&cached)),
                at,
            },
            epoch,
        );
        cached
    }

    fn count(&self, which: impl FnOnce(&CacheMetrics) -> &prometheus::IntCounter) {
        if let Some(metrics) = &self.metrics {
            which(metrics).inc();
        }
    }
}
