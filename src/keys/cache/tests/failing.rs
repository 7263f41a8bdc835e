//! A remote source that fails, is slow or is flooded: who is served, refused and preempted.

use super::remote::{Scene, down};
use super::*;

const FAILED: &str = "the source failed: down";

fn stale_allowed_for(seconds: u64) -> Scene {
    Scene::of(ScriptedSource::of(&records()), Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_known_key_is_served_stale_for_stale_if_error_while_the_source_fails() {
    let scene = stale_allowed_for(30);
    assert_eq!(scene.find("a").await, "a");
    for answer in [down(), Err(SourceError::Timeout)] {
        for secret in ["a", "b"] {
            scene.source.answer(digest_of(secret), answer.clone());
        }
        let failure = answer.unwrap_err().to_string();
        assert_eq!(scene.find("b").await, failure, "never looked up");
    }
    for (forward, want) in [
        (60, "a"),
        (29, "a"),
        (1, "the source did not answer in time"),
    ] {
        scene.clock.forward(forward);
        assert_eq!(scene.find("a").await, want, "{forward} seconds later");
    }
    let counted = metrics_of(&scene.metrics);
    let stale = "lookups_total{result=\"stale\"} 2".to_owned();
    assert!(counted.contains(&stale), "{counted:?}");
}

#[tokio::test]
async fn no_key_is_served_stale_once_the_source_said_that_it_is_gone_or_invalid() {
    let scene = stale_allowed_for(30);
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(60);
    for answer in [
        Ok(SourceAnswer::NotFound),
        Ok(SourceAnswer::Invalid(InvalidRecord::new("no id"))),
    ] {
        scene.source.answer(digest_of("a"), answer);
        assert_ne!(scene.find("a").await, "a");
        scene.source.answer(digest_of("a"), down());
        scene.clock.forward(5);
        assert_eq!(scene.find("a").await, FAILED);
    }
}

#[tokio::test]
async fn max_age_shortens_the_ttl_and_never_lengthens_it() {
    for (max_age, fresh) in [(None, 60), (Some(10), 10), (Some(3600), 60), (Some(0), 0)] {
        let scene = Scene::new();
        scene.source.bound(max_age.map(Duration::from_secs));
        assert_eq!(scene.find("a").await, "a");
        if fresh > 0 {
            scene.clock.forward(fresh - 1);
            assert_eq!(scene.find("a").await, "a");
            assert_eq!(scene.source.asked(), 1, "{max_age:?}");
            scene.clock.forward(1);
        }
        assert_eq!(scene.find("a").await, "a");
        assert_eq!(scene.source.asked(), 2, "{max_age:?}");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_digests_is_refused_and_preempted_by_a_key_in_use() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(60);
    scene.source.hold();
    let names: Vec<String> = (0..6).map(|number| format!("random {number}")).collect();
    let mut flood: Vec<_> = names
        .iter()
        .map(|name| Box::pin(scene.find(name)))
        .collect();
    let overloaded = "too many lookups are in flight";
    for (number, unknown) in flood.iter_mut().enumerate() {
        let refused = (number >= 4).then(|| overloaded.to_owned());
        assert_eq!(unknown.now_or_never(), refused, "unknown digest {number}");
    }
    let mut known = Box::pin(scene.find("a"));
    assert_eq!((&mut known).now_or_never(), None);
    assert_eq!((&mut flood[0]).now_or_never().as_deref(), Some(overloaded));
    scene.source.let_pass();
    assert_eq!(known.await, "a");
    flood.truncate(4);
    for unknown in flood.drain(1..) {
        assert_eq!(unknown.await, "unknown");
    }
}

#[tokio::test]
async fn a_lookup_ends_without_callers_while_the_cache_is_running() {
    let scene = Scene::new();
    let mut tending = Box::pin(scene.cache.run());
    assert!((&mut tending).now_or_never().is_none());
    scene.source.hold();
    assert_eq!(scene.find("a").now_or_never(), None);
    assert_eq!(scene.lookups_in_flight(), 1);
    scene.source.let_pass();
    while scene.lookups_in_flight() > 0 {
        assert!((&mut tending).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.source.asked(), 1);
}

#[tokio::test]
async fn a_record_is_checked_against_the_policy_that_it_is_used_with() {
    let mut planned = record("p");
    planned.plan = Some("gold".parse().unwrap());
    let planned = [Arc::new(planned)];
    let mut scene = Scene::of(ScriptedSource::of(&planned), Duration::ZERO);
    let no_plan = "the record is not valid: key `p`: plan: there is no such plan; the configuration has no plans";
    assert_eq!(scene.find("p").await, no_plan);
    assert_eq!(scene.find("p").await, no_plan);
    assert_eq!(scene.source.asked(), 1);
    let mut policy = policy();
    policy.plans.0.insert(
        "gold".parse().unwrap(),
        crate::authz::snapshot::Plan::default(),
    );
    let without = std::mem::replace(
        &mut scene.snapshot,
        Snapshot {
            generation: Generation(2),
            policy: Arc::new(policy),
            keys: None,
        },
    );
    // The key is at hand: it is held to the new policy without being asked for.
    assert_eq!(scene.find("p").await, "p");
    let with = std::mem::replace(&mut scene.snapshot, without);
    assert_eq!(scene.find("p").await, no_plan);
    assert_eq!(scene.source.asked(), 1);
    // A check that began under the snapshot before has no say in those that came after.
    scene.snapshot = with;
    assert_eq!(scene.find("p").await, "p");
    assert_eq!(scene.source.asked(), 1);
}

#[tokio::test]
async fn a_rejected_key_is_looked_up_again_after_negative_ttl() {
    let mut planned = record("p");
    planned.plan = Some("gold".parse().unwrap());
    let scene = Scene::of(ScriptedSource::of(&[Arc::new(planned)]), Duration::ZERO);
    assert_ne!(scene.find("p").await, "p");
    let mended = Ok(SourceAnswer::Found(Arc::new(record("p"))));
    scene.source.answer(digest_of("p"), mended);
    scene.clock.forward(4);
    assert_ne!(scene.find("p").await, "p");
    scene.clock.forward(1);
    assert_eq!(scene.find("p").await, "p");
}

#[tokio::test]
async fn a_key_found_revoked_or_disabled_by_one_secret_is_served_stale_by_no_other() {
    let stops: [fn(&mut KeyRecord); 2] = [
        |key| key.revoked_at = Some(Timestamp::UNIX_EPOCH.into()),
        |key| key.enabled = false,
    ];
    for stop in stops {
        let mut key = record("first");
        key.secrets = [key.secrets, record("second").secrets].concat().into();
        let scene = Scene::of(
            ScriptedSource::of(&[Arc::new(key.clone())]),
            Duration::from_hours(1),
        );
        for secret in ["first", "second"] {
            assert_eq!(scene.find(secret).await, "first");
        }
        scene.clock.forward(60);
        stop(&mut key);
        let stopped = Ok(SourceAnswer::Found(Arc::new(key)));
        scene.source.answer(digest_of("first"), stopped);
        assert_eq!(scene.find("first").await, "first");
        scene
            .source
            .fail_all(Some(SourceError::Failed("down".into())));
        assert_eq!(scene.find("second").await, FAILED);
        scene.clock.forward(60);
        assert_eq!(
            scene.find("first").await,
            "first",
            "it says itself that it is stopped"
        );
    }
}
