//! What a remote source pushes: nothing that changed is used again, whatever was in flight.

use super::remote::{Scene, down};
use super::*;
use crate::keys::invalidation::InvalidationLog;

fn pushing() -> Scene {
    stale_allowed_for(600)
}

/// Keys may be served stale for so many seconds.
fn stale_allowed_for(seconds: u64) -> Scene {
    let source = ScriptedSource::of(&records()).pushing();
    let scene = Scene::of(source, Duration::from_secs(seconds));
    scene.log().subscribed();
    scene
}

/// A record that is switched off, under the same digest.
fn disabled(id: &str) -> SourceAnswer {
    let mut disabled = record(id);
    disabled.enabled = false;
    SourceAnswer::Found(Arc::new(disabled))
}

impl Scene {
    async fn is_enabled(&self, secret: &str) -> Option<bool> {
        match self.cache.find(&digest_of(secret), &self.snapshot).await {
            Ok(Lookup::Known(key)) => Some(key.record.enabled),
            Ok(Lookup::Unknown | Lookup::Invalid(_)) | Err(_) => None,
        }
    }
}

type Event = fn(&InvalidationLog);
const CHANGES: [(&str, Event); 3] = [
    ("the key", |log| log.key_changed("b")),
    ("its digest", |log| {
        log.digest_changed(&digest_of("b"));
    }),
    ("all", InvalidationLog::all_changed),
];

