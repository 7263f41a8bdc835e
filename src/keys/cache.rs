//! moka in front of the source: known and unknown digests in caches of their own.
//!
//! A known key is held with what was prepared for it under one generation of the configuration. For a file, whose map is
//! always at hand in the snapshot, the map decides and the cache only keeps what is prepared for the keys in use.

use std::sync::Arc;

use super::source::{InvalidRecord, SourceError};
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::{Generation, Snapshot};

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
    known: moka::sync::Cache<KeyDigest, Arc<CachedKey<P>>, DigestHasher>,
    prepare: Prepare<P>,
}

impl<P: Send + Sync + 'static> KeyCache<P> {
    /// A cache for the keys of a file, with room for `capacity` of them.
    pub fn for_file(capacity: u64, prepare: Prepare<P>) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .build_with_hasher(DigestHasher::default());
        Self { known, prepare }
    }

    /// What is known of a digest under that snapshot.
    ///
    /// # Errors
    /// When the source cannot say.
    #[expect(clippy::unused_async, reason = "remote sources are waited for")]
    pub async fn find(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
    ) -> Result<Lookup<P>, SourceError> {
        let Some(record) = snapshot.keys.as_ref().and_then(|keys| keys.get(digest)) else {
            return Ok(Lookup::Unknown);
        };
        if let Some(cached) = self
            .known
            .get(digest)
            .filter(|cached| cached.generation == snapshot.generation)
        {
            return Ok(Lookup::Known(cached));
        }
        let cached = Arc::new(CachedKey {
            record: Arc::clone(record),
            prepared: (self.prepare)(record, snapshot),
            generation: snapshot.generation,
        });
        self.known.insert(*digest, Arc::clone(&cached));
        Ok(Lookup::Known(cached))
    }
}
