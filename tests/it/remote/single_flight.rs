//! Many ask at once: one lookup a digest, whoever leaves meanwhile; a slow key holds up nobody else; what finds no room is
//! told so; and an answer that was under way when its key was revoked is not kept.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{Asked, keys_url, of, with_events};
use crate::support::check;
use crate::support::key_service::{Answer, KeyService};
use crate::support::wait;

async fn held() -> (KeyService, Arc<Asked>) {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.answer_for("k", Answer::Held);
    let asked = Asked::start(&of("http", &keys_url(service.address))).await;
    (service, Arc::new(asked))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_first_requests_make_one_lookup() {
    let (service, asked) = held().await;
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let channel = check::channel(&asked.keyward.grpc).await;
        for _ in 0..100 {
            let channel = channel.clone();
            callers.spawn(async move {
                check::check(&channel, check::with_key("k"))
                    .await
                    .unwrap()
                    .said()
            });
        }
    }
    wait::until("the lookup came", async || service.gets("k") == 1).await;
    // One that came after them all, and over another connection, has its answer before theirs.
    assert_eq!(asked.said("nobody").await, "unknown_key");
    assert!(callers.try_join_next().is_none(), "all of them wait");
    service.release();
    let said = callers.join_all().await;
    assert_eq!(said.len(), 1000);
    assert!(said.iter().all(|said| said == "allowed"), "{said:?}");
    assert_eq!(service.gets("k"), 1);
    println!("1000 first requests: {} lookup", service.gets("k"));
}

#[tokio::test]
async fn the_first_caller_may_leave_and_the_others_are_answered() {
    let (service, asked) = held().await;
    let caller = || {
        let asked = Arc::clone(&asked);
        async move { asked.said("k").await }
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
    // Whoever comes later over the same connection has been read later.
    assert_eq!(asked.said("nobody").await, "unknown_key");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(asked.said("nobody").await, "unknown_key");
    assert!(others.try_join_next().is_none(), "they wait");
    service.release();
    let said = others.join_all().await;
    assert!(said.iter().all(|said| said == "allowed"), "{said:?}");
    assert_eq!(service.gets("k"), 1, "one lookup for them all");
}

#[tokio::test]
async fn a_slow_key_slows_no_other() {
    let (service, asked) = held().await;
    service.put("quick", "quick", json!({}));
    let slow = tokio::spawn({
        let asked = Arc::clone(&asked);
        async move { asked.said("k").await }
    });
    wait::until("the slow lookup came", async || service.gets("k") == 1).await;
    assert_eq!(asked.said("quick").await, "allowed");
    assert_eq!(asked.said("nobody").await, "unknown_key");
    assert!(!slow.is_finished());
    service.release();
    assert_eq!(slow.await.unwrap(), "allowed");
}

#[tokio::test]
async fn a_lookup_that_finds_no_room_is_overloaded_and_not_unknown() {
    let service = KeyService::start().await;
    service.answer(Answer::Held);
    let url = keys_url(service.address);
    let asked = Asked::start(&format!(
        "source: {{http: {{url: \"{url}\", timeout: 5s, max_in_flight: 4}}}}\n"
    ))
    .await;
    let asked = Arc::new(asked);
    let mut callers = JoinSet::new();
    for number in 0..12 {
        let asked = Arc::clone(&asked);
        callers.spawn(async move { asked.ask(&format!("nobody-{number}")).await });
    }
    // Those that found no room are answered at once, the others when the service is.
    for _ in 0..8 {
        let answer = callers.join_next().await.unwrap().unwrap();
        assert_eq!(answer.said(), "overloaded", "{answer:?}");
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(!answer.is_source_unavailable(), "a denial, no error");
    }
    let found_room = service.all_gets();
    assert!((1..=4).contains(&found_room), "{found_room}");
    service.answer(Answer::Record);
    service.release();
    while let Some(answer) = callers.join_next().await {
        let said = answer.unwrap().said();
        assert!(["unknown_key", "overloaded"].contains(&&*said), "{said}");
    }
    asked.becomes("nobody-0", "unknown_key").await;
}

#[tokio::test]
async fn a_lookup_under_way_does_not_bring_a_revoked_key_back() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.put("marker", "marker", json!({}));
    let asked = Asked::start(&with_events(service.address)).await;
    wait::until("events are listened to", async || service.streams() == 1).await;
    asked.answers_from_memory("marker").await;
    // The service has read the record as it was, and its answer is under way.
    service.answer_for("k", Answer::Held);
    let asked = Arc::new(asked);
    let early = tokio::spawn({
        let asked = Arc::clone(&asked);
        async move { asked.said("k").await }
    });
    wait::until("the lookup came", async || service.gets("k") == 1).await;
    let revoked = json!({"revoked_at": "2020-01-01T00:00:00Z"});
    service.put("k", "k", revoked.clone());
    service.put("marker", "marker", revoked);
    for id in ["k", "marker"] {
        service.push(&json!({"event": "invalidate", "key_id": id}));
    }
    // Events come in order: what was pushed before is known by now.
    asked.becomes("marker", "key_revoked").await;
    service.answer_for("k", Answer::Record);
    service.release();
    println!(
        "whoever asked before the revocation: {}",
        early.await.unwrap()
    );
    assert_eq!(asked.said("k").await, "key_revoked");
}
