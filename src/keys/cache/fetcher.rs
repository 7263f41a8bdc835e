//! Asks the source for a digest, within what the circuit breaker and the lookup slots allow.
//!
//! Takes a digest and gives how its lookup ended, for all who wait for it; what the source answered
//! is in the entry store before the lookup ends. It also decides how long an entry may be used:
//! while it is fresh by our clock and valid by the invalidation log, and past that by
//! stale-if-error.

use std::sync::Arc;
use std::time::Duration;

use super::CacheSettings;
use super::breaker::{Breaker, SourceHealth, lookup_catching_panics};
use super::entries::{Entry, EntryState, EntryStore, KeyEntry, KnownKey, NegativeEntry};
use super::lookup_slots::LookupSlots;
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::clock::Clock;
use crate::keys::invalidation::{EntryValidity, InvalidationLog};
use crate::keys::source::{KeySource, PushSupport, SourceAnswer, SourceError, SourceReply};
use crate::observe::metrics::{CacheMetrics, SourceMetrics, SourceResult};

/// What the keys of a remote source are cached with.
pub struct RemoteSettings {
    /// The source.
    pub source: Arc<dyn KeySource>,
    /// For freshness.
    pub clock: Arc<dyn Clock>,
    /// How much is cached, and for how long.
    pub cache: CacheSettings,
    /// Lookups at once.
    pub max_in_flight: usize,
    /// `None` where nothing is measured.
    pub metrics: Option<RemoteMetrics>,
}

/// The metrics of a remote source's keys.
pub struct RemoteMetrics {
    /// Lookups in the cache, and its size.
    pub cache: CacheMetrics,
    /// Lookups at the source.
    pub source: SourceMetrics,
    /// Counts the changes that the source pushes.
    pub invalidations: prometheus::IntCounter,
    /// Whether the source pushes changes; `None` where it has no way to.
    pub push_up: Option<prometheus::IntGauge>,
}

/// How a lookup ended, for all who waited for it.
pub(super) type LookupOutcome = Entry<Result<SourceAnswer, SourceError>>;

/// A source with what a lookup in flight needs.
pub(super) struct Fetcher<P> {
    settings: RemoteSettings,
    pub(super) log: Arc<InvalidationLog>,
    pub(super) entries: EntryStore<P>,
    breaker: Breaker,
    slots: LookupSlots,
}

