//! Made-up keys at a source that is slow or broken for them: an Envoy that fails open refuses them
//! too, and keys in use are not affected.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::{Sidecar, keys_url};
use crate::support::bootstrap::Bootstrap;
use crate::support::envoy::Envoy;
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::http1;
use crate::support::key_service::{Answer, KeyService};
use crate::support::message::Ask;
use crate::support::redis::{Kind, Server, url};
use crate::support::upstream::Upstream;
use crate::support::wait;

const MADE_UP: usize = 600;

/// An Envoy with two listeners: `shipped`, and `open`, which lets through what keyward cannot
/// decide.
async fn envoy(sidecar: &Sidecar, upstream: &Upstream) -> Envoy {
    // Envoy's timeouts are not under test on a busy machine.
    let with_long_timeouts = |service: &mut serde_yaml::Value| {
        service["timeout"] = "20s".into();
        service["retry_policy"]["retry_back_off"]["max_interval"] = "10s".into();
    };
    let bootstrap = Bootstrap::new(&sidecar.keyward.grpc, upstream.address)
        .listener("shipped", |l| {
            with_long_timeouts(&mut l.ext_authz()["grpc_service"]);
        })
        .listener("open", |l| {
            with_long_timeouts(&mut l.ext_authz()["grpc_service"]);
            l.ext_authz()["failure_mode_allow"] = true.into();
        });
    Envoy::start(&bootstrap).await
}

/// How many of these made-up keys reached the upstream, all sent at once through the listener that
/// fails open.
async fn let_in(envoy: &Envoy, upstream: &Upstream, name: &str) -> usize {
    let mut callers = JoinSet::new();
    for number in 0..MADE_UP {
        let (to, key) = (envoy.at("open"), format!("{name}-{number}"));
        callers.spawn(async move { http1::send(to, &Ask::get("/v1/orders").key(&key)).await });
    }
    let mut codes = std::collections::BTreeMap::new();
    for reply in callers.join_all().await {
        let code = match reply.status {
            200 => "allowed".to_owned(),
            _ => reply.problem()["code"].as_str().unwrap_or("?").to_owned(),
        };
        *codes.entry(code).or_insert(0) += 1;
    }
    println!("{name}: {codes:?} of {MADE_UP} made-up keys");
    upstream.take().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_service_that_is_slow_or_broken_for_made_up_keys_opens_no_envoy() {
    let service = KeyService::start().await;
    for key in ["in-use", "cold"] {
        service.put(key, key, json!({}));
        service.answer_for(key, Answer::Record);
    }
    let upstream = Upstream::start().await;
    let url = keys_url(service.address);
    let sidecar = Sidecar::start(&format!(
        "source: {{http: {{url: \"{url}\", timeout: 150ms}}}}\ncache: {{ttl: 1s}}\n"
    ))
    .await;
    let envoy = envoy(&sidecar, &upstream).await;
    sidecar.becomes("in-use", "allowed").await;
    for (name, answer) in [
        ("slow", Answer::Held),
        (
            "broken",
            Answer::reply("500 Internal Server Error", "", "x"),
        ),
    ] {
        service.answer(answer);
        assert_eq!(let_in(&envoy, &upstream, name).await, 0, "{name}");
        // One after the other, for longer than a probe takes.
        let before = service.gets("in-use");
        let mut number = 0;
        wait::until("the key in use was looked up a few times", async || {
            number += 1;
            let made_up = sidecar.ask(&format!("{name}-later-{number}")).await;
            assert!(made_up.is_overloaded(), "{made_up:?}");
            let in_use = sidecar.ask("in-use").await;
            assert!(in_use.allowed(), "{name}, {number}: {in_use:?}");
            service.gets("in-use") >= before + 3
        })
        .await;
        let up = sidecar.metric("keyward_source_up", &["source="]).await;
        assert_eq!(up.to_bits(), 1.0_f64.to_bits(), "{name}: it answers");
    }
    assert!(sidecar.ask("cold").await.allowed(), "it was never used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_too_slow_for_a_flood_opens_no_envoy() {
    let server = Server::start(Kind::Redis).await;
    server.put("in-use", "in-use", json!({})).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let upstream = Upstream::start().await;
    let url = url(proxy.address);
    let sidecar = Sidecar::start(&format!(
        "source: {{redis: {{url: \"{url}\", timeout: 100ms}}}}\ncache: {{ttl: 1h}}\n"
    ))
    .await;
    let envoy = envoy(&sidecar, &upstream).await;
    sidecar.becomes("in-use", "allowed").await;
    // Each lookup takes too long; a connection can be made within the connect timeout.
    proxy.set(&Mode::Delay(Duration::from_millis(200)));
    assert_eq!(let_in(&envoy, &upstream, "slow").await, 0);
    proxy.set(&Mode::Pass);
    sidecar.becomes("in-use", "allowed").await;
}

#[tokio::test]
async fn failure_mode_allow_applies_to_every_key_if_no_connection_can_be_made() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    let proxy = FaultProxy::of_http(service.address).await;
    let upstream = Upstream::start().await;
    let url = keys_url(proxy.address);
    let sidecar = Sidecar::start(&format!(
        "source: {{http: {{url: \"{url}\", timeout: 5s}}}}\ncache: {{ttl: 1s}}\n"
    ))
    .await;
    let envoy = envoy(&sidecar, &upstream).await;
    let ask = |key: &str| {
        Ask::get("/v1/orders")
            .key(key)
            .header("x-keyward-client", "forged")
    };
    assert_eq!(
        http1::send(envoy.at("open"), &ask("k")).await.status,
        200,
        "the key is known from now on"
    );
    upstream.take();
    proxy.refuse();
    for key in ["k", "made-up"] {
        wait::until(&format!("{key}: the source is unavailable"), async || {
            let reply = http1::send(envoy.at("shipped"), &ask(key)).await;
            reply.status == 503 && reply.problem()["code"] == "source_unavailable"
        })
        .await;
        upstream.take();
        let reply = http1::send(envoy.at("open"), &ask(key)).await;
        assert_eq!(reply.status, 200, "{key}: {reply:?}");
        let received = upstream.take_one();
        assert!(received.all("x-keyward-client").is_empty(), "{received:?}");
    }
    assert!(envoy.stat("ext_authz.*error").await >= 2);
}
