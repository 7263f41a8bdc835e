//! How long a revoked key is still allowed: through Envoy, with two keywards on one Redis or Valkey
//! under load, measured key by key and printed.

use std::time::{Duration, Instant};

use redis::cmd;
use serde_json::json;

use super::of;
use crate::support::bootstrap::{Bootstrap, Listener};
use crate::support::envoy::Envoy;
use crate::support::http1::Connection;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Keyward;
use crate::support::load::Load;
use crate::support::message::Ask;
use crate::support::redis::{Kind, Server, record};
use crate::support::upstream::Upstream;
use crate::support::wait::DEADLINE;

const REVOCATIONS: usize = 220;
const KEPT: usize = 20;

fn with(secret: &str) -> Ask {
    Ask::get("/v1/orders").key(secret)
}

/// Long timeouts for busy machines: this measures revocations.
fn with_long_timeouts(listener: &mut Listener) {
    listener.ext_authz()["grpc_service"]["timeout"] = "5s".into();
}

/// Repeats the check until the key is refused, and some more times; the time of the first refusal.
async fn refused(caller: &mut Connection, secret: &str) -> Instant {
    let end = Instant::now() + DEADLINE;
    let mut first = None;
    let mut more = 3;
    while more > 0 {
        let reply = caller.send(&with(secret)).await.unwrap();
        match (reply.status, first) {
            (200, None) => assert!(Instant::now() < end, "{secret} is still allowed"),
            (401, _) => {
                assert_eq!(reply.problem()["code"], "key_revoked", "{reply:?}");
                first.get_or_insert_with(Instant::now);
                more -= 1;
            }
            _ => panic!("{secret}, refused before: {}: {reply:?}", first.is_some()),
        }
    }
    first.unwrap()
}

fn median_and_maximum(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

async fn revocations_are_measured(kind: Kind) {
    let server = Server::start(kind).await;
    let revoked: Vec<String> = (0..REVOCATIONS).map(|n| format!("revoked-{n}")).collect();
    let kept: Vec<String> = (0..KEPT).map(|n| format!("kept-{n}")).collect();
    for id in revoked.iter().chain(&kept) {
        server.put(id, id, json!({})).await;
    }
    let config = format!("{}log: {{decisions: none}}\n", of("redis", &server.url()));
    let keywards = [
        Keyward::start(&config, &KeyFile::new()).await,
        Keyward::start(&config, &KeyFile::new()).await,
    ];
    let upstream = Upstream::start().await;
    let second = std::slice::from_ref(&keywards[1].grpc);
    let bootstrap = Bootstrap::new(&keywards[0].grpc, upstream.address)
        .authz("second", second, |_| {})
        .listener("one", with_long_timeouts)
        .listener("two", |listener| {
            listener.asks("second");
            with_long_timeouts(listener);
        });
    let envoy = Envoy::start(&bootstrap).await;
    let (one, two) = (envoy.at("one"), envoy.at("two"));
    let loads = [one, two].map(|to| Load::start(to, &with("kept-0"), 2));
    let (mut to_one, mut to_two) = (Connection::open(one).await, Connection::open(two).await);
    let mut writer = server.connection().await.unwrap();
    let mut times = [Vec::new(), Vec::new()];
    for (number, id) in revoked.iter().enumerate() {
        for caller in [&mut to_one, &mut to_two] {
            for known in [id, &kept[number % KEPT]] {
                let reply = caller.send(&with(known)).await.unwrap();
                assert_eq!(reply.status, 200, "{known}: {reply:?}");
            }
        }
        let dead = record(id, id, json!({"revoked_at": "2020-01-01T00:00:00Z"}));
        let mut write = cmd("SET");
        write.arg(format!("keyward:key:{id}")).arg(dead.to_string());
        let start = Instant::now();
        let (written, at_one, at_two) = tokio::join!(
            write.exec_async(&mut writer),
            refused(&mut to_one, id),
            refused(&mut to_two, id)
        );
        written.unwrap();
        times[0].push(at_one.duration_since(start));
        times[1].push(at_two.duration_since(start));
        upstream.take();
    }
    for caller in [&mut to_one, &mut to_two] {
        for id in &revoked {
            let reply = caller.send(&with(id)).await.unwrap();
            assert_eq!(reply.status, 401, "{id} stays refused: {reply:?}");
        }
        for id in &kept {
            let reply = caller.send(&with(id)).await.unwrap();
            assert_eq!(reply.status, 200, "{id} was never revoked: {reply:?}");
        }
    }
    for load in loads {
        println!("{kind:?}: {} other requests were allowed", load.answered());
        assert!(load.answered() > REVOCATIONS, "there was load");
        let failures = load.end().await;
        assert!(failures.is_empty(), "{failures:#?}");
    }
    for (times, name) in times.into_iter().zip(["one", "two"]) {
        let count = times.len();
        let (median, maximum) = median_and_maximum(times);
        println!(
            "{kind:?}, keyward {name}: {count} revocations, from the write to the refusal: median {median:?}, maximum {maximum:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_in_redis_is_refused_by_every_keyward() {
    revocations_are_measured(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_in_valkey_is_refused_by_every_keyward() {
    revocations_are_measured(Kind::Valkey).await;
}
