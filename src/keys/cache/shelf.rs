//! What is kept, known and unknown digests apart: a flood of random ones must not push out the keys in use.
//!
//! Forgetting counts an epoch up. Whoever learnt something before that and keeps it after takes it away again, so that nothing
//! that was forgotten comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::super::source::InvalidRecord;
use super::CachedKey;
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::key::KeyRecord;

/// What was learnt, and when: on the monotonic clock, before the source was asked.
#[derive(Debug, Clone)]
pub(super) struct Learnt<T> {
    pub(super) what: T,
    pub(super) at: Duration,
}

/// A known key.
pub(super) enum Kept<P> {
    /// With what was prepared for it.
    Prepared(Arc<CachedKey<P>>),
    /// As it was learnt.
    Bare(Arc<KeyRecord>),
}

// Derived, it would ask for a `P` that can be cloned.
impl<P> Clone for Kept<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Prepared(cached) => Self::Prepared(Arc::clone(cached)),
            Self::Bare(record) => Self::Bare(Arc::clone(record)),
        }
    }
}

/// Why a digest is not known: no key has it, or its record is not valid.
pub(super) type NotKnown = Option<InvalidRecord>;

pub(super) struct Shelf<P> {
    known: Cache<KeyDigest, Learnt<Kept<P>>, DigestHasher>,
    unknown: Cache<KeyDigest, Learnt<NotKnown>, DigestHasher>,
    epoch: AtomicU64,
}

impl<P: Send + Sync + 'static> Shelf<P> {
    /// `negative_ttl` only frees memory here: our clock judges what is fresh.
    pub(super) fn new(capacity: u64, negative_capacity: u64, negative_ttl: Duration) -> Self {
        let mut unknown = Cache::builder().max_capacity(negative_capacity);
        if !negative_ttl.is_zero() {
            unknown = unknown.time_to_live(negative_ttl);
        }
        Self {
            known: Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(DigestHasher::default()),
            unknown: unknown.build_with_hasher(DigestHasher::default()),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(super) fn known(&self, digest: &KeyDigest) -> Option<Learnt<Kept<P>>> {
        self.known.get(digest)
    }

    pub(super) fn unknown(&self, digest: &KeyDigest) -> Option<Learnt<NotKnown>> {
        self.unknown.get(digest)
    }

    /// Keeps what was learnt in that epoch.
    pub(super) fn keep_known(&self, digest: &KeyDigest, learnt: Learnt<Kept<P>>, epoch: u64) {
        if matches!(learnt.what, Kept::Bare(_)) {
            self.unknown.invalidate(digest);
        }
        self.known.insert(*digest, learnt);
        if self.epoch() != epoch {
            self.known.invalidate(digest);
        }
    }

    /// Keeps that a digest was not known in that epoch; what was known of it before is over.
    pub(super) fn keep_unknown(&self, digest: &KeyDigest, learnt: Learnt<NotKnown>, epoch: u64) {
        self.known.invalidate(digest);
        self.unknown.insert(*digest, learnt);
        if self.epoch() != epoch {
            self.unknown.invalidate(digest);
        }
    }

    pub(super) fn forget_all(&self) {
        // First the epoch: whoever inserts after the clearing sees that it has changed.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate_all();
        self.unknown.invalidate_all();
        // moka only marks them; the memory is wanted back.
        self.known.run_pending_tasks();
        self.unknown.run_pending_tasks();
    }

    /// How many known and unknown digests are kept.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.known.run_pending_tasks();
        self.unknown.run_pending_tasks();
        (self.known.entry_count(), self.unknown.entry_count())
    }
}
