//! The pipeline as a whole: held to an oracle, to the order of a decision, to the clock and to
//! reloads.
//!
//! The oracle and the random inputs are those of `authz::tests`.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use super::trace::NoTrace;
use super::*;
use crate::authz::decision::Grounds;
use crate::authz::key::KeyRecord;
use crate::authz::tests::{naive, oracle, random};
use crate::keys::cache::FileKeys;

mod order;
mod properties;
mod secrecy;
mod time;

/// A clock that shows one time until it is moved.
struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    fn at(offset: i64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(naive::moment(offset))))
    }

    fn move_to(&self, offset: i64) {
        *self.0.lock().unwrap() = naive::moment(offset);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// The outcome of what never waits: a file's keys are always at hand.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a decision by a file's keys waits for nothing"),
    }
}

/// An authorizer of the snapshot's keys, as those of a file.
pub(crate) fn of_file<P: Send + Sync + 'static>(
    snapshot: Arc<Snapshot>,
    clock: Arc<dyn Clock>,
    prepare: impl Fn(&Arc<KeyRecord>, &Snapshot) -> P + Send + Sync + 'static,
) -> Authorizer<P> {
    let cache = KeyCache::File(FileKeys::new(100, Box::new(prepare), None));
    Authorizer::new(snapshot, cache, clock)
}

/// An authorizer that prepares nothing but the generation under which it was asked to.
fn authorizer(snapshot: Arc<Snapshot>, clock: Arc<ManualClock>) -> Authorizer<u64> {
    of_file(snapshot, clock, |_, snapshot| snapshot.generation.0)
}

/// What a decision says, without what it borrows from.
#[derive(Debug, PartialEq)]
struct Outcome {
    allowed: bool,
    reason: &'static str,
    kind: &'static str,
    key: Option<String>,
    rule: Option<String>,
    moment: Option<Timestamp>,
    /// The identity headers that go upstream.
    identity: Vec<(String, String)>,
}

fn outcome(world: &naive::World, request: &naive::NaiveRequest) -> Outcome {
    let snapshot = world.snapshot(1);
    let authorizer = authorizer(Arc::clone(&snapshot), ManualClock::at(0));
    let attributes = request.attributes();
    let decision = ready(authorizer.decide(&attributes, &snapshot, &mut NoTrace));
    outcome_of(&decision, &snapshot)
}

fn outcome_of(decision: &Decision<'_, PresentedKey<u64>>, snapshot: &Snapshot) -> Outcome {
    let policy = &snapshot.policy;
    let mut identity = Vec::new();
    if let Decision::Allow(grant) = decision
        && let Grounds::Key(key) = &grant.grounds
    {
        for (name, value) in policy.identity.values(&key.record, &policy.plans) {
            identity.extend(value.map(|value| (name.as_str().to_owned(), value.into_owned())));
        }
    }
    Outcome {
        allowed: matches!(decision, Decision::Allow(_)),
        reason: decision.reason().as_str(),
        kind: decision.kind().as_str(),
        key: decision.key().map(|key| key.record.id.to_string()),
        rule: decision.rule().map(|rule| rule.name.to_string()),
        moment: decision.refusal().and_then(|refusal| refusal.moment),
        identity,
    }
}

/// Keeps every step as its `Debug` shows it.
#[derive(Default)]
struct Recorded(Vec<String>);

impl Trace for Recorded {
    fn step(&mut self, outcome: StepOutcome, step: Step<'_>) {
        self.0.push(format!("{outcome:?} {step:?}"));
    }
}