#[tokio::test]
async fn a_key_that_changed_is_looked_up_at_its_next_use() {
    for (name, change) in CHANGES {
        let scene = pushing();
        assert_eq!(scene.is_enabled("b").await, Some(true), "{name}");
        scene.source.answer(digest_of("b"), Ok(disabled("b")));
        assert_eq!(scene.is_enabled("b").await, Some(true), "{name}: at hand");
        change(&scene.log());
        assert_eq!(scene.is_enabled("b").await, Some(false), "{name}");
        assert_eq!(scene.is_enabled("b").await, Some(false), "{name}");
        assert_eq!(scene.source.asked(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_lookup_in_flight_neither_answers_nor_brings_back_what_changed_meanwhile() {
    for (name, change) in CHANGES {
        let scene = pushing();
        scene.source.hold();
        let mut waiting = Box::pin(scene.is_enabled("b"));
        assert_eq!((&mut waiting).now_or_never(), None);
        // The source has read the old record and is slow to send it: the change comes first.
        scene.source.answer(digest_of("b"), Ok(disabled("b")));
        change(&scene.log());
        scene.source.let_pass();
        assert_eq!(waiting.await, Some(false), "{name}");
        assert_eq!(scene.is_enabled("b").await, Some(false), "{name}");
        assert_eq!(scene.source.asked(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_key_that_changes_at_every_lookup_is_refused_rather_than_looked_up_for_ever() {
    let scene = pushing();
    let log = scene.log();
    scene.source.at_each_lookup(move || log.key_changed("a"));
    let want = "the source failed: the key changed during each of its lookups";
    assert_eq!(scene.find("a").await, want);
    assert_eq!(scene.source.asked(), MAX_LOOKUPS);
}

#[tokio::test]
async fn a_change_invalidates_every_negative_entry() {
    let scene = pushing();
    assert_eq!(scene.find("c").await, "unknown");
    let new = Ok(SourceAnswer::Found(Arc::new(record("c"))));
    scene.source.answer(digest_of("c"), new);
    assert_eq!(scene.find("c").await, "unknown");
    scene.log().key_changed("another");
    assert_eq!(scene.find("c").await, "c");
}

#[tokio::test]
async fn while_unsubscribed_every_use_is_looked_up() {
    let scene = pushing();
    assert_eq!(scene.find("a").await, "a");
    assert_eq!(scene.find("c").await, "unknown");
    scene.log().unsubscribed("cut");
    for lookups in [4, 6] {
        assert_eq!(scene.find("a").await, "a");
        assert_eq!(scene.find("c").await, "unknown");
        assert_eq!(scene.source.asked(), lookups);
    }
    // What changed in between was not received: no entry from before is valid.
    scene
        .source
        .answer(digest_of("a"), Ok(SourceAnswer::NotFound));
    scene.log().subscribed();
    assert_eq!(scene.find("a").await, "unknown");
    assert_eq!(scene.find("c").await, "unknown");
    assert_eq!(scene.source.asked(), 8);
    assert_eq!(scene.find("a").await, "unknown");
    assert_eq!(scene.source.asked(), 8);
}

#[tokio::test]
async fn a_caller_after_the_loss_of_pushes_gets_no_lookup_from_before() {
    let scene = pushing();
    scene.source.hold();
    let mut early = Box::pin(scene.is_enabled("b"));
    assert_eq!((&mut early).now_or_never(), None);
    scene.log().unsubscribed("cut");
    let mut late = Box::pin(scene.is_enabled("b"));
    assert_eq!((&mut late).now_or_never(), None);
    assert_eq!(scene.source.asked(), 1);
    scene.source.let_pass();
    assert_eq!((early.await, late.await), (Some(true), Some(true)));
    assert_eq!(scene.source.asked(), 2);
}

#[tokio::test]
async fn a_key_that_is_known_to_have_changed_is_never_served_stale() {
    let scene = pushing();
    for secret in ["a", "b"] {
        scene.find(secret).await;
        scene.source.answer(digest_of(secret), down());
    }
    scene.log().key_changed("a");
    scene.log().unsubscribed("cut");
    assert_eq!(scene.find("a").await, "the source failed: down");
    assert_eq!(scene.find("b").await, "b");
}

#[tokio::test]
async fn after_the_loss_of_pushes_a_key_is_served_stale_for_stale_if_error_and_not_for_its_ttl() {
    for (stale_if_error, served_for) in [(0, 0), (30, 30)] {
        let scene = stale_allowed_for(stale_if_error);
        assert_eq!(scene.find("a").await, "a");
        scene.clock.forward(5);
        scene.log().unsubscribed("cut");
        scene.source.answer(digest_of("a"), down());
        if served_for > 0 {
            scene.clock.forward(served_for - 1);
            scene.log().unsubscribed("cut still");
            assert_eq!(scene.find("a").await, "a");
            scene.clock.forward(1);
        }
        assert_eq!(scene.find("a").await, "the source failed: down");
    }
}

#[tokio::test]
async fn a_key_not_looked_up_since_the_last_subscription_is_never_served_stale() {
    let want = "the source failed: down";
    let scene = pushing();
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    scene.log().unsubscribed("cut");
    // It may be revoked now, and nothing tells of it.
    assert_eq!(scene.find("a").await, "a", "while pushes are lost");
    scene.log().subscribed();
    assert_eq!(scene.find("a").await, want);
    scene.cache.revalidate_all();
    assert_eq!(scene.find("a").await, want, "after an order to revalidate");
    for _ in 0..100 {
        scene.log().unsubscribed("cut again");
        assert_eq!(scene.find("a").await, want);
        scene.log().subscribed();
    }
    let found = Ok(SourceAnswer::Found(Arc::new(record("a"))));
    scene.source.answer(digest_of("a"), found);
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    scene.log().unsubscribed("cut again");
    assert_eq!(scene.find("a").await, "a", "looked up since");
}

#[tokio::test]
async fn a_lookup_from_before_the_last_subscription_is_never_served_stale() {
    let scene = pushing();
    scene.log().unsubscribed("cut");
    scene.source.hold();
    let mut waiting = Box::pin(scene.find("a"));
    assert_eq!((&mut waiting).now_or_never(), None);
    scene.log().subscribed();
    scene.source.let_pass();
    assert_eq!(waiting.await, "a");
    scene.source.answer(digest_of("a"), down());
    assert_eq!(scene.find("a").await, "the source failed: down");
}

#[tokio::test]
async fn a_key_looked_up_while_unsubscribed_is_served_stale_from_its_lookup_on() {
    let scene = stale_allowed_for(30);
    scene.log().unsubscribed("cut");
    scene.clock.forward(20);
    assert_eq!(scene.find("b").await, "b");
    scene.source.answer(digest_of("b"), down());
    scene.clock.forward(29);
    assert_eq!(scene.find("b").await, "b");
    scene.clock.forward(1);
    assert_eq!(scene.find("b").await, "the source failed: down");
}

#[tokio::test]
async fn where_the_server_refuses_to_push_a_key_is_served_stale_from_the_end_of_its_ttl_on() {
    let scene = pushing();
    assert_eq!(scene.find("b").await, "b");
    scene.source.answer(digest_of("b"), down());
    scene.log().unsubscribed("cut");
    // Another server, that pushes nothing.
    scene.log().refused("no");
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    scene.log().unsubscribed("gone");
    scene.log().refused("no");
    scene.log().unsubscribed("gone");
    // `ttl` and `stale_if_error` for the one; from the loss of pushes on for the other.
    for (forward, of_a, of_b) in [
        (599, "a", "b"),
        (1, "a", "the source failed: down"),
        (59, "a", "the source failed: down"),
        (1, "the source failed: down", "the source failed: down"),
    ] {
        scene.clock.forward(forward);
        assert_eq!(scene.find("a").await, of_a);
        assert_eq!(scene.find("b").await, of_b);
    }
}

#[tokio::test]
async fn a_caller_after_a_change_gets_no_older_answer_that_a_digest_is_unknown() {
    let scene = pushing();
    scene.source.hold();
    let mut early = Box::pin(scene.find("c"));
    assert_eq!((&mut early).now_or_never(), None);
    let new = Ok(SourceAnswer::Found(Arc::new(record("c"))));
    scene.source.answer(digest_of("c"), new);
    scene.log().key_changed("c");
    let mut late = Box::pin(scene.find("c"));
    assert_eq!((&mut late).now_or_never(), None);
    assert_eq!(scene.source.asked(), 1);
    scene.source.let_pass();
    assert_eq!((&*early.await, &*late.await), ("unknown", "c"));
}

#[tokio::test]
async fn an_order_to_revalidate_has_each_key_looked_up_once() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.cache.revalidate_all();
    for _ in 0..2 {
        assert_eq!(scene.find("a").await, "a");
        assert_eq!(scene.source.asked(), 2);
    }
}

#[tokio::test]
async fn an_order_to_revalidate_takes_nothing_from_a_key_whose_source_fails() {
    let scene = Scene::new();
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    scene.cache.revalidate_all();
    scene.clock.forward(59);
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(1);
    assert_eq!(scene.find("a").await, "the source failed: down");

    // Nor where every change is pushed: the bound begins at the end of its time.
    let scene = stale_allowed_for(30);
    assert_eq!(scene.find("a").await, "a");
    scene.source.answer(digest_of("a"), down());
    scene.cache.revalidate_all();
    scene.clock.forward(89);
    assert_eq!(scene.find("a").await, "a");
    scene.clock.forward(1);
    assert_eq!(scene.find("a").await, "the source failed: down");
}
