//! What every `KeySource` must keep to, as tests that run over each, and a source that is slow and
//! fails at command.
//!
//! A source is held to answers, never to how it finds them: found, not found and failed are three
//! things, the same question gets the same answer, and a digest that no key has is no error.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::authz::digest::DigestKind;
use crate::authz::key::Secret;
use crate::authz::key::tests::{digest_of, record};
use crate::authz::key_map::KeyMap;

/// The records that a source must hold for `keeps_the_contract`: `a` with the secrets `a` and `a2`,
/// and `b`.
pub(crate) fn records() -> Vec<Arc<KeyRecord>> {
    let mut two = record("a");
    let second = Secret {
        id: None,
        digest: digest_of("a2"),
        validity: crate::authz::key::Validity::default(),
    };
    two.secrets = [two.secrets[0].clone(), second].into();
    vec![Arc::new(two), Arc::new(record("b"))]
}

/// Tests a source that holds exactly `records()`. A new source is to be added below.
pub(crate) async fn keeps_the_contract(source: &dyn KeySource) {
    let records = records();
    let found = |number: usize| Ok(SourceAnswer::Found(Arc::clone(&records[number])));
    let other_kind = KeyDigest::new(DigestKind::Blake3Keyed, blake3::hash(b"a").into());
    let cases = [
        ("a secret", digest_of("a"), found(0)),
        ("another secret of the same key", digest_of("a2"), found(0)),
        ("another key", digest_of("b"), found(1)),
        ("no key", digest_of("c"), Ok(SourceAnswer::NotFound)),
        (
            "the same bytes under another kind",
            other_kind,
            Ok(SourceAnswer::NotFound),
        ),
    ];
    assert!(
        ["file", "http", "redis"].contains(&source.name()),
        "{}",
        source.name()
    );
    for (name, digest, want) in &cases {
        // An abandoned lookup leaves nothing behind that would harm the next.
        drop(source.lookup(digest));
        let _ = source.lookup(digest).now_or_never();
        for _ in 0..2 {
            let answer = source.lookup(digest).await.map(|reply| reply.answer);
            assert_eq!(answer, *want, "{name}");
        }
    }
    let at_once = cases
        .iter()
        .cycle()
        .take(100)
        .map(|(_, digest, _)| source.lookup(digest));
    for (reply, (name, _, want)) in join_all(at_once)
        .await
        .into_iter()
        .zip(cases.iter().cycle())
    {
        assert_eq!(
            reply.map(|reply| reply.answer),
            *want,
            "{name}, at once with others"
        );
    }
}

/// A source that answers what a test says, when it says so.
pub(crate) struct ScriptedSource {
    answers: Mutex<HashMap<KeyDigest, Result<SourceAnswer, SourceError>>>,
    panics: Mutex<Option<KeyDigest>>,
    max_age: Mutex<Option<Duration>>,
    asked: AtomicUsize,
    gate: Semaphore,
    pushes: bool,
    fails: Mutex<Option<SourceError>>,
    fails_unknown: Mutex<Option<SourceError>>,
    at_each: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl ScriptedSource {
    /// A source with these records that answers at once.
    pub(crate) fn of(records: &[Arc<KeyRecord>]) -> Self {
        let source = Self {
            answers: Mutex::default(),
            panics: Mutex::default(),
            max_age: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            pushes: false,
            fails: Mutex::default(),
            fails_unknown: Mutex::default(),
            at_each: Mutex::default(),
        };
        for record in records {
            for secret in &record.secrets {
                source.answer(secret.digest, Ok(SourceAnswer::Found(Arc::clone(record))));
            }
        }
        source
    }

    /// The same, as a source that pushes changes.
    pub(crate) fn pushing(self) -> Self {
        Self {
            pushes: true,
            ..self
        }
    }

    /// From now on every lookup fails so; with none, none does for that.
    pub(crate) fn fail_all(&self, error: Option<SourceError>) {
        *self.fails.lock().unwrap() = error;
    }

    /// From now on lookups of digests that no key has fail so, as at a source whose negative path
    /// is slow or broken.
    pub(crate) fn fail_unknown(&self, error: Option<SourceError>) {
        *self.fails_unknown.lock().unwrap() = error;
    }

    /// From now on that happens while a lookup is in flight.
    pub(crate) fn at_each_lookup(&self, what: impl Fn() + Send + 'static) {
        *self.at_each.lock().unwrap() = Some(Box::new(what));
    }

    /// From now on answers are bound so.
    pub(crate) fn bound(&self, max_age: Option<Duration>) {
        *self.max_age.lock().unwrap() = max_age;
    }

    /// From now on this is the answer for that digest.
    pub(crate) fn answer(&self, digest: KeyDigest, answer: Result<SourceAnswer, SourceError>) {
        self.answers.lock().unwrap().insert(digest, answer);
    }

    /// From now on a lookup of that digest panics; of none, none does.
    pub(crate) fn panic_at(&self, digest: Option<KeyDigest>) {
        *self.panics.lock().unwrap() = digest;
    }

    /// From now on no lookup ends before `let_pass`.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets all lookups end.
    pub(crate) fn let_pass(&self) {
        self.gate
            .add_permits(Semaphore::MAX_PERMITS - self.gate.available_permits());
    }

    /// How many lookups began.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for ScriptedSource {
    fn name(&self) -> &'static str {
        "http"
    }

    fn push(&self) -> PushSupport {
        if self.pushes {
            PushSupport::Enabled
        } else {
            PushSupport::None
        }
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Read first and sent late, as by a source that is slow.
            let answer = self.answers.lock().unwrap().get(digest).cloned();
            drop(self.gate.acquire().await.unwrap());
            let panics = *self.panics.lock().unwrap();
            assert_ne!(panics, Some(*digest), "a lookup that was told to panic");
            if let Some(what) = &*self.at_each.lock().unwrap() {
                what();
            }
            if let Some(error) = &*self.fails.lock().unwrap() {
                return Err(error.clone());
            }
            let unknown = self.fails_unknown.lock().unwrap().clone();
            answer
                .unwrap_or(unknown.map_or(Ok(SourceAnswer::NotFound), Err))
                .map(|answer| SourceReply {
                    answer,
                    max_age: *self.max_age.lock().unwrap(),
                })
        })
    }
}

#[tokio::test]
async fn a_file_keeps_the_contract() {
    keeps_the_contract(&KeyMap::new(records()).unwrap()).await;
}

#[tokio::test]
async fn the_source_of_the_tests_keeps_the_contract() {
    keeps_the_contract(&ScriptedSource::of(&records())).await;
}
