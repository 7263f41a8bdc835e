//! The keys of a remote source: what the cache has of a digest, or what a lookup brings.
//!
//! Takes a digest and a snapshot, and gives the key as that snapshot's policy has it. An entry that
//! is fresh and valid answers at once; otherwise the source is asked through the [`Fetcher`], and
//! concurrent callers share one lookup. While the source fails, a known key may be served stale. A
//! failure is never cached, and no lock is held across a wait.

use std::sync::Arc;
use std::time::Duration;

use super::entries::{EntryState, KeyEntry};
use super::fetcher::{Fetcher, LookupOutcome};
use super::single_flight::SingleFlight;
use super::{Lookup, LookupError, Prepare, Preparer, RemoteSettings, SourceHealth};
use crate::authz::digest::KeyDigest;
use crate::authz::snapshot::Snapshot;
use crate::keys::invalidation::EntryValidity;
use crate::keys::record::check_policy;
use crate::keys::source::{SourceAnswer, SourceError};

/// How often a key is looked up for one caller when it changes during each lookup.
pub(super) const MAX_LOOKUPS: usize = 3;

/// The keys of a source that has to be asked.
pub struct RemoteKeys<P> {
    pub(super) fetcher: Arc<Fetcher<P>>,
    pub(super) single_flight: SingleFlight<LookupOutcome>,
    preparer: Preparer<P>,
}

