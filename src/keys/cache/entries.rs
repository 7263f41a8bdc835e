//! The entry store: known and unknown digests in caches of their own, so that a flood of random
//! digests does not evict the keys in use. The negative cache holds the unknown ones.
//!
//! It stores and does not judge: entries may be expired or invalidated, and callers check before
//! use. They are kept, because they show that a digest was recently known, and may be
//! served while the source fails. moka bounds the memory; what is fresh is judged by our clock.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::super::invalidation::{Bucket, Version};
use super::super::source::InvalidRecord;
use super::{CacheSettings, CachedKey, bounded};
use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Generation;

/// A key that is not used for so long is evicted: before its series in the metrics, which go after
/// an hour.
const IDLE: Duration = Duration::from_mins(59);

/// A digest that a lookup found within this time is recently known.
pub(super) const RECENTLY_KNOWN: Duration = Duration::from_hours(1);

/// A value from the source, with what its freshness and validity follow from.
#[derive(Debug, Clone)]
pub(super) struct Entry<T> {
    pub(super) value: T,
    /// When the source was asked, on the monotonic clock.
    pub(super) looked_up_at: Duration,
    /// How long it is fresh from then on.
    pub(super) fresh_for: Duration,
    /// The version of the invalidation log before the source was asked.
    pub(super) version: Version,
}

impl<T> Entry<T> {
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.looked_up_at) < self.fresh_for
    }

    pub(super) fn fresh_until(&self) -> Duration {
        self.looked_up_at.saturating_add(self.fresh_for)
    }

    /// Another value of the same age and version.
    pub(super) fn with<U>(&self, value: U) -> Entry<U> {
        Entry {
            value,
            looked_up_at: self.looked_up_at,
            fresh_for: self.fresh_for,
            version: self.version,
        }
    }
}

/// A key that a digest was found to belong to.
pub(super) struct KnownKey<P> {
    pub(super) record: Arc<KeyRecord>,
    /// Where the invalidation log notes its changes.
    pub(super) buckets: [Bucket; 2],
    pub(super) state: EntryState<P>,
}

/// What was made of a record under the policy of a generation.
pub(super) enum EntryState<P> {
    /// Nothing yet.
    Fetched,
    /// It was prepared for use.
    Prepared(Arc<CachedKey<P>>),
    /// The record does not pass the checks of that generation's policy.
    Rejected(InvalidRecord, Generation),
}

pub(super) type KeyEntry<P> = Entry<Arc<KnownKey<P>>>;

/// A digest that no key has, or whose record is invalid.
pub(super) type NegativeEntry = Entry<Option<InvalidRecord>>;

pub(super) struct EntryStore<P> {
    keys: Cache<KeyDigest, KeyEntry<P>, DigestHasher>,
    negative: Cache<KeyDigest, NegativeEntry, DigestHasher>,
    /// When a lookup by any of a key's secrets last found it revoked or disabled. A key has an
    /// entry for each secret, and those of the others say nothing of it: without this, the source's
    /// next outage would let the key in by another secret, whose entry dates from before the
    /// revocation. The least recently used is evicted, so that a new one is never turned away.
    revoked_or_disabled: Cache<KeyId, Duration>,
}

impl<P: Send + Sync + 'static> EntryStore<P> {
    /// Of the times, only `negative_ttl` is used here, to free memory.
    pub(super) fn new(settings: &CacheSettings) -> Self {
        let mut negative = bounded(settings.negative_capacity);
        if !settings.negative_ttl.is_zero() {
            negative = negative.time_to_live(settings.negative_ttl);
        }
        Self {
            keys: bounded(settings.capacity)
                .time_to_idle(IDLE)
                .build_with_hasher(DigestHasher::default()),
            negative: negative.build_with_hasher(DigestHasher::default()),
            revoked_or_disabled: bounded(settings.capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }

    pub(super) fn key(&self, digest: &KeyDigest) -> Option<KeyEntry<P>> {
        self.keys.get(digest)
    }

    /// The key's entry, if a lookup found it recently. Made-up digests are never found, so that a
    /// flood of them evicts none.
    pub(super) fn recently_known(&self, digest: &KeyDigest, now: Duration) -> Option<KeyEntry<P>> {
        self.key(digest)
            .filter(|entry| now.saturating_sub(entry.looked_up_at) < RECENTLY_KNOWN)
    }

    pub(super) fn negative(&self, digest: &KeyDigest) -> Option<NegativeEntry> {
        self.negative.get(digest)
    }

    /// Whether the key is revoked or disabled by this entry, or by a lookup since of another of its
    /// digests.
    pub(super) fn is_revoked_or_disabled(&self, entry: &KeyEntry<P>) -> bool {
        let record = &entry.value.record;
        let found = || self.revoked_or_disabled.get(&record.id);
        record.is_revoked_or_disabled() || found().is_some_and(|at| at >= entry.looked_up_at)
    }

    pub(super) fn insert_key(&self, digest: &KeyDigest, entry: KeyEntry<P>) {
        let record = &entry.value.record;
        if record.is_revoked_or_disabled() {
            self.revoked_or_disabled
                .insert(record.id.clone(), entry.looked_up_at);
        }
        self.negative.invalidate(digest);
        self.keys.insert(*digest, entry);
    }

    pub(super) fn insert_negative(&self, digest: &KeyDigest, entry: NegativeEntry) {
        self.keys.invalidate(digest);
        self.negative.insert(*digest, entry);
    }

    /// Stores what was made of a known key, which is then fresh for `fresh_for` at most. A record
    /// that another lookup stored meanwhile is newer, and stays.
    pub(super) fn set_state(
        &self,
        digest: &KeyDigest,
        known: &KnownKey<P>,
        state: EntryState<P>,
        fresh_for: Duration,
    ) {
        self.keys.entry(*digest).and_compute_with(|stored| {
            let stored = stored.map(moka::Entry::into_value);
            let is_same = |stored: &KeyEntry<P>| Arc::ptr_eq(&stored.value.record, &known.record);
            match stored.filter(is_same) {
                Some(stored) => Op::Put(Entry {
                    fresh_for: stored.fresh_for.min(fresh_for),
                    ..stored.with(Arc::new(KnownKey {
                        record: Arc::clone(&known.record),
                        buckets: known.buckets,
                        state,
                    }))
                }),
                None => Op::Nop,
            }
        });
    }

    /// How many keys and negative entries there are, after what moka has put off.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.keys.run_pending_tasks();
        self.negative.run_pending_tasks();
        (self.keys.entry_count(), self.negative.entry_count())
    }
}
