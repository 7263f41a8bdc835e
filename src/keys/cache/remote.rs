//! A source that has to be asked, and the rules by which its answers are kept and believed.
//!
//! Takes a digest and gives how its lookup ended, for all who wait for it. What was learnt is on the shelf before the
//! flight ends; a failure is given to those who waited and kept for nobody. What is on the shelf is believed while it is fresh
//! by our clock and nothing was heard against it; a known key may serve past that while the source fails, but never once it
//! is known to have changed.

use std::sync::Arc;
use std::time::Duration;

use super::super::invalidation::{EntryValidity, InvalidationLog, InvalidationSink};
use super::super::source::{KeySource, Push, SourceAnswer, SourceError, SourceReply};
use super::breaker::{Breaker, SourceHealth, ask};
use super::entries::{Entry, EntryState, EntryStore, KnownKey, Negative};
use super::lookup_slots::LookupSlots;
use super::single_flight::{LookupOutcome, SingleFlight};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyRecord;
use crate::clock::Clock;
use crate::observe::metrics::{SourceMetrics, SourceResult};

/// A source, and how long and how much of it is kept.
pub struct RemoteSettings {
    /// The source.
    pub source: Arc<dyn KeySource>,
    /// Tells what is fresh.
    pub clock: Arc<dyn Clock>,
    /// How many known keys are kept.
    pub capacity: u64,
    /// How long a known key is fresh.
    pub ttl: Duration,
    /// How many unknown digests are kept.
    pub negative_capacity: u64,
    /// How long an unknown digest is fresh, or one whose record is not valid.
    pub negative_ttl: Duration,
    /// How long past its time a known key may serve while the source fails.
    pub stale_if_error: Duration,
    /// Lookups at once.
    pub max_in_flight: usize,
    /// What counts its lookups.
    pub metrics: Option<SourceMetrics>,
    /// What counts the changes that it tells of.
    pub heard: Option<prometheus::IntCounter>,
    /// What shows whether changes are heard.
    pub push_up: Option<prometheus::IntGauge>,
}

pub(super) struct Remote {
    asking: Arc<Asking>,
    single_flight: SingleFlight,
}

/// What a lookup needs, for as long as it is under way.
struct Asking {
    settings: RemoteSettings,
    log: Arc<InvalidationLog>,
    breaker: Breaker,
    slots: LookupSlots,
}

