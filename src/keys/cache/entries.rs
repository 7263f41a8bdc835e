//! What is kept, known and unknown digests apart: a flood of random ones must not push out the keys in use.
//!
//! It keeps and judges nothing: what it gives may be old, doubtful or outdated, and stays there all the same, for it tells whether a
//! digest was recently known, and may have to stand in while the source fails.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::super::invalidation::{Bucket, Version};
use super::super::source::InvalidRecord;
use super::CachedKey;
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Generation;

/// A known key that nobody asked for in so long is not kept: its series in the metrics go after an hour too, and must go last.
const IDLE: Duration = Duration::from_mins(59);

/// A digest that a lookup found within this time is recently known.
pub(super) const RECENTLY_KNOWN: Duration = Duration::from_hours(1);

/// What was learnt, and what tells how far to believe it.
#[derive(Debug, Clone)]
pub(super) struct Entry<T> {
    pub(super) value: T,
    /// When the source was asked, on the monotonic clock.
    pub(super) at: Duration,
    /// How long it is fresh from then on.
    pub(super) fresh_for: Duration,
    /// What had been heard of changes at that moment.
    pub(super) version: Version,
}

impl<T> Entry<T> {
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < self.fresh_for
    }

    /// Whether the source was asked within the last hour.
    pub(super) fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < RECENTLY_KNOWN
    }

    /// The moment from which on it is not fresh any more.
    pub(super) fn stale_at(&self) -> Duration {
        self.at.saturating_add(self.fresh_for)
    }
}

impl<P> Entry<KnownKey<P>> {
    /// The same key of the same age and worth, kept in another way.
    pub(super) fn with_kept(self, kept: EntryState<P>) -> Self {
        let buckets = self.value.buckets;
        Self {
            value: KnownKey { kept, buckets },
            ..self
        }
    }
}

/// A known key, and where its changes are noted.
pub(super) struct KnownKey<P> {
    pub(super) kept: EntryState<P>,
    pub(super) buckets: [Bucket; 2],
}

// Derived, it would ask for a `P` that can be cloned.
impl<P> Clone for KnownKey<P> {
    fn clone(&self) -> Self {
        Self {
            kept: self.kept.clone(),
            buckets: self.buckets,
        }
    }
}

/// A known key.
pub(super) enum EntryState<P> {
    /// With what was prepared for it.
    Prepared(Arc<CachedKey<P>>),
    /// Refused, because it does not fit a policy.
    Rejected(Arc<RejectedKey>),
    /// As it was learnt.
    Fetched(Arc<KeyRecord>),
}

/// A key that does not fit the policy of a generation.
pub(super) struct RejectedKey {
    pub(super) record: Arc<KeyRecord>,
    pub(super) invalid: InvalidRecord,
    pub(super) generation: Generation,
}

// Derived, it would ask for a `P` that can be cloned.
impl<P> Clone for EntryState<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Prepared(cached) => Self::Prepared(Arc::clone(cached)),
            Self::Rejected(refused) => Self::Rejected(Arc::clone(refused)),
            Self::Fetched(record) => Self::Fetched(Arc::clone(record)),
        }
    }
}

impl<P> EntryState<P> {
    pub(super) fn record(&self) -> &Arc<KeyRecord> {
        match self {
            Self::Prepared(cached) => &cached.record,
            Self::Rejected(refused) => &refused.record,
            Self::Fetched(record) => record,
        }
    }
}

/// Why a digest is not known: no key has it, or its record is not valid.
pub(super) type Negative = Option<InvalidRecord>;

pub(super) struct EntryStore<P> {
    known: Cache<KeyDigest, Entry<KnownKey<P>>, DigestHasher>,
    unknown: Cache<KeyDigest, Entry<Negative>, DigestHasher>,
    /// When a key's record last said that it is revoked or disabled, whichever of its digests was looked up.
    stopped: Cache<KeyId, Duration>,
}

impl<P: Send + Sync + 'static> EntryStore<P> {
    /// For the keys of a file, of which a map knows as fast what is not known.
    pub(super) fn for_file(capacity: u64) -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(DigestHasher::default()),
            unknown: Cache::builder()
                .max_capacity(0)
                .build_with_hasher(DigestHasher::default()),
            stopped: Cache::new(0),
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
            stopped: Cache::new(capacity),
        }
    }

    pub(super) fn known(&self, digest: &KeyDigest) -> Option<Entry<KnownKey<P>>> {
        self.known.get(digest)
    }

    /// What is kept of a digest, if a lookup found it within the last hour. Made-up digests are never found, so that a flood of
    /// them cannot push any out.
    pub(super) fn recently_known(
        &self,
        digest: &KeyDigest,
        now: Duration,
    ) -> Option<Entry<KnownKey<P>>> {
        self.known(digest).filter(|entry| entry.is_recent(now))
    }

    pub(super) fn unknown(&self, digest: &KeyDigest) -> Option<Entry<Negative>> {
        self.unknown.get(digest)
    }

    /// Whether the key's record said, when it was asked for at that moment or later, that it is revoked or disabled.
    pub(super) fn was_stopped_since(&self, id: &KeyId, at: Duration) -> bool {
        self.stopped.get(id).is_some_and(|stopped| stopped >= at)
    }

    /// Keeps what the source answered of a known key.
    pub(super) fn insert_key(&self, digest: &KeyDigest, entry: Entry<KnownKey<P>>) {
        let record = entry.value.kept.record();
        if record.is_stopped() {
            self.stopped.insert(record.id.clone(), entry.at);
        }
        self.unknown.invalidate(digest);
        self.known.insert(*digest, entry);
    }

    /// Keeps a key of a file's.
    pub(super) fn keep_of_file(&self, digest: &KeyDigest, entry: Entry<KnownKey<P>>) {
        self.known.insert(*digest, entry);
    }

    /// Replaces what is kept of a known key, if it still is what was made of that record: whatever else is kept is newer.
    pub(super) fn replace(
        &self,
        digest: &KeyDigest,
        record: &Arc<KeyRecord>,
        with: impl FnOnce(Entry<KnownKey<P>>) -> Entry<KnownKey<P>>,
    ) {
        self.known.entry(*digest).and_compute_with(|entry| {
            let kept = entry.map(moka::Entry::into_value);
            match kept.filter(|kept| Arc::ptr_eq(kept.value.kept.record(), record)) {
                Some(kept) => Op::Put(with(kept)),
                None => Op::Nop,
            }
        });
    }

    /// Keeps that a digest is not known; what was known of it before is over.
    pub(super) fn insert_negative(&self, digest: &KeyDigest, entry: Entry<Negative>) {
        self.known.invalidate(digest);
        self.unknown.insert(*digest, entry);
    }

    pub(super) fn clear(&self) {
        self.known.invalidate_all();
        // moka only marks them; the memory is wanted back.
        self.known.run_pending_tasks();
    }

    /// How many known and unknown digests are kept.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.known.run_pending_tasks();
        self.unknown.run_pending_tasks();
        (self.known.entry_count(), self.unknown.entry_count())
    }
}
