//! A remote source's keys: single-flight lookups, entries fresh for a time, no cached
//! failures.

use super::*;
use crate::keys::invalidation::InvalidationLog;

/// A cache in front of a source that holds `records()`, with a clock and room for 100 known and 10
/// unknown digests. Known ones are fresh for 60 seconds, unknown ones for 5, and 4 lookups may be
/// in flight at once.
pub(super) struct Scene {
    pub(super) source: Arc<ScriptedSource>,
    pub(super) clock: Arc<StillClock>,
    pub(super) metrics: Metrics,
    pub(super) cache: RemoteKeys<String>,
    pub(super) prepared: Arc<AtomicUsize>,
    pub(super) snapshot: Snapshot,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::of(ScriptedSource::of(&records()), Duration::ZERO)
    }

    pub(super) fn of(source: ScriptedSource, stale_if_error: Duration) -> Self {
        let source = Arc::new(source);
        let clock = Arc::new(StillClock::default());
        let metrics = Metrics::new(10).unwrap();
        let (prepared, prepare) = counting();
        let remote = RemoteSettings {
            source: Arc::<ScriptedSource>::clone(&source),
            clock: Arc::<StillClock>::clone(&clock),
            cache: CacheSettings {
                stale_if_error,
                ..cache_settings()
            },
            max_in_flight: 4,
            metrics: Some(RemoteMetrics {
                cache: metrics.cache.clone(),
                source: metrics.source("http").unwrap(),
                invalidations: metrics.invalidations.push.clone(),
                push_up: None,
            }),
        };
        let cache = RemoteKeys::new(remote, prepare);
        Self {
            source,
            clock,
            metrics,
            cache,
            prepared,
            snapshot: snapshot(1, None),
        }
    }

    pub(super) async fn find(&self, secret: &str) -> String {
        shown(self.cache.find(&digest_of(secret), &self.snapshot).await)
    }

    /// Whom the lookup of a digest is answered as: `known`, `unknown`, `invalid`, `unavailable` or
    /// `overloaded`.
    pub(super) async fn verdict(&self, secret: &str) -> &'static str {
        match self.cache.find(&digest_of(secret), &self.snapshot).await {
            Ok(Lookup::Known(_)) => "known",
            Ok(Lookup::Unknown) => "unknown",
            Ok(Lookup::Invalid(_)) => "invalid",
            Err(LookupError::Unavailable(_)) => "unavailable",
            Err(LookupError::Overloaded(_)) => "overloaded",
        }
    }

    pub(super) fn lookups_in_flight(&self) -> usize {
        self.cache.single_flight.count()
    }

    pub(super) fn log(&self) -> Arc<InvalidationLog> {
        Arc::clone(&self.cache.fetcher.log)
    }
}

pub(super) const FAILED: &str = "the source failed: down";

pub(super) fn down() -> Result<SourceAnswer, SourceError> {
    Err(SourceError::Failed("down".into()))
}

#[tokio::test]
async fn entries_are_fresh_for_their_ttl_by_our_clock() {
    let scene = Scene::new();
    let not_valid = SourceAnswer::Invalid(InvalidRecord::new("no id"));
    scene.source.answer(digest_of("bad"), Ok(not_valid));
    for (name, secret, forward, want, asked) in [
        ("first", "a", 0, "a", 1),
        ("fresh", "a", 59, "a", 1),
        ("past its time", "a", 1, "a", 2),
        ("unknown", "c", 0, "unknown", 3),
        ("still unknown", "c", 4, "unknown", 3),
        ("unknown past its time", "c", 1, "unknown", 4),
        ("not valid", "bad", 0, "the record is not valid: no id", 5),
        (
            "still not valid",
            "bad",
            4,
            "the record is not valid: no id",
            5,
        ),
        (
            "not valid past its time",
            "bad",
            1,
            "the record is not valid: no id",
            6,
        ),
    ] {
        scene.clock.forward(forward);
        assert_eq!(scene.find(secret).await, want, "{name}");
        assert_eq!(scene.source.asked(), asked, "{name}");
    }
}

#[tokio::test]
async fn what_changed_at_the_source_is_seen_when_the_ttl_is_over() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene
        .source
        .answer(digest_of("a"), Ok(SourceAnswer::NotFound));
    scene.source.answer(
        digest_of("c"),
        Ok(SourceAnswer::Found(Arc::new(record("c")))),
    );
    scene.clock.forward(60);
    assert_eq!(scene.find("a").await, "unknown");
    assert_eq!(scene.find("c").await, "c");
    assert_eq!(scene.find("a").await, "unknown");
    assert_eq!(scene.source.asked(), 3);
}

#[tokio::test]
async fn a_failure_is_returned_and_never_cached() {
    let scene = Scene::new();
    for answer in [
        down(),
        Err(SourceError::Timeout),
        Err(SourceError::Overloaded),
    ] {
        scene.source.answer(digest_of("a"), answer.clone());
        let asked = scene.source.asked();
        for _ in 0..2 {
            assert_eq!(
                scene.find("a").await,
                answer.clone().unwrap_err().to_string()
            );
        }
        assert_eq!(scene.source.asked(), asked + 2);
    }
    scene.source.answer(
        digest_of("a"),
        Ok(SourceAnswer::Found(Arc::new(record("a")))),
    );
    assert_eq!(scene.find("a").await, "a");
}

#[tokio::test]
async fn a_failure_does_not_take_a_fresh_key_away() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(60);
    assert_eq!(scene.find("a").await, FAILED);
}

