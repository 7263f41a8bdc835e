//! The keys of a file: the snapshot's map decides, and what was prepared for keys in use is cached.
//!
//! There is nothing to wait for and nothing that expires: a change of the file is a new snapshot
//! with a new map, and what was prepared under another generation is not used.

use std::sync::Arc;

use moka::sync::Cache;

use super::{CachedKey, Lookup, Prepare, Preparer, bounded};
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::snapshot::Snapshot;
use crate::observe::metrics::CacheMetrics;

/// The keys of a file.
pub struct FileKeys<P> {
    prepared: Cache<KeyDigest, Arc<CachedKey<P>>, DigestHasher>,
    preparer: Preparer<P>,
}

impl<P: Send + Sync + 'static> FileKeys<P> {
    /// Caches what `prepare` gives for up to `capacity` keys. Without metrics lookups are not
    /// counted.
    pub fn new(capacity: usize, prepare: Prepare<P>, metrics: Option<CacheMetrics>) -> Self {
        let prepared = bounded(capacity);
        Self {
            prepared: prepared.build_with_hasher(DigestHasher::default()),
            preparer: Preparer { prepare, metrics },
        }
    }

    /// The key in the snapshot's map.
    pub fn find(&self, digest: &KeyDigest, snapshot: &Snapshot) -> Lookup<P> {
        // A generation has one map, so what was prepared under it is in that map.
        if let Some(cached) = self.prepared.get(digest)
            && cached.generation == snapshot.generation
        {
            self.preparer.count(|metrics| &metrics.hit);
            return Lookup::Known(cached);
        }
        self.preparer.count(|metrics| &metrics.miss);
        let Some(record) = snapshot.keys.as_ref().and_then(|keys| keys.get(digest)) else {
            return Lookup::Unknown;
        };
        let cached = self.preparer.prepare(record, snapshot);
        self.prepared.insert(*digest, Arc::clone(&cached));
        Lookup::Known(cached)
    }

    /// Drops what was prepared, for a reload: else that of the generation before would stay in
    /// memory until it is evicted. May take milliseconds; call it off the threads that serve.
    pub fn clear(&self) {
        self.prepared.invalidate_all();
        // moka only marks the entries; this frees them.
        self.prepared.run_pending_tasks();
    }

    pub(super) fn measure(&self) {
        self.prepared.run_pending_tasks();
        self.preparer.measure((self.prepared.entry_count(), 0));
    }
}