impl Remote {
    pub(super) fn new(settings: RemoteSettings) -> Self {
        let RemoteSettings {
            source,
            clock,
            metrics,
            ..
        } = &settings;
        let breaker = Breaker::new(Arc::clone(source), Arc::clone(clock), metrics.clone());
        let log = Arc::new(InvalidationLog::new(
            source.push() == Push::Asked,
            Arc::clone(clock),
        ));
        let slots = LookupSlots::new(settings.max_in_flight);
        Self {
            asking: Arc::new(Asking {
                settings,
                log,
                breaker,
                slots,
            }),
            single_flight: SingleFlight::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.asking.settings.clock.monotonic()
    }

    pub(super) fn log(&self) -> &InvalidationLog {
        &self.asking.log
    }

    pub(super) fn negative_ttl(&self) -> Duration {
        self.asking.settings.negative_ttl
    }

    pub(super) fn health(&self) -> SourceHealth {
        let Asking {
            settings,
            log,
            breaker,
            ..
        } = &*self.asking;
        SourceHealth {
            pushes: (settings.source.push() != Push::None).then(|| log.subscription()),
            ..breaker.health()
        }
    }

    /// What the source does by itself, lookups that nobody waits for, and the watch over the source. Never ends.
    pub(super) async fn run(&self) {
        let Asking {
            settings,
            log,
            breaker,
            ..
        } = &*self.asking;
        let source = &settings.source;
        let sink = InvalidationSink::new(Arc::clone(log), source.name(), settings.heard.clone())
            .shown_by(settings.push_up.clone());
        tokio::join!(
            source.follow(sink),
            self.single_flight.drive(),
            breaker.watch(log)
        );
    }

    /// Whether a known key is to be believed without asking.
    pub(super) fn is_valid<P>(&self, entry: &Entry<KnownKey<P>>, now: Duration) -> bool {
        self.asking.is_valid(entry, now)
    }

    /// The same of a digest that is not known.
    pub(super) fn is_negative_valid(&self, entry: &Entry<Negative>, now: Duration) -> bool {
        self.asking.is_negative_valid(entry, now)
    }

    /// Whether a known key may serve although the source failed just now: until `stale_if_error` after the moment from which on it
    /// was not to be believed any more, be it for its age or because changes were not heard. Never where pushes were armed again
    /// since it was looked up: what changed before that was not heard, and nothing tells whether it was this key.
    pub(super) fn may_stand_in<P>(&self, entry: &Entry<KnownKey<P>>) -> bool {
        let Asking { settings, log, .. } = &*self.asking;
        if log.validity(entry.version, entry.value.buckets) == EntryValidity::Outdated {
            return false;
        }
        log.stale_since(entry.version, entry.at, entry.stale_at())
            .is_some_and(|since| {
                settings.clock.monotonic() < since.saturating_add(settings.stale_if_error)
            })
    }

    /// The key as it is kept on the shelf.
    pub(super) fn known_key<P>(&self, digest: &KeyDigest, record: &Arc<KeyRecord>) -> KnownKey<P> {
        self.asking.known_key(digest, record)
    }

    /// Asks the source unless the circuit breaker is open, or waits with those who have asked already. What it answers is on the
    /// shelf before anyone can ask again.
    pub(super) async fn look_up<P: Send + Sync + 'static>(
        &self,
        digest: &KeyDigest,
        kept: &Arc<EntryStore<P>>,
    ) -> LookupOutcome {
        let now = self.now();
        let recently_known = kept.recently_known(digest, now).is_some();
        // Before anyone joins a flight: a source that is dead must not cost each request of a key in use its timeout.
        if let Err(failure) = self.asking.breaker.admit(digest, recently_known) {
            return LookupOutcome {
                answer: Err(failure),
                asked_at: now,
                fresh_for: Duration::ZERO,
                version: self.log().version(),
            };
        }
        let flight = self.single_flight.join(digest, || {
            let (asking, kept, digest) = (Arc::clone(&self.asking), Arc::clone(kept), *digest);
            async move { asking.fly(&digest, &kept).await }
        });
        flight.await
    }

    #[cfg(test)]
    pub(super) fn lookups_in_flight(&self) -> usize {
        self.single_flight.count()
    }

    #[cfg(test)]
    pub(super) fn sink(&self) -> InvalidationSink {
        InvalidationSink::new(Arc::clone(&self.asking.log), "http", None)
    }
}