#[tokio::test]
async fn a_thousand_first_requests_make_one_lookup_and_prepare_once() {
    let scene = Scene::new();
    scene.source.hold();
    let release = async { scene.source.let_pass() };
    let (found, ()) = join(join_all((0..1000).map(|_| scene.find("a"))), release).await;
    assert!(found.iter().all(|id| id == "a"));
    assert_eq!(scene.source.asked(), 1);
    assert_eq!(scene.prepared.load(Ordering::SeqCst), 1);
    assert_eq!(scene.lookups_in_flight(), 0);
}

#[tokio::test]
async fn a_failure_answers_all_who_wait_for_it() {
    let scene = Scene::new();
    scene.source.hold();
    scene.source.answer(digest_of("a"), down());
    let release = async { scene.source.let_pass() };
    let (found, ()) = join(join_all((0..100).map(|_| scene.find("a"))), release).await;
    assert!(found.iter().all(|text| text == FAILED));
    assert_eq!(scene.source.asked(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_lookup_for_no_other() {
    let scene = Scene::new();
    scene.source.hold();
    let mut first = Box::pin(scene.find("a"));
    let mut second = Box::pin(scene.find("a"));
    assert_eq!((&mut first).now_or_never(), None);
    assert_eq!((&mut second).now_or_never(), None);
    drop(first);
    assert_eq!((&mut second).now_or_never(), None);
    scene.source.let_pass();
    assert_eq!(second.await, "a");
    assert_eq!(scene.source.asked(), 1);
}

#[tokio::test]
async fn when_all_callers_have_left_the_lookup_ends_and_the_next_begins_anew() {
    let scene = Scene::new();
    scene.source.hold();
    assert_eq!(scene.find("a").now_or_never(), None);
    assert_eq!(scene.lookups_in_flight(), 0);
    scene.source.let_pass();
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.source.asked(), 2);
}

#[tokio::test]
async fn a_panic_in_a_source_is_a_failure_and_wedges_nothing() {
    let scene = Scene::new();
    scene.source.panic_at(Some(digest_of("a")));
    let found = join_all((0..10).map(|_| scene.find("a"))).await;
    assert!(
        found
            .iter()
            .all(|text| text == "the source failed: the lookup panicked"),
        "{found:?}"
    );
    assert_eq!(scene.find("b").await, "b");
    scene.source.panic_at(None);
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.lookups_in_flight(), 0);
}

#[tokio::test]
async fn a_flood_of_unknown_digests_evicts_no_known_key() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    for number in 0..1000 {
        assert_eq!(scene.find(&format!("random {number}")).await, "unknown");
    }
    let asked = scene.source.asked();
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.source.asked(), asked);
    let (known, unknown) = scene.cache.fetcher.entries.counts();
    assert_eq!(known, 1);
    assert!(unknown <= 10, "{unknown}");
}

#[tokio::test]
async fn another_generation_prepares_anew_without_a_lookup_and_without_a_longer_life() {
    let mut scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(30);
    scene.snapshot = snapshot(2, None);
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(
        (scene.source.asked(), scene.prepared.load(Ordering::SeqCst)),
        (1, 2)
    );
    scene.clock.forward(30);
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.source.asked(), 2);
}

#[tokio::test]
async fn lookups_are_counted() {
    let scene = Scene::new();
    scene.source.answer(digest_of("down"), down());
    scene
        .source
        .answer(digest_of("slow"), Err(SourceError::Timeout));
    for secret in ["a", "a", "c", "c", "down", "slow"] {
        scene.find(secret).await;
    }
    scene.cache.measure();
    assert_eq!(
        metrics_of(&scene.metrics),
        [
            "entries{kind=\"key\"} 1",
            "entries{kind=\"negative\"} 1",
            "lookups_total{result=\"hit\"} 1",
            "lookups_total{result=\"miss\"} 4",
            "lookups_total{result=\"negative_hit\"} 1",
        ]
    );
    let text = scene.metrics.render();
    for result in ["found", "not_found", "error", "timeout"] {
        let line = format!("keyward_source_lookups_total{{result=\"{result}\",source=\"http\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
    // Made-up keys alone do not make it count as failed.
    assert!(text.contains("keyward_source_up{source=\"http\"} 1"));
}

/// The cache is a source to its callers: it gives what the source behind it would give.
struct ThroughCache(RemoteKeys<String>, Snapshot);

impl KeySource for ThroughCache {
    fn name(&self) -> &'static str {
        "http"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async {
            let found = self.0.find(digest, &self.1).await;
            let found = found.map_err(|error| match error {
                LookupError::Unavailable(error) | LookupError::Overloaded(error) => error,
            });
            Ok(match found? {
                Lookup::Known(key) => SourceAnswer::Found(Arc::clone(&key.record)),
                Lookup::Unknown => SourceAnswer::NotFound,
                Lookup::Invalid(invalid) => SourceAnswer::Invalid(invalid),
            }
            .into())
        })
    }
}

#[tokio::test]
async fn through_the_cache_a_source_keeps_its_contract() {
    let scene = Scene::new();
    keeps_the_contract(&ThroughCache(scene.cache, scene.snapshot)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_make_one_lookup() {
    let scene = Arc::new(Scene::new());
    scene.source.hold();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let scene = Arc::clone(&scene);
        tasks.spawn(async move { scene.find("a").await });
    }
    while scene.source.asked() == 0 {
        tokio::task::yield_now().await;
    }
    scene.source.let_pass();
    assert!(tasks.join_all().await.iter().all(|id| id == "a"));
    assert_eq!(scene.source.asked(), 1);
}
