//! A flood of made-up keys: recently known keys stay cached and get their lookups, nothing grows
//! without limit, and no series is created.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::{Sidecar, keys_url, of};
use crate::support::check;
use crate::support::key_service::{Answer, KeyService};
use crate::support::keyfile::KeyFile;
use crate::support::metrics::series;
use crate::support::redis::{Kind, Server};
use crate::support::wait;

const FLOOD: usize = 20_000;
const NEGATIVE_CAPACITY: f64 = 1000.0;

/// Sends the flood while `hot` is checked all the time; the results, each with its count.
async fn flood(sidecar: &Arc<Sidecar>) -> Vec<(String, usize)> {
    let over = Arc::new(AtomicBool::new(false));
    let hot = tokio::spawn({
        let (sidecar, over) = (Arc::clone(sidecar), Arc::clone(&over));
        async move {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(sidecar.outcome("hot").await, "allowed", "after {count}");
                count += 1;
            }
            count
        }
    });
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let channel = check::channel(&sidecar.keyward.grpc).await;
        let next = Arc::clone(&next);
        callers.spawn(async move {
            let mut outcome = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= FLOOD {
                    return outcome;
                }
                let request = check::with_key(&format!("random-{number}"));
                outcome.push(check::check(&channel, request).await.unwrap().outcome());
            }
        });
    }
    let mut outcome = callers.join_all().await.concat();
    over.store(true, Ordering::Relaxed);
    outcome.push(format!("hot: allowed {} times", hot.await.unwrap()));
    outcome.sort();
    outcome
        .chunk_by(|a, b| a == b)
        .map(|same| (same[0].clone(), same.len()))
        .collect()
}

async fn a_flood_leaves_no_trace(sidecar: Sidecar) {
    let sidecar = Arc::new(sidecar);
    sidecar.answers_from_memory("hot").await;
    for _ in 0..2 {
        sidecar.becomes("unknown", "unknown_key").await;
    }
    let (found, before) = (
        sidecar.lookups("found").await,
        series(&sidecar.metrics().await),
    );
    let outcome = flood(&sidecar).await;
    println!("{outcome:?}");
    for (outcome, _) in &outcome {
        let one_of = ["unknown_key", "overloaded"].contains(&outcome.as_str());
        assert!(one_of || outcome.starts_with("hot: "), "{outcome}");
    }
    assert_eq!(sidecar.outcome("hot").await, "allowed");
    let looked_up = sidecar.lookups("found").await;
    assert_eq!(looked_up.to_bits(), found.to_bits(), "the hot key was kept");
    let mut after = series(&sidecar.metrics().await);
    after.retain(|line| !before.contains(line) && !line.contains("overloaded"));
    assert!(after.is_empty(), "{after:#?}");
    wait::until("the negative cache is bounded", async || {
        let kind = ["kind=\"negative\""];
        let kept = sidecar.metric("keyward_cache_entries", &kind).await;
        kept <= NEGATIVE_CAPACITY
    })
    .await;
}

fn bounded(config: &str) -> String {
    let bounds = "{capacity: 100, negative_capacity: 1000, ";
    config.replace(
        "cache: {",
        &format!("log: {{decisions: none}}\ncache: {bounds}"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_through_a_key_service_leaves_no_trace() {
    let service = KeyService::start().await;
    service.put("hot", "hot", json!({}));
    let sidecar = Sidecar::start(&bounded(&of("http", &keys_url(service.address)))).await;
    a_flood_leaves_no_trace(sidecar).await;
    assert_eq!(service.gets("hot"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_through_redis_leaves_no_trace() {
    let server = Server::start(Kind::Redis).await;
    server.put("hot", "hot", json!({})).await;
    let sidecar = Sidecar::start(&bounded(&of("redis", &server.url()))).await;
    a_flood_leaves_no_trace(sidecar).await;
}

#[tokio::test]
async fn a_flood_does_not_take_the_lookup_slots_of_recently_known_keys() {
    let service = KeyService::start().await;
    service.put("known", "known", json!({}));
    service.answer_for("known", Answer::Record);
    service.answer(Answer::Held);
    let url = keys_url(service.address);
    let home = crate::support::keyward::Home::new(
        &format!(
            "source: {{http: {{url: \"{url}\", timeout: 5s, max_in_flight: 8}}}}\ncache: {{ttl: 1s}}\n"
        ),
        &KeyFile::new(),
    );
    let sidecar = Arc::new(Sidecar::at(home).await);
    assert_eq!(sidecar.outcome("known").await, "allowed");
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let sidecar = Arc::clone(&sidecar);
        callers.spawn(async move { sidecar.outcome(&format!("random-{number}")).await });
    }
    // The requests without a slot are answered and the others held: all slots are taken.
    for _ in 0..56 {
        let outcome = callers.join_next().await.unwrap().unwrap();
        assert_eq!(outcome, "overloaded");
    }
    wait::until("the known key is looked up again", async || {
        assert_eq!(sidecar.outcome("known").await, "allowed");
        service.gets("known") > 1
    })
    .await;
}
