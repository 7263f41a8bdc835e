//! The circuit breaker: what opens and closes it, and what is looked up while
//! it is open.

use super::remote::{FAILED, Scene, down};
use super::*;

/// Far longer than anything takes, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

fn failed() -> SourceError {
    SourceError::Failed("down".into())
}

fn unreachable_source() -> SourceError {
    SourceError::Unreachable("connection refused".into())
}

/// Runs the cache for as long as `other` runs, which may wait for what never comes.
async fn running<T>(scene: &Scene, other: impl Future<Output = T>) -> T {
    tokio::select! {
        () = scene.cache.run() => panic!("it never ends"),
        done = tokio::time::timeout(PATIENCE, other) => done.expect("it never came"),
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_open(scene: &Scene) -> bool {
    scene.cache.source_health().breaker_open
}

fn shows_up(scene: &Scene, value: u8) -> bool {
    let line = format!("keyward_source_up{{source=\"http\"}} {value}");
    scene.metrics.render().contains(&line)
}

/// Lookups that fail until the source counts as failed. The keys have to be recently known.
async fn open(scene: &Scene, secret: &str) {
    scene.clock.forward(60);
    for _ in 0..3 {
        assert_eq!(scene.find(secret).await, FAILED);
    }
    until(|| is_open(scene)).await;
}

#[tokio::test]
async fn a_dead_source_opens_the_breaker_after_a_few_failures_and_its_answer_closes_it() {
    let scene = Scene::new();
    running(&scene, async {
        assert_eq!(scene.find("a").await, "a");
        scene.source.fail_all(Some(failed()));
        open(&scene, "a").await;
        let asked = scene.source.asked();
        for _ in 0..100 {
            assert_eq!(scene.find("a").await, FAILED);
            assert_eq!(scene.find("never known").await, FAILED);
        }
        assert_eq!(scene.source.asked(), asked + 1, "one trial of the known");
        assert!(shows_up(&scene, 0));
        scene.source.fail_all(None);
        until(|| !is_open(&scene)).await;
        assert_eq!(scene.find("a").await, "a");
        assert!(shows_up(&scene, 1));
    })
    .await;
}

#[tokio::test]
async fn failures_of_made_up_keys_alone_do_not_open_the_breaker() {
    for error in [SourceError::Timeout, failed()] {
        let scene = Scene::new();
        running(&scene, async {
            assert_eq!(scene.find("a").await, "a");
            scene.source.fail_unknown(Some(error.clone()));
            for number in 0..20 {
                let name = format!("made up {number}");
                assert_eq!(scene.find(&name).await, error.to_string());
            }
            let asked = scene.source.asked();
            until(|| scene.source.asked() > asked).await;
            tokio::task::yield_now().await;
            assert!(!is_open(&scene), "{error}");
            assert!(shows_up(&scene, 1), "{error}");
            assert_eq!(scene.find("b").await, "b", "not known before");
            scene.clock.forward(60);
            assert_eq!(scene.find("a").await, "a");
        })
        .await;
    }
}

#[tokio::test]
async fn with_nothing_recently_known_failures_of_made_up_keys_do_not_open_it_either() {
    let scene = Scene::new();
    scene.source.fail_unknown(Some(SourceError::Timeout));
    running(&scene, async {
        for number in 0..20 {
            assert_eq!(
                scene.verdict(&format!("made up {number}")).await,
                "overloaded"
            );
        }
        // No lookup was ever answered, and that is shown.
        until(|| shows_up(&scene, 0)).await;
        assert!(!is_open(&scene));
        assert_eq!(scene.find("a").await, "a");
        assert!(shows_up(&scene, 1));
    })
    .await;
}

#[tokio::test]
async fn where_no_connection_can_be_made_failures_of_made_up_keys_open_it() {
    let scene = Scene::new();
    scene.source.fail_all(Some(unreachable_source()));
    running(&scene, async {
        for number in 0..3 {
            let name = format!("made up {number}");
            assert_eq!(scene.verdict(&name).await, "unavailable");
        }
        until(|| is_open(&scene)).await;
        let asked = scene.source.asked();
        for number in 0..100 {
            let name = format!("another {number}");
            assert_eq!(scene.verdict(&name).await, "unavailable");
        }
        assert_eq!(scene.source.asked(), asked);
        // It can be connected to again, and is slow for unknown digests: no reason to ask
        // it for nothing.
        scene.source.fail_all(None);
        scene.source.fail_unknown(Some(SourceError::Timeout));
        until(|| !is_open(&scene)).await;
        assert_eq!(scene.verdict("made up").await, "overloaded");
        assert_eq!(scene.find("a").await, "a");
    })
    .await;
}

#[tokio::test]
async fn a_trial_that_is_answered_closes_the_breaker_for_all() {
    let scene = Scene::new();
    running(&scene, async {
        for secret in ["a", "b"] {
            assert_eq!(scene.find(secret).await, secret);
        }
        scene.source.fail_all(Some(failed()));
        open(&scene, "a").await;
        scene.source.fail_all(None);
        scene.source.fail_unknown(Some(SourceError::Timeout));
        scene.clock.forward(1);
        // No probe comes between: nothing here waits.
        assert_eq!(scene.verdict("made up").await, "overloaded");
        assert_eq!(scene.find("b").await, "b");
        assert!(!is_open(&scene));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_a_key_is_gone_or_its_record_bad_closes_it_as_well() {
    for answer in [
        SourceAnswer::NotFound,
        SourceAnswer::Invalid(InvalidRecord::new("no id")),
    ] {
        let scene = Scene::new();
        running(&scene, async {
            assert_eq!(scene.find("a").await, "a");
            scene.source.fail_all(Some(failed()));
            open(&scene, "a").await;
            scene.source.fail_all(None);
            scene.source.answer(digest_of("a"), Ok(answer.clone()));
            scene.clock.forward(1);
            assert_ne!(scene.find("a").await, "a");
            assert!(!is_open(&scene), "{answer:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn trials_are_few_and_one_a_key_however_many_ask() {
    let records: Vec<_> = (0..40)
        .map(|n| Arc::new(record(&format!("k{n}"))))
        .collect();
    let scene = Scene::of(ScriptedSource::of(&records), Duration::ZERO);
    running(&scene, async {
        for number in 0..40 {
            let name = format!("k{number}");
            assert_eq!(scene.find(&name).await, name);
        }
        scene.source.fail_all(Some(failed()));
        open(&scene, "k0").await;
        for _ in 0..2 {
            scene.clock.forward(1);
            let asked = scene.source.asked();
            for _ in 0..10 {
                assert_eq!(scene.verdict("k0").await, "unavailable");
            }
            assert_eq!(scene.source.asked(), asked + 1, "one of one key");
            for number in 0..400 {
                let name = format!("k{}", number % 40);
                assert_eq!(scene.verdict(&name).await, "unavailable");
            }
            assert_eq!(scene.source.asked(), asked + 16);
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_does_not_wait_for_a_trial_in_flight() {
    let scene = Scene::new();
    running(&scene, async {
        assert_eq!(scene.find("a").await, "a");
        scene.source.fail_all(Some(failed()));
        open(&scene, "a").await;
        scene.source.hold();
        let mut trial = Box::pin(scene.find("a"));
        assert_eq!((&mut trial).now_or_never(), None);
        assert_eq!(scene.find("a").await, FAILED);
        scene.source.fail_all(None);
        scene.source.let_pass();
        assert_eq!(trial.await, "a");
        assert!(!is_open(&scene));
    })
    .await;
}

#[tokio::test]
async fn a_trial_lets_in_no_key_that_was_revoked_meanwhile() {
    let scene = Scene::of(ScriptedSource::of(&records()), Duration::from_hours(1));
    running(&scene, async {
        assert_eq!(scene.find("a").await, "a");
        scene.source.fail_all(Some(failed()));
        scene.clock.forward(60);
        for _ in 0..3 {
            assert_eq!(scene.find("a").await, "a", "served stale");
        }
        until(|| is_open(&scene)).await;
        scene.log().key_changed("a");
        scene.clock.forward(1);
        // The trial, and those that get none.
        for _ in 0..3 {
            assert_eq!(scene.find("a").await, FAILED);
        }
        scene.source.fail_all(None);
        let gone = Ok(SourceAnswer::NotFound);
        scene.source.answer(digest_of("a"), gone);
        scene.clock.forward(1);
        assert_eq!(scene.find("a").await, "unknown");
    })
    .await;
}

#[tokio::test]
async fn one_key_that_fails_does_not_open_the_breaker() {
    let scene = Scene::new();
    scene.source.answer(digest_of("a"), down());
    running(&scene, async {
        for _ in 0..20 {
            assert_eq!(scene.find("a").await, FAILED);
            // The source is tried meanwhile.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(scene.find("b").await, "b");
    })
    .await;
}

#[tokio::test]
async fn after_a_single_failure_a_probe_finds_that_the_source_is_up() {
    let scene = Scene::new();
    running(&scene, async {
        assert_eq!(scene.find("a").await, "a");
        scene.clock.forward(60);
        scene.source.answer(digest_of("a"), down());
        assert_eq!(scene.find("a").await, FAILED);
        let health = scene.cache.source_health();
        assert_eq!(health.failure.as_deref(), Some("down"));
        while scene.cache.source_health().failure.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The probe asks for what was found last, and for what no key has.
        assert_eq!(scene.source.asked(), 4);
        let up = "keyward_source_up{source=\"http\"} 1";
        assert!(scene.metrics.render().contains(up));
    })
    .await;
}

#[tokio::test]
async fn a_source_that_cannot_be_subscribed_to_is_probed() {
    let scene = Scene::of(ScriptedSource::of(&records()).pushing(), Duration::ZERO);
    scene.source.fail_all(Some(unreachable_source()));
    running(&scene, async {
        scene.log().unsubscribed("refused");
        until(|| is_open(&scene)).await;
    })
    .await;
}