impl<P: Send + Sync + 'static> Fetcher<P> {
    pub(super) fn new(settings: RemoteSettings) -> Self {
        let (source, clock) = (&settings.source, &settings.clock);
        let metrics = settings.metrics.as_ref();
        let pushes = source.push() == PushSupport::Enabled;
        let log = InvalidationLog::new(source.name(), pushes, Arc::clone(clock)).with_metrics(
            metrics.map(|metrics| metrics.invalidations.clone()),
            metrics.and_then(|metrics| metrics.push_up.clone()),
        );
        let metrics = metrics.map(|metrics| metrics.source.clone());
        Self {
            log: Arc::new(log),
            entries: EntryStore::new(&settings.cache),
            breaker: Breaker::new(Arc::clone(source), Arc::clone(clock), metrics),
            slots: LookupSlots::new(settings.max_in_flight),
            settings,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.settings.clock.monotonic()
    }

    pub(super) fn negative_ttl(&self) -> Duration {
        self.settings.cache.negative_ttl
    }

    pub(super) fn health(&self) -> SourceHealth {
        let has_pushes = self.settings.source.push() != PushSupport::None;
        SourceHealth {
            pushes: has_pushes.then(|| self.log.subscription()),
            ..self.breaker.health()
        }
    }

    /// What the source does by itself, and the breaker's probes. Never ends.
    pub(super) async fn run(&self) {
        let following = self.settings.source.follow(Arc::clone(&self.log));
        tokio::join!(following, self.breaker.watch(&self.log));
    }

    /// The key's entry, if it may be used without asking the source.
    pub(super) fn valid_key(&self, digest: &KeyDigest, now: Duration) -> Option<KeyEntry<P>> {
        self.entries.key(digest).filter(|entry| {
            entry.is_fresh(now)
                && self.log.validity(entry.version, entry.value.buckets) == EntryValidity::Valid
        })
    }

    /// The same of a digest that no valid record has.
    pub(super) fn valid_negative(
        &self,
        digest: &KeyDigest,
        now: Duration,
    ) -> Option<NegativeEntry> {
        self.entries.negative(digest).filter(|entry| {
            entry.is_fresh(now)
                && self.log.validity_of_negative(entry.version) == EntryValidity::Valid
        })
    }

    /// Whether a key may be served although the source failed just now: for `stale_if_error` after
    /// its entry became stale, by its age or because pushes were lost. Never once it is known to
    /// have changed, nor where pushes were lost and are received again since its lookup: a change
    /// in between was not received, and it may have been this key's. Nor once a lookup
    /// by another of its secrets found it revoked or disabled; where the entry itself says so,
    /// serving it refuses the caller.
    pub(super) fn may_serve_stale(&self, entry: &KeyEntry<P>) -> bool {
        let known = &entry.value;
        if self.log.validity(entry.version, known.buckets) == EntryValidity::Outdated {
            return false;
        }
        let fresh_until = entry.fresh_until();
        let stale_since = self
            .log
            .stale_since(entry.version, entry.looked_up_at, fresh_until);
        stale_since.is_some_and(|since| {
            self.now() < since.saturating_add(self.settings.cache.stale_if_error)
        }) && (known.record.is_revoked_or_disabled() || !self.entries.is_revoked_or_disabled(entry))
    }

    /// Whether the circuit breaker lets a digest be looked up.
    ///
    /// # Errors
    /// The failure for which it is open, as the outcome of the lookup.
    pub(super) fn admit(&self, digest: &KeyDigest) -> Result<(), LookupOutcome> {
        let now = self.now();
        let is_recently_known = self.entries.recently_known(digest, now).is_some();
        let admitted = self.breaker.admit(digest, is_recently_known);
        admitted.map_err(|failure| Entry {
            value: Err(failure),
            looked_up_at: now,
            fresh_for: Duration::ZERO,
            version: self.log.version(),
        })
    }

    /// Asks the source, and stores what it answers.
    pub(super) async fn fetch(&self, digest: &KeyDigest) -> LookupOutcome {
        // Before the source is asked: its answer may be older than any change received from here
        // on.
        let (looked_up_at, version) = (self.now(), self.log.version());
        // Another lookup may have ended after this caller missed the cache and before this began.
        if let Some(entry) = self.valid_key(digest, looked_up_at) {
            let record = Arc::clone(&entry.value.record);
            return entry.with(Ok(SourceAnswer::Found(record)));
        }
        if let Some(entry) = self.valid_negative(digest, looked_up_at) {
            let answer = entry.value.clone();
            let answer = answer.map_or(SourceAnswer::NotFound, SourceAnswer::Invalid);
            return entry.with(Ok(answer));
        }
        let reply = self.ask(digest, looked_up_at).await;
        let max_age = reply.as_ref().ok().and_then(|reply| reply.max_age);
        let value = reply.map(|reply| reply.answer);
        let ttl = match &value {
            Ok(SourceAnswer::Found(_)) => self.settings.cache.ttl,
            Ok(SourceAnswer::NotFound | SourceAnswer::Invalid(_)) | Err(_) => {
                self.settings.cache.negative_ttl
            }
        };
        let outcome = Entry {
            value,
            looked_up_at,
            fresh_for: max_age.map_or(ttl, |max_age| max_age.min(ttl)),
            version,
        };
        self.store(digest, &outcome);
        outcome
    }

    async fn ask(&self, digest: &KeyDigest, now: Duration) -> Result<SourceReply, SourceError> {
        let is_recently_known = self.entries.recently_known(digest, now).is_some();
        let slot = self.slots.take(is_recently_known);
        let mut slot = slot.ok_or(SourceError::Overloaded)?;
        let reply = tokio::select! {
            reply = lookup_catching_panics(&*self.settings.source, digest) => reply,
            () = slot.preempted() => return Err(SourceError::Overloaded),
        };
        self.breaker.note(digest, is_recently_known, &reply);
        if let Some(metrics) = &self.settings.metrics {
            let result = match reply.as_ref().map(|reply| &reply.answer) {
                Ok(SourceAnswer::Found(_) | SourceAnswer::Invalid(_)) => SourceResult::Found,
                Ok(SourceAnswer::NotFound) => SourceResult::NotFound,
                Err(SourceError::Timeout) => SourceResult::Timeout,
                Err(
                    SourceError::Unreachable(_) | SourceError::Failed(_) | SourceError::Overloaded,
                ) => SourceResult::Error,
            };
            let took = self.now().saturating_sub(now);
            metrics.source.looked_up(result, took);
        }
        reply
    }

    fn store(&self, digest: &KeyDigest, outcome: &LookupOutcome) {
        let negative = match &outcome.value {
            Ok(SourceAnswer::Found(record)) => {
                let entry = self.entry(digest, record, outcome);
                return self.entries.insert_key(digest, entry);
            }
            Ok(SourceAnswer::NotFound) => None,
            Ok(SourceAnswer::Invalid(invalid)) => {
                let source = self.settings.source.name();
                tracing::warn!(source, %digest, problem = %invalid.problem, "a key is refused for its record");
                Some(invalid.clone())
            }
            Err(_) => return,
        };
        self.entries.insert_negative(digest, outcome.with(negative));
    }

    /// The entry of a key that a lookup found.
    pub(super) fn entry(
        &self,
        digest: &KeyDigest,
        record: &Arc<KeyRecord>,
        outcome: &LookupOutcome,
    ) -> KeyEntry<P> {
        outcome.with(Arc::new(KnownKey {
            record: Arc::clone(record),
            buckets: [
                self.log.bucket_of_id(record.id.as_str()),
                self.log.bucket_of_digest(digest),
            ],
            state: EntryState::Fetched,
        }))
    }
}
