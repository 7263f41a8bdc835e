//! Which failures count as an outage, for which an operator may have Envoy let requests through,
//! and which as too much load, for which it never does.

use super::remote::{Scene, down};
use super::*;

fn unreachable_source() -> SourceError {
    SourceError::Unreachable("connection refused".into())
}

#[tokio::test]
async fn a_failed_lookup_is_an_outage_for_recently_known_keys_or_without_a_connection_alone() {
    for (error, of_known, of_unknown) in [
        (SourceError::Timeout, "unavailable", "overloaded"),
        (
            SourceError::Failed("500".into()),
            "unavailable",
            "overloaded",
        ),
        (unreachable_source(), "unavailable", "unavailable"),
        (SourceError::Overloaded, "overloaded", "overloaded"),
    ] {
        let scene = Scene::new();
        assert_eq!(scene.find("a").await, "a");
        scene.clock.forward(60);
        scene.source.fail_all(Some(error.clone()));
        assert_eq!(scene.verdict("a").await, of_known, "{error:?}");
        assert_eq!(scene.verdict("b").await, of_unknown, "{error:?}");
        assert_eq!(scene.verdict("made up").await, of_unknown, "{error:?}");
    }
}

#[tokio::test]
async fn a_key_is_recently_known_for_an_hour_after_a_lookup_found_it() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(60);
    scene.source.fail_all(Some(SourceError::Timeout));
    scene.clock.forward(3600 - 61);
    assert_eq!(scene.verdict("a").await, "unavailable");
    scene.clock.forward(1);
    assert_eq!(scene.verdict("a").await, "overloaded");
    scene.source.fail_all(None);
    assert_eq!(scene.verdict("a").await, "known");
    scene.clock.forward(60);
    scene.source.fail_all(Some(SourceError::Timeout));
    assert_eq!(scene.verdict("a").await, "unavailable");
}

#[tokio::test]
async fn a_key_that_is_gone_or_stopped_causes_no_outage() {
    let disabled = KeyRecord {
        enabled: false,
        ..record("a")
    };
    let revoked = KeyRecord {
        revoked_at: Some(Timestamp::UNIX_EPOCH.into()),
        ..record("a")
    };
    for last in [
        SourceAnswer::NotFound,
        SourceAnswer::Invalid(InvalidRecord::new("no id")),
        SourceAnswer::Found(Arc::new(disabled)),
        SourceAnswer::Found(Arc::new(revoked)),
    ] {
        let scene = Scene::new();
        assert_eq!(scene.find("a").await, "a");
        scene.clock.forward(60);
        scene.source.answer(digest_of("a"), Ok(last.clone()));
        scene.find("a").await;
        scene.clock.forward(60);
        scene.source.answer(digest_of("a"), down());
        assert_eq!(scene.verdict("a").await, "overloaded", "{last:?}");
    }
}

#[tokio::test]
async fn a_preempted_lookup_causes_no_outage() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(60);
    scene.source.hold();
    let names: Vec<String> = (0..4).map(|number| format!("made up {number}")).collect();
    let mut flood: Vec<_> = names
        .iter()
        .map(|name| Box::pin(scene.verdict(name)))
        .collect();
    for made_up in &mut flood {
        assert_eq!(made_up.now_or_never(), None);
    }
    let mut known = Box::pin(scene.verdict("a"));
    assert_eq!((&mut known).now_or_never(), None);
    assert_eq!((&mut flood[0]).now_or_never(), Some("overloaded"));
    scene.source.let_pass();
    assert_eq!(known.await, "known");
}

#[tokio::test]
async fn made_up_keys_evict_no_recently_known_key() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    for number in 0..1000 {
        assert_eq!(scene.find(&format!("made up {number}")).await, "unknown");
    }
    scene.clock.forward(60);
    scene.source.fail_all(Some(SourceError::Timeout));
    for number in 0..1000 {
        let name = format!("slow {number}");
        assert_eq!(scene.verdict(&name).await, "overloaded");
    }
    assert_eq!(scene.verdict("a").await, "unavailable");
}