impl<P: Send + Sync + 'static> RemoteKeys<P> {
    /// Caches what a source answers, with what `prepare` gives for the keys in use.
    pub fn new(settings: RemoteSettings, prepare: Prepare<P>) -> Self {
        let metrics = settings.metrics.as_ref();
        let metrics = metrics.map(|metrics| metrics.cache.clone());
        Self {
            fetcher: Arc::new(Fetcher::new(settings)),
            single_flight: SingleFlight::new(),
            preparer: Preparer { prepare, metrics },
        }
    }

    /// Runs the source and the circuit breaker in front of it, for as long as the cache is in use.
    /// Never ends.
    pub async fn run(&self) {
        tokio::join!(self.fetcher.run(), self.single_flight.drive());
    }

    /// Has each key looked up at its next use, if the source answers.
    pub fn revalidate_all(&self) {
        self.fetcher.log.revalidate_all();
    }

    /// The health of the source.
    pub fn source_health(&self) -> SourceHealth {
        self.fetcher.health()
    }

    pub(super) fn measure(&self) {
        self.preparer.measure(self.fetcher.entries.counts());
    }

    /// What is known of a digest.
    ///
    /// A caller must not get an answer from before a change that keyward received before the caller
    /// came. Such an answer can come from a lookup that the caller joined and that began before the
    /// change, or from the caller's own lookup if the change arrives while it runs. Each outcome
    /// carries the version of the invalidation log from before the source was asked, so comparing
    /// versions detects both:
    ///
    /// - The key itself changed since (`Outdated`): looked up again, for every caller.
    /// - Pushes were lost, or a revalidation was ordered (`Revalidate`): looked up again only for
    ///   callers that came after that; the others asked in time.
    /// - An unknown digest: a change of any key may have assigned it, so it is looked up again only
    ///   for callers that came after the change.
    ///
    /// After `MAX_LOOKUPS` the lookup fails: a key that changes at every lookup must not loop for
    /// ever.
    ///
    /// # Errors
    /// When the source cannot answer, and no key may be served stale.
    pub async fn find(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
    ) -> Result<Lookup<P>, LookupError> {
        let log = &self.fetcher.log;
        let came_at = log.version();
        if let Some(cached) = self.find_cached(digest, snapshot) {
            return Ok(cached);
        }
        for _ in 0..MAX_LOOKUPS {
            let outcome = self.look_up(digest).await;
            let is_from_before = outcome.version < came_at;
            match &outcome.value {
                Ok(SourceAnswer::Found(record)) => {
                    // The first of all that waited has prepared it for the others.
                    let stored = self.fetcher.entries.key(digest);
                    let entry = stored
                        .filter(|stored| Arc::ptr_eq(&stored.value.record, record))
                        .unwrap_or_else(|| self.fetcher.entry(digest, record, &outcome));
                    match log.validity(outcome.version, entry.value.buckets) {
                        EntryValidity::Outdated => continue,
                        EntryValidity::Revalidate if is_from_before => continue,
                        EntryValidity::Valid | EntryValidity::Revalidate => {}
                    }
                    self.preparer.count(|metrics| &metrics.miss);
                    return Ok(self.prepare_entry(digest, &entry, snapshot));
                }
                Ok(SourceAnswer::NotFound | SourceAnswer::Invalid(_))
                    if is_from_before
                        && log.validity_of_negative(outcome.version) != EntryValidity::Valid => {}
                Ok(SourceAnswer::NotFound) => {
                    self.preparer.count(|metrics| &metrics.miss);
                    return Ok(Lookup::Unknown);
                }
                Ok(SourceAnswer::Invalid(invalid)) => {
                    self.preparer.count(|metrics| &metrics.miss);
                    return Ok(Lookup::Invalid(invalid.clone()));
                }
                Err(error) => return self.find_stale(digest, snapshot, error),
            }
        }
        self.preparer.count(|metrics| &metrics.miss);
        let error = SourceError::Failed("the key changed during each of its lookups".into());
        Err(self.lookup_error(digest, error))
    }

    /// What the cache has, if it is fresh and valid.
    fn find_cached(&self, digest: &KeyDigest, snapshot: &Snapshot) -> Option<Lookup<P>> {
        let now = self.fetcher.now();
        if let Some(entry) = self.fetcher.valid_key(digest, now) {
            self.preparer.count(|metrics| &metrics.hit);
            return Some(self.prepare_entry(digest, &entry, snapshot));
        }
        let negative = self.fetcher.valid_negative(digest, now)?;
        self.preparer.count(|metrics| &metrics.negative_hit);
        Some(negative.value.map_or(Lookup::Unknown, Lookup::Invalid))
    }

    /// Asks the source, unless the circuit breaker is open, or waits with those who have asked. The
    /// breaker comes first: else each caller of a key in use would wait for the timeout of a trial.
    async fn look_up(&self, digest: &KeyDigest) -> LookupOutcome {
        if let Err(refused) = self.fetcher.admit(digest) {
            return refused;
        }
        let lookup = self.single_flight.join(digest, || {
            let (fetcher, digest) = (Arc::clone(&self.fetcher), *digest);
            async move { fetcher.fetch(&digest).await }
        });
        lookup.await
    }

    /// stale-if-error: a key from the cache, in place of a source that failed to answer.
    fn find_stale(
        &self,
        digest: &KeyDigest,
        snapshot: &Snapshot,
        error: &SourceError,
    ) -> Result<Lookup<P>, LookupError> {
        let source_fails = match error {
            SourceError::Timeout | SourceError::Unreachable(_) | SourceError::Failed(_) => true,
            SourceError::Overloaded => false,
        };
        let stored = self.fetcher.entries.key(digest);
        let stale = stored.filter(|entry| source_fails && self.fetcher.may_serve_stale(entry));
        let Some(entry) = stale else {
            self.preparer.count(|metrics| &metrics.miss);
            return Err(self.lookup_error(digest, error.clone()));
        };
        self.preparer.count(|metrics| &metrics.stale);
        Ok(self.prepare_entry(digest, &entry, snapshot))
    }

    /// Whether a failure may count as an outage. A caller with a made-up key can trigger timeouts,
    /// errors and a full queue, and so can one whose key was found revoked or disabled; none of
    /// them can cut the connection to the source.
    fn lookup_error(&self, digest: &KeyDigest, error: SourceError) -> LookupError {
        let entries = &self.fetcher.entries;
        let is_outage = match &error {
            SourceError::Unreachable(_) => true,
            SourceError::Timeout | SourceError::Failed(_) => entries
                .recently_known(digest, self.fetcher.now())
                .is_some_and(|entry| !entries.is_revoked_or_disabled(&entry)),
            SourceError::Overloaded => false,
        };
        if is_outage {
            LookupError::Unavailable(error)
        } else {
            LookupError::Overloaded(error)
        }
    }

    /// A known key under that snapshot: prepared, or rejected by its policy.
    fn prepare_entry(
        &self,
        digest: &KeyDigest,
        entry: &KeyEntry<P>,
        snapshot: &Snapshot,
    ) -> Lookup<P> {
        let (known, generation) = (&*entry.value, snapshot.generation);
        match &known.state {
            EntryState::Prepared(cached) if cached.generation == generation => {
                return Lookup::Known(Arc::clone(cached));
            }
            EntryState::Rejected(invalid, under) if *under == generation => {
                return Lookup::Invalid(invalid.clone());
            }
            EntryState::Prepared(_) | EntryState::Rejected(..) | EntryState::Fetched => {}
        }
        let entries = &self.fetcher.entries;
        if let Err(invalid) = check_policy(&known.record, &snapshot.policy) {
            tracing::warn!(%digest, problem = %invalid.problem, "a key is refused for its record");
            let rejected = EntryState::Rejected(invalid.clone(), generation);
            entries.set_state(digest, known, rejected, self.fetcher.negative_ttl());
            return Lookup::Invalid(invalid);
        }
        let cached = self.preparer.prepare(&known.record, snapshot);
        let prepared = EntryState::Prepared(Arc::clone(&cached));
        entries.set_state(digest, known, prepared, Duration::MAX);
        Lookup::Known(cached)
    }
}
