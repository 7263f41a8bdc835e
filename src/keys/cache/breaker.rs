//! Whether the source is worth asking: a dead one must not cost each request a timeout.
//!
//! One key may be slow or broken at a source that is well, so that failures alone prove nothing: after a few in a row, or a while
//! after one, a digest that nobody has is asked for, and only if that fails too the source is given up; so it is when pushes are
//! lost, which may be the first sign. It is asked for that digest alone then, until it answers. Nobody's request is the trial.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;

use super::super::push::Trust;
use super::super::source::{KeySource, SourceError, SourceReply, probe_digest};
use crate::authz::clock::Clock;
use crate::authz::digest::KeyDigest;
use crate::observe::metrics::SourceMetrics;

/// Failures in a row after which the source itself is tried at once: enough that a hiccup does not count.
const SUSPICIOUS: u32 = 3;
/// From a failure to a try, and between two tries of a source that is given up: it is back in use within a second of its recovery,
/// and bears the tries.
const RETRY: Duration = Duration::from_millis(500);
/// Failures of lookups are told in the log at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What is known of a source that has to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHealth {
    /// Its name.
    pub source: &'static str,
    /// What its last lookup failed for; `None` if it was answered, or none was made yet.
    pub failure: Option<Arc<str>>,
    /// Whether it is given up until it answers again.
    pub given_up: bool,
    /// Whether changes are heard of; `None` where the source does not push.
    pub pushes: Option<bool>,
}

#[derive(Debug, Default)]
struct State {
    answers: u64,
    failures_in_a_row: u32,
    failure: Option<Arc<str>>,
    given_up: bool,
    told_at: Option<Duration>,
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
    suspicion: Notify,
}

/// Asks the source. A panic would go on to each that waits, one after the other; it is told as the failure that it is.
pub(super) async fn ask(
    source: &dyn KeySource,
    digest: &KeyDigest,
) -> Result<SourceReply, SourceError> {
    let lookup = AssertUnwindSafe(async { source.lookup(digest).await });
    lookup
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(SourceError::Failed("a bug stopped it".into())))
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
            suspicion: Notify::new(),
        }
    }

    /// Why the source is not to be asked now; `None` if it is.
    pub(super) fn given_up(&self) -> Option<SourceError> {
        let state = self.lock();
        let failure = state.failure.as_ref().filter(|_| state.given_up)?;
        Some(SourceError::Failed(Arc::clone(failure)))
    }

    /// Notes how a lookup ended.
    pub(super) fn note<T>(&self, outcome: &Result<T, SourceError>) {
        match outcome {
            Ok(_) => self.answered(),
            Err(error @ (SourceError::Timeout | SourceError::Failed(_))) => self.failed(error),
            // That is ours.
            Err(SourceError::Overloaded) => {}
        }
    }

    /// What is known of the source.
    pub(super) fn health(&self) -> SourceHealth {
        let state = self.lock();
        SourceHealth {
            source: self.source.name(),
            failure: state.failure.clone(),
            given_up: state.given_up,
            pushes: None,
        }
    }

    /// Tries the source when it is suspected, for its failures or for having lost its pushes, and goes on until it answers. Never
    /// ends.
    pub(super) async fn watch(&self, trust: &Trust) {
        loop {
            tokio::select! {
                () = self.suspicion.notified() => {}
                () = trust.lost() => {}
                () = self.lasting_failure() => {}
            }
            loop {
                let answers = self.lock().answers;
                match ask(&*self.source, &probe_digest()).await {
                    Ok(_) => break self.answered(),
                    Err(error) if self.give_up(&error, answers) => tokio::time::sleep(RETRY).await,
                    // Somebody got an answer meanwhile.
                    Err(_) => break,
                }
            }
        }
    }

    /// Waits for a failure that no answer follows for a while: where nobody else asks, nobody else finds out whether it was one
    /// key's.
    async fn lasting_failure(&self) {
        loop {
            self.failure.notified().await;
            tokio::time::sleep(RETRY).await;
            if self.lock().failure.is_some() {
                return;
            }
        }
    }

    fn answered(&self) {
        let was_given_up = {
            let mut state = self.lock();
            state.answers += 1;
            state.failures_in_a_row = 0;
            state.failure = None;
            self.set_up(true, &state);
            std::mem::take(&mut state.given_up)
        };
        if was_given_up {
            tracing::info!(source = self.source.name(), "the source answers again");
        }
    }

    fn failed(&self, error: &SourceError) {
        let now = self.clock.monotonic();
        let is_told = {
            let mut state = self.lock();
            state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
            state.failure = Some(told(error));
            self.set_up(false, &state);
            self.failure.notify_one();
            if state.failures_in_a_row >= SUSPICIOUS {
                self.suspicion.notify_one();
            }
            let is_due = state
                .told_at
                .is_none_or(|at| now.saturating_sub(at) >= TOLD_EVERY);
            if is_due {
                state.told_at = Some(now);
            }
            is_due
        };
        if is_told {
            tracing::warn!(source = self.source.name(), %error, "a key could not be looked up");
        }
    }

    /// Gives the source up, unless it has answered somebody since so many answers were counted.
    fn give_up(&self, error: &SourceError, answers: u64) -> bool {
        let was_given_up = {
            let mut state = self.lock();
            if state.answers != answers {
                return false;
            }
            state.failure = Some(told(error));
            self.set_up(false, &state);
            std::mem::replace(&mut state.given_up, true)
        };
        if !was_given_up {
            tracing::error!(
                source = self.source.name(),
                %error,
                "the source is down and tried twice a second; keys that are not at hand are refused"
            );
        }
        true
    }

    /// Under the lock, so that the gauge is of the state.
    fn set_up(&self, up: bool, _state: &MutexGuard<'_, State>) {
        if let Some(metrics) = &self.metrics {
            metrics.set_up(up);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of a failure to those who did not meet it.
fn told(error: &SourceError) -> Arc<str> {
    match error {
        SourceError::Failed(problem) => Arc::clone(problem),
        SourceError::Timeout | SourceError::Overloaded => error.to_string().into(),
    }
}
