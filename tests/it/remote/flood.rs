//! A flood of keys that nobody made: known keys stay cached and get their lookups, nothing grows without bound, and no
//! series is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::{Asked, keys_url, of};
use crate::support::check;
use crate::support::key_service::{Answer, KeyService};
use crate::support::keyfile::KeyFile;
use crate::support::metrics::series;
use crate::support::redis::{Kind, Server};
use crate::support::wait;

const FLOOD: usize = 20_000;
const NEGATIVE_CAPACITY: f64 = 1000.0;

/// Sends the flood while `hot` is asked all the time; what was said, each with its number.
async fn flood(asked: &Arc<Asked>) -> Vec<(String, usize)> {
    let over = Arc::new(AtomicBool::new(false));
    let hot = tokio::spawn({
        let (asked, over) = (Arc::clone(asked), Arc::clone(&over));
        async move {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(asked.said("hot").await, "allowed", "after {count}");
                count += 1;
            }
            count
        }
    });
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let channel = check::channel(&asked.keyward.grpc).await;
        let next = Arc::clone(&next);
        callers.spawn(async move {
            let mut said = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= FLOOD {
                    return said;
                }
                let request = check::with_key(&format!("random-{number}"));
                said.push(check::check(&channel, request).await.unwrap().said());
            }
        });
    }
    let mut said = callers.join_all().await.concat();
    over.store(true, Ordering::Relaxed);
    said.push(format!("hot: allowed {} times", hot.await.unwrap()));
    said.sort();
    said.chunk_by(|a, b| a == b)
        .map(|same| (same[0].clone(), same.len()))
        .collect()
}

async fn a_flood_leaves_no_trace(asked: Asked) {
    let asked = Arc::new(asked);
    asked.answers_from_memory("hot").await;
    for _ in 0..2 {
        asked.becomes("unknown", "unknown_key").await;
    }
    let (found, before) = (asked.lookups("found").await, series(&asked.metrics().await));
    let said = flood(&asked).await;
    println!("{said:?}");
    for (said, _) in &said {
        let one_of = ["unknown_key", "overloaded"].contains(&said.as_str());
        assert!(one_of || said.starts_with("hot: "), "{said}");
    }
    assert_eq!(asked.said("hot").await, "allowed");
    let looked_up = asked.lookups("found").await;
    assert_eq!(looked_up.to_bits(), found.to_bits(), "the hot key was kept");
    let mut after = series(&asked.metrics().await);
    after.retain(|line| !before.contains(line) && !line.contains("overloaded"));
    assert!(after.is_empty(), "{after:#?}");
    wait::until("what is unknown is bounded", async || {
        let kind = ["kind=\"negative\""];
        let kept = asked.metric("keyward_cache_entries", &kind).await;
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
    let asked = Asked::start(&bounded(&of("http", &keys_url(service.address)))).await;
    a_flood_leaves_no_trace(asked).await;
    assert_eq!(service.gets("hot"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_through_redis_leaves_no_trace() {
    let server = Server::start(Kind::Redis).await;
    server.put("hot", "hot", json!({})).await;
    let asked = Asked::start(&bounded(&of("redis", &server.url()))).await;
    a_flood_leaves_no_trace(asked).await;
}

#[tokio::test]
async fn a_flood_does_not_take_the_lookups_of_keys_known_lately() {
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
    let asked = Arc::new(Asked::at(home).await);
    assert_eq!(asked.said("known").await, "allowed");
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let asked = Arc::clone(&asked);
        callers.spawn(async move { asked.said(&format!("random-{number}")).await });
    }
    // As many as found no room are answered, the others are held: there is no room left.
    for _ in 0..56 {
        let said = callers.join_next().await.unwrap().unwrap();
        assert_eq!(said, "overloaded");
    }
    wait::until("the known key is looked up again", async || {
        assert_eq!(asked.said("known").await, "allowed");
        service.gets("known") > 1
    })
    .await;
}
