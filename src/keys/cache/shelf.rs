//! What is kept, known and unknown digests apart: a flood of random ones must not push out the keys in use.
//!
//! It keeps and judges nothing: what it gives may be old, doubtful or outdated, and stays there all the same, for it tells whether a
//! digest was known lately, and may have to stand in while the source fails.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::super::push::{Slot, Stamp};
use super::super::source::InvalidRecord;
use super::CachedKey;
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::key::KeyRecord;

/// A known key that nobody asked for in so long is not kept: its series in the metrics go after an hour too, and must go last.
const IDLE: Duration = Duration::from_mins(59);

/// What was learnt, and what tells how far to believe it.
#[derive(Debug, Clone)]
pub(super) struct Learnt<T> {
    pub(super) what: T,
    /// When the source was asked, on the monotonic clock.
    pub(super) at: Duration,
    /// How long it is fresh from then on.
    pub(super) fresh_for: Duration,
    /// What had been heard of changes at that moment.
    pub(super) stamp: Stamp,
}

impl<T> Learnt<T> {
    /// Something else of the same age and worth.
    pub(super) fn with<U>(&self, what: U) -> Learnt<U> {
        Learnt {
            what,
            at: self.at,
            fresh_for: self.fresh_for,
            stamp: self.stamp,
        }
    }

    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < self.fresh_for
    }

    /// The moment from which on it is not fresh any more.
    pub(super) fn stale_at(&self) -> Duration {
        self.at.saturating_add(self.fresh_for)
    }
}

/// A known key, and where its changes are noted.
pub(super) struct KnownKey<P> {
    pub(super) kept: Kept<P>,
    pub(super) slots: [Slot; 2],
}

// Derived, it would ask for a `P` that can be cloned.
impl<P> Clone for KnownKey<P> {
    fn clone(&self) -> Self {
        Self {
            kept: self.kept.clone(),
            slots: self.slots,
        }
    }
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

impl<P> Kept<P> {
    pub(super) fn record(&self) -> &Arc<KeyRecord> {
        match self {
            Self::Prepared(cached) => &cached.record,
            Self::Bare(record) => record,
        }
    }
}

/// Why a digest is not known: no key has it, or its record is not valid.
pub(super) type NotKnown = Option<InvalidRecord>;

pub(super) struct Shelf<P> {
    known: Cache<KeyDigest, Learnt<KnownKey<P>>, DigestHasher>,
    unknown: Cache<KeyDigest, Learnt<NotKnown>, DigestHasher>,
}

impl<P: Send + Sync + 'static> Shelf<P> {
    /// For the keys of a file, of which a map knows as fast what is not known.
    pub(super) fn for_file(capacity: u64) -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(DigestHasher::default()),
            unknown: Cache::builder()
                .max_capacity(0)
                .build_with_hasher(DigestHasher::default()),
        }
    }

    /// `negative_ttl` only frees memory here: our clock judges what is fresh.
    pub(super) fn for_remote(
        capacity: u64,
        negative_capacity: u64,
        negative_ttl: Duration,
    ) -> Self {
        let mut unknown = Cache::builder().max_capacity(negative_capacity);
        if !negative_ttl.is_zero() {
            unknown = unknown.time_to_live(negative_ttl);
        }
        Self {
            known: Cache::builder()
                .max_capacity(capacity)
                .time_to_idle(IDLE)
                .build_with_hasher(DigestHasher::default()),
            unknown: unknown.build_with_hasher(DigestHasher::default()),
        }
    }

    pub(super) fn known(&self, digest: &KeyDigest) -> Option<Learnt<KnownKey<P>>> {
        self.known.get(digest)
    }

    pub(super) fn unknown(&self, digest: &KeyDigest) -> Option<Learnt<NotKnown>> {
        self.unknown.get(digest)
    }

    /// Keeps a known key.
    pub(super) fn keep_known(&self, digest: &KeyDigest, learnt: Learnt<KnownKey<P>>) {
        if matches!(learnt.what.kept, Kept::Bare(_)) {
            self.unknown.invalidate(digest);
        }
        self.known.insert(*digest, learnt);
    }

    /// Keeps that a digest is not known; what was known of it before is over.
    pub(super) fn keep_unknown(&self, digest: &KeyDigest, learnt: Learnt<NotKnown>) {
        self.known.invalidate(digest);
        self.unknown.insert(*digest, learnt);
    }

    pub(super) fn forget_known(&self) {
        self.known.invalidate_all();
        // moka only marks them; the memory is wanted back.
        self.known.run_pending_tasks();
    }

    pub(super) fn forget_unknown(&self) {
        self.unknown.invalidate_all();
        self.unknown.run_pending_tasks();
    }

    /// How many known and unknown digests are kept.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.known.run_pending_tasks();
        self.unknown.run_pending_tasks();
        (self.known.entry_count(), self.unknown.entry_count())
    }
}
