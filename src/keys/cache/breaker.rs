//! The circuit breaker in front of the source: a dead one must not cost each request a timeout.
//!
//! It opens when lookups of recently known digests fail, or when no connection can be made, and the
//! probe fails too. Failures of other digests never open it: an attacker can present made-up keys,
//! and a source may be slow or broken for those alone. The probe asks for the digests that were
//! found last and for one that no key has, so that no caller's request is spent on it; any answer
//! to it, or to any lookup, closes the breaker. While it is open, it is half-open for recently
//! known digests: a few of their lookups go through as trials. All other lookups fail at once.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;

use super::entries::RECENTLY_KNOWN;
use crate::authz::digest::KeyDigest;
use crate::clock::Clock;
use crate::keys::invalidation::{InvalidationLog, SubscriptionState};
use crate::keys::source::{KeySource, SourceAnswer, SourceError, SourceReply, probe_digest};
use crate::mutex::lock;
use crate::observe::metrics::SourceMetrics;
use crate::tls::{CertificateState, CertificateStatus};

/// Failures in a row after which the source is probed at once: more than a hiccup brings.
const FAILURES_UNTIL_PROBE: u32 = 3;
/// From a failure to a probe, and between probes of a source that does not answer: it is in use
/// again within a second of its recovery, and bears the probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// How many trials may begin in the time of `PROBE_INTERVAL` while the breaker is open, at most one
/// for each digest: enough to find a key that the source answers for, and few requests that wait
/// for a source that does not.
const MAX_TRIALS: usize = 16;
/// How many of the digests that were found last the probe asks for: one of them may be slow or
/// broken by itself.
const PROBED_DIGESTS: usize = 4;
/// Failures of lookups are logged at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The health of a source that has to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHealth {
    /// Its name.
    pub source: &'static str,
    /// What a lookup would fail for; `None` if the last was answered, or none was made yet.
    /// Failures of digests that are not recently known do not count while others are answered.
    pub failure: Option<Arc<str>>,
    /// Whether the breaker is open.
    pub breaker_open: bool,
    /// Whether changes are pushed; `None` where the source has no way to.
    pub pushes: Option<SubscriptionState>,
    /// The certificates that it is reached with; `None` where the configuration names none.
    pub certificates: Option<Arc<CertificateState>>,
}

/// Guards a source.
pub(super) struct Breaker {
    source: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    metrics: Option<SourceMetrics>,
    state: Mutex<State>,
    /// There was a failure.
    failure: Notify,
    /// There were a few in a row.
    probe_request: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// How many lookups and probes were answered.
    answers: u64,
    failures_in_a_row: u32,
    failure: Option<SourceError>,
    /// A lookup failed, be it one that does not count by itself, and none was answered since.
    is_unanswered: bool,
    trials: Trials,
    last_found: LastFound,
    logged_at: Option<Duration>,
}

/// The digests that were tried while the breaker is open.
#[derive(Debug, Default)]
struct Trials {
    since: Duration,
    begun: HashSet<KeyDigest>,
}

impl Trials {
    fn may_begin(&mut self, digest: &KeyDigest, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= PROBE_INTERVAL {
            self.begun.clear();
            self.since = now;
        }
        self.begun.len() < MAX_TRIALS && self.begun.insert(*digest)
    }
}

/// The digests that were found last, and when, the newest at the end.
#[derive(Debug, Default)]
struct LastFound(VecDeque<(KeyDigest, Duration)>);

impl LastFound {
    fn note(&mut self, digest: &KeyDigest, reply: &SourceReply, now: Duration) {
        self.0.retain(|(other, _)| other != digest);
        match reply.answer {
            SourceAnswer::Found(_) => self.0.push_back((*digest, now)),
            SourceAnswer::NotFound | SourceAnswer::Invalid(_) => {}
        }
        if self.0.len() > PROBED_DIGESTS {
            self.0.pop_front();
        }
    }

    fn recently_known(&self, now: Duration) -> impl Iterator<Item = KeyDigest> {
        let is_recent = move |at: Duration| now.saturating_sub(at) < RECENTLY_KNOWN;
        let recent = self.0.iter().filter(move |(_, at)| is_recent(*at));
        recent.map(|(digest, _)| *digest)
    }
}

/// Asks the source. A panic would go on to each caller that waits; it becomes a failure.
pub(super) async fn lookup_catching_panics(
    source: &dyn KeySource,
    digest: &KeyDigest,
) -> Result<SourceReply, SourceError> {
    let lookup = AssertUnwindSafe(async { source.lookup(digest).await });
    lookup
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(SourceError::Failed("the lookup panicked".into())))
}

impl Breaker {
    pub(super) fn new(
        source: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
        metrics: Option<SourceMetrics>,
    ) -> Self {
        if let Some(metrics) = &metrics {
            // Nothing speaks against it yet.
            metrics.set_up(true);
        }
        Self {
            source,
            clock,
            metrics,
            state: Mutex::default(),
            failure: Notify::new(),
            probe_request: Notify::new(),
        }
    }

    /// Whether a digest may be looked up now.
    ///
    /// # Errors
    /// The failure for which the breaker is open.
    pub(super) fn admit(
        &self,
        digest: &KeyDigest,
        is_recently_known: bool,
    ) -> Result<(), SourceError> {
        let mut state = self.lock();
        let Some(failure) = state.failure.clone().filter(|_| state.is_open) else {
            return Ok(());
        };
        let now = self.clock.monotonic();
        if is_recently_known && state.trials.may_begin(digest, now) {
            Ok(())
        } else {
            Err(failure)
        }
    }