impl Asking {
    async fn fly<P: Send + Sync + 'static>(
        &self,
        digest: &KeyDigest,
        kept: &EntryStore<P>,
    ) -> LookupOutcome {
        // Before the source is asked: what it answers may be older than anything that is heard from here on.
        let (asked_at, version) = (self.settings.clock.monotonic(), self.log.version());
        let known = kept.known(digest);
        // Another flight may have landed after this caller looked at the shelf and before it took off.
        if let Some(outcome) = self.on_shelf(known.as_ref(), kept.unknown(digest), asked_at) {
            return outcome;
        }
        let recently_known = known.is_some_and(|entry| entry.is_recent(asked_at));
        let reply = self.ask(digest, recently_known).await;
        let max_age = reply.as_ref().ok().and_then(|reply| reply.max_age);
        let answer = reply.map(|reply| reply.answer);
        let ttl = match &answer {
            Ok(SourceAnswer::Found(_)) => self.settings.ttl,
            Ok(SourceAnswer::NotFound | SourceAnswer::Invalid(_)) | Err(_) => {
                self.settings.negative_ttl
            }
        };
        let outcome = LookupOutcome {
            answer,
            asked_at,
            fresh_for: max_age.map_or(ttl, |max_age| max_age.min(ttl)),
            version,
        };
        self.keep(digest, &outcome, kept);
        outcome
    }

    /// What is on the shelf and to be believed, as if it had just been asked for.
    fn on_shelf<P>(
        &self,
        known: Option<&Entry<KnownKey<P>>>,
        unknown: Option<Entry<Negative>>,
        now: Duration,
    ) -> Option<LookupOutcome> {
        if let Some(entry) = known.filter(|entry| self.is_valid(entry, now)) {
            return Some(LookupOutcome {
                answer: Ok(SourceAnswer::Found(Arc::clone(entry.value.kept.record()))),
                asked_at: entry.at,
                fresh_for: entry.fresh_for,
                version: entry.version,
            });
        }
        let entry = unknown.filter(|entry| self.is_negative_valid(entry, now))?;
        let answer = entry
            .value
            .map_or(SourceAnswer::NotFound, SourceAnswer::Invalid);
        Some(LookupOutcome {
            answer: Ok(answer),
            asked_at: entry.at,
            fresh_for: entry.fresh_for,
            version: entry.version,
        })
    }

    fn is_valid<P>(&self, entry: &Entry<KnownKey<P>>, now: Duration) -> bool {
        entry.is_fresh(now)
            && self.log.validity(entry.version, entry.value.buckets) == EntryValidity::Valid
    }

    fn is_negative_valid(&self, entry: &Entry<Negative>, now: Duration) -> bool {
        entry.is_fresh(now) && self.log.validity_of_negative(entry.version) == EntryValidity::Valid
    }

    async fn ask(
        &self,
        digest: &KeyDigest,
        recently_known: bool,
    ) -> Result<SourceReply, SourceError> {
        let mut slot = self
            .slots
            .take(recently_known)
            .ok_or(SourceError::Overloaded)?;
        let begin = self.settings.clock.monotonic();
        let reply = tokio::select! {
            reply = ask(&*self.settings.source, digest) => reply,
            () = slot.preempted() => return Err(SourceError::Overloaded),
        };
        self.breaker.note(digest, recently_known, &reply);
        if let Some(metrics) = &self.settings.metrics {
            let result = match reply.as_ref().map(|reply| &reply.answer) {
                Ok(SourceAnswer::Found(_) | SourceAnswer::Invalid(_)) => SourceResult::Found,
                Ok(SourceAnswer::NotFound) => SourceResult::NotFound,
                Err(SourceError::Timeout) => SourceResult::Timeout,
                Err(
                    SourceError::Unreachable(_) | SourceError::Failed(_) | SourceError::Overloaded,
                ) => SourceResult::Error,
            };
            metrics.looked_up(
                result,
                self.settings.clock.monotonic().saturating_sub(begin),
            );
        }
        reply
    }

    fn keep<P: Send + Sync + 'static>(
        &self,
        digest: &KeyDigest,
        outcome: &LookupOutcome,
        kept: &EntryStore<P>,
    ) {
        let not_known = match &outcome.answer {
            Ok(SourceAnswer::Found(record)) => {
                return kept.insert_key(digest, outcome.entry(self.known_key(digest, record)));
            }
            Ok(SourceAnswer::NotFound) => None,
            Ok(SourceAnswer::Invalid(invalid)) => {
                let source = self.settings.source.name();
                tracing::warn!(source, %digest, problem = %invalid.problem, "a key is refused for its record");
                Some(invalid.clone())
            }
            Err(_) => return,
        };
        kept.insert_negative(digest, outcome.entry(not_known));
    }

    fn known_key<P>(&self, digest: &KeyDigest, record: &Arc<KeyRecord>) -> KnownKey<P> {
        KnownKey {
            kept: EntryState::Fetched(Arc::clone(record)),
            buckets: [
                self.log.bucket_of_id(record.id.as_str()),
                self.log.bucket_of_digest(digest),
            ],
        }
    }
}

impl LookupOutcome {
    /// What is kept of it.
    pub(super) fn entry<T>(&self, value: T) -> Entry<T> {
        Entry {
            value,
            at: self.asked_at,
            fresh_for: self.fresh_for,
            version: self.version,
        }
    }
}
