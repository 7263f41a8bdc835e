//! Concurrent requests: one lookup per digest, even if callers leave; a slow key delays no other; a
//! request without a slot gets a refusal; and a lookup that was in flight when its key was revoked
//! is not cached.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{Sidecar, keys_url, of, with_events};
use crate::support::check;
use crate::support::key_service::{Answer, KeyService};
use crate::support::wait;

async fn held() -> (KeyService, Arc<Sidecar>) {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.answer_for("k", Answer::Held);
    let sidecar = Sidecar::start(&of("http", &keys_url(service.address))).await;
    (service, Arc::new(sidecar))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_requests_make_one_lookup() {
    let (service, sidecar) = held().await;
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let channel = check::channel(&sidecar.keyward.grpc).await;
        for _ in 0..100 {
            let channel = channel.clone();
            callers.spawn(async move {
                check::check(&channel, check::with_key("k"))
                    .await
                    .unwrap()
                    .outcome()
            });
        }
    }
    wait::until("the lookup came", async || service.gets("k") == 1).await;
    // A request sent after all of them, over another connection, is answered first.
    assert_eq!(sidecar.outcome("made-up").await, "unknown_key");
    assert!(callers.try_join_next().is_none(), "all of them wait");
    service.release();
    let outcome = callers.join_all().await;
    assert_eq!(outcome.len(), 1000);
    assert!(
        outcome.iter().all(|outcome| outcome == "allowed"),
        "{outcome:?}"
    );
    assert_eq!(service.gets("k"), 1);
    println!("1000 first requests: {} lookup", service.gets("k"));
}

#[tokio::test]
async fn the_first_caller_may_leave_and_the_others_are_answered() {
    let (service, sidecar) = held().await;
    let caller = || {
        let sidecar = Arc::clone(&sidecar);
        async move { sidecar.outcome("k").await }
    };
    let first = tokio::spawn(caller());
    wait::until("the first caller's lookup came", async || {
        service.gets("k") == 1
    })
    .await;
    let mut others = JoinSet::new();
    for _ in 0..20 {
        others.spawn(caller());
    }
    // A later request on the same connection is read later.
    assert_eq!(sidecar.outcome("made-up").await, "unknown_key");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(sidecar.outcome("made-up").await, "unknown_key");
    assert!(others.try_join_next().is_none(), "they wait");
    service.release();
    let outcome = others.join_all().await;
    assert!(
        outcome.iter().all(|outcome| outcome == "allowed"),
        "{outcome:?}"
    );
    assert_eq!(service.gets("k"), 1, "one lookup for them all");
}

#[tokio::test]
async fn a_slow_lookup_delays_no_other_key() {
    let (service, sidecar) = held().await;
    service.put("quick", "quick", json!({}));
    let slow = tokio::spawn({
        let sidecar = Arc::clone(&sidecar);
        async move { sidecar.outcome("k").await }
    });
    wait::until("the slow lookup came", async || service.gets("k") == 1).await;
    assert_eq!(sidecar.outcome("quick").await, "allowed");
    assert_eq!(sidecar.outcome("made-up").await, "unknown_key");
    assert!(!slow.is_finished());
    service.release();
    assert_eq!(slow.await.unwrap(), "allowed");
}

#[tokio::test]
async fn a_lookup_without_a_slot_is_overloaded_and_not_unknown() {
    let service = KeyService::start().await;
    service.answer(Answer::Held);
    let url = keys_url(service.address);
    let sidecar = Sidecar::start(&format!(
        "source: {{http: {{url: \"{url}\", timeout: 5s, max_in_flight: 4}}}}\n"
    ))
    .await;
    let sidecar = Arc::new(sidecar);
    let mut callers = JoinSet::new();
    for number in 0..12 {
        let sidecar = Arc::clone(&sidecar);
        callers.spawn(async move { sidecar.ask(&format!("made-up-{number}")).await });
    }
    // Those without a slot are answered at once, the others with the service.
    for _ in 0..8 {
        let answer = callers.join_next().await.unwrap().unwrap();
        assert_eq!(answer.outcome(), "overloaded", "{answer:?}");
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(!answer.is_source_unavailable(), "a denial, no error");
    }
    let found_room = service.all_gets();
    assert!((1..=4).contains(&found_room), "{found_room}");
    service.answer(Answer::Record);
    service.release();
    while let Some(answer) = callers.join_next().await {
        let outcome = answer.unwrap().outcome();
        assert!(
            ["unknown_key", "overloaded"].contains(&&*outcome),
            "{outcome}"
        );
    }
    sidecar.becomes("made-up-0", "unknown_key").await;
}

#[tokio::test]
async fn a_lookup_in_flight_does_not_bring_a_revoked_key_back() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.put("marker", "marker", json!({}));
    let sidecar = Sidecar::start(&with_events(service.address)).await;
    wait::until("the event stream is open", async || service.streams() == 1).await;
    sidecar.answers_from_memory("marker").await;
    // The service has read the old record, and its response is in flight.
    service.answer_for("k", Answer::Held);
    let sidecar = Arc::new(sidecar);
    let early = tokio::spawn({
        let sidecar = Arc::clone(&sidecar);
        async move { sidecar.outcome("k").await }
    });
    wait::until("the lookup came", async || service.gets("k") == 1).await;
    let revoked = json!({"revoked_at": "2020-01-01T00:00:00Z"});
    service.put("k", "k", revoked.clone());
    service.put("marker", "marker", revoked);
    for id in ["k", "marker"] {
        service.push(&json!({"event": "invalidate", "key_id": id}));
    }
    // Events arrive in order: everything pushed before has arrived by now.
    sidecar.becomes("marker", "key_revoked").await;
    service.answer_for("k", Answer::Record);
    service.release();
    println!(
        "the callers before the revocation: {}",
        early.await.unwrap()
    );
    assert_eq!(sidecar.outcome("k").await, "key_revoked");
}