    /// Notes how a lookup ended.
    pub(super) fn note(
        &self,
        digest: &KeyDigest,
        is_recently_known: bool,
        outcome: &Result<SourceReply, SourceError>,
    ) {
        match outcome {
            Ok(reply) => self.answered(digest, reply),
            Err(error @ SourceError::Unreachable(_)) => self.failed(true, error),
            Err(error @ (SourceError::Timeout | SourceError::Failed(_))) => {
                self.failed(is_recently_known, error);
            }
            // That is ours.
            Err(SourceError::Overloaded) => {}
        }
    }

    pub(super) fn health(&self) -> SourceHealth {
        let state = self.lock();
        SourceHealth {
            source: self.source.name(),
            failure: state.failure.as_ref().map(|failure| match failure {
                SourceError::Failed(problem) | SourceError::Unreachable(problem) => {
                    Arc::clone(problem)
                }
                SourceError::Timeout | SourceError::Overloaded => failure.to_string().into(),
            }),
            breaker_open: state.is_open,
            pushes: None,
            certificates: self.source.certificates().map(CertificateStatus::state),
        }
    }

    /// Probes the source when something speaks against it (a few failures in a row, a lost
    /// subscription, or one failure and no answer after it) until it answers. Only a probe opens
    /// the breaker, and each of them can close it: lookups alone may be too few to tell a dead
    /// source from a key that fails by itself, and an open breaker lets too few through to find its
    /// recovery. Never ends.
    pub(super) async fn watch(&self, log: &InvalidationLog) {
        loop {
            tokio::select! {
                () = self.probe_request.notified() => {}
                () = log.probe_requested() => {}
                () = self.lasting_failure() => {}
            }
            while !self.probe().await {
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        }
    }

    /// Waits for a failure that no answer follows for a while: without other lookups, only a probe
    /// finds out whether it was one key's.
    async fn lasting_failure(&self) {
        loop {
            self.failure.notified().await;
            tokio::time::sleep(PROBE_INTERVAL).await;
            if self.lock().is_unanswered {
                return;
            }
        }
    }

    /// Whether the source answers.
    async fn probe(&self) -> bool {
        let now = self.clock.monotonic();
        let (answers, known) = {
            let state = self.lock();
            let known: Vec<_> = state.last_found.recently_known(now).collect();
            (state.answers, known)
        };
        let known = known.into_iter().map(|digest| (digest, true));
        let mut asking: FuturesUnordered<_> = known
            .chain([(probe_digest(), false)])
            .map(|(digest, is_known)| async move {
                (
                    digest,
                    is_known,
                    lookup_catching_panics(&*self.source, &digest).await,
                )
            })
            .collect();
        let mut failures = Vec::new();
        while let Some((digest, is_known, outcome)) = asking.next().await {
            match outcome {
                Ok(reply) => {
                    self.answered(&digest, &reply);
                    return true;
                }
                Err(error) => failures.push((is_known, error)),
            }
        }
        self.probe_failed(&failures, answers)
    }

    fn answered(&self, digest: &KeyDigest, reply: &SourceReply) {
        let now = self.clock.monotonic();
        let was_open = {
            let mut state = self.lock();
            state.answers += 1;
            state.failures_in_a_row = 0;
            state.failure = None;
            state.is_unanswered = false;
            state.last_found.note(digest, reply, now);
            self.set_up(true, &state);
            std::mem::take(&mut state.is_open)
        };
        if was_open {
            tracing::info!(source = self.source.name(), "the source answers again");
        }
    }

    fn failed(&self, counts: bool, error: &SourceError) {
        let now = self.clock.monotonic();
        let is_logged = {
            let mut state = self.lock();
            if counts {
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                if state.failures_in_a_row >= FAILURES_UNTIL_PROBE {
                    self.probe_request.notify_one();
                }
            }
            // Without a recently known digest, no lookup shows that the source works.
            if counts || state.last_found.recently_known(now).next().is_none() {
                state.failure = Some(error.clone());
                self.set_up(false, &state);
            }
            state.is_unanswered = true;
            self.failure.notify_one();
            let is_due = |at| now.saturating_sub(at) >= LOG_INTERVAL;
            let is_due = state.logged_at.is_none_or(is_due);
            if is_due {
                state.logged_at = Some(now);
            }
            is_due
        };
        if is_logged {
            tracing::warn!(source = self.source.name(), %error, "a key could not be looked up");
        }
    }

    /// Opens the breaker if the failures count as an outage, else closes it again. Gives whether a
    /// lookup was answered since the probe began (`answers` has changed): then the probe is
    /// discarded.
    fn probe_failed(&self, failures: &[(bool, SourceError)], answers: u64) -> bool {
        let is_unreachable = |error: &SourceError| matches!(error, SourceError::Unreachable(_));
        // If one of them could connect, the connection is not the problem.
        let connected = failures.iter().find(|(_, error)| !is_unreachable(error));
        let Some((_, error)) = connected.or(failures.first()) else {
            return true;
        };
        let counts = is_unreachable(error) || failures.iter().any(|(is_known, _)| *is_known);
        let was_open = {
            let mut state = self.lock();
            if state.answers != answers {
                return true;
            }
            state.failure = Some(error.clone());
            self.set_up(false, &state);
            // Also closes an open breaker: once no digest is recently known any more, only the
            // unknown digest fails, and a source may fail for made-up keys alone.
            std::mem::replace(&mut state.is_open, counts)
        };
        if counts && !was_open {
            tracing::error!(
                source = self.source.name(),
                %error,
                "the source is down and probed twice a second; keys that are not cached are refused"
            );
        }
        false
    }

    /// Under the lock, so that the gauge is of the state.
    fn set_up(&self, up: bool, _state: &MutexGuard<'_, State>) {
        if let Some(metrics) = &self.metrics {
            metrics.set_up(up);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
