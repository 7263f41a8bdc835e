//! The end of a keyward: `NOT_SERVING` at once, checks answered until nobody is connected, exit
//! code 0; and no caller behind Envoy notices.

use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::check;
use crate::support::envoy::Envoy;
use crate::support::keyward::{Address, Keyward};
use crate::support::load::Load;
use crate::support::message::Ask;
use crate::support::metrics::total;
use crate::support::scene::{self, secret};
use crate::support::stack::{Stack, both_shapes};
use crate::support::upstream::Upstream;
use crate::support::{http1, wait};

fn with_key() -> Ask {
    Ask::get("/v1/orders").key(&secret("bare"))
}

const HEALTH_CHECKED: &str = r"
- timeout: 1s
  interval: 0.1s
  no_traffic_interval: 0.1s
  unhealthy_threshold: 1
  healthy_threshold: 1
  grpc_health_check: {service_name: envoy.service.auth.v3.Authorization}
";

async fn checks(keyward: &Keyward) -> f64 {
    total(&keyward.fetch("/metrics").await, "keyward_checks_total")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_keywards_stops_under_load_and_no_request_fails() {
    let upstream = Upstream::start().await;
    let config = "{server: {drain: 1s}, log: {decisions: none}}";
    let mut stopping = Keyward::start(config, &scene::keys_without_plans()).await;
    let staying = Keyward::start(config, &scene::keys_without_plans()).await;
    let bootstrap = Bootstrap::new(&stopping.grpc, upstream.address)
        .authz(
            "pair",
            &[stopping.grpc.clone(), staying.grpc.clone()],
            |cluster| {
                cluster["health_checks"] = yaml(HEALTH_CHECKED);
            },
        )
        .listener("headers", |l| l.asks("pair"));
    let envoy = Envoy::start(&bootstrap).await;
    let load = Load::start(envoy.at("headers"), &with_key(), 4);
    wait::until("both decide", async || {
        checks(&stopping).await > 20.0 && checks(&staying).await > 20.0
    })
    .await;
    stopping.process.signal("TERM");
    let status = stopping.process.end().await;
    assert_eq!(status.code(), Some(0), "{}", stopping.process.output());
    let (after, counted) = (load.answered(), checks(&staying).await);
    wait::until("the load continues", async || load.answered() > after + 100).await;
    assert!(checks(&staying).await > counted);
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn a_drain_serves_while_envoy_is_connected_and_ends_when_it_leaves() {
    let config = "{server: {drain: 60s, deadline: 120s}}";
    let mut stack = Stack::start(config, &scene::keys_without_plans(), both_shapes).await;
    let to = stack.envoy.at("headers");
    assert_eq!(http1::send(to, &with_key()).await.status, 200);
    stack.keyward.process.signal("TERM");
    wait::until("keyward drains", async || {
        stack.keyward.fetch("/readyz").await.status == 503
    })
    .await;
    for _ in 0..20 {
        assert_eq!(http1::send(to, &with_key()).await.status, 200);
    }
    assert!(stack.keyward.process.exited().is_none());
    drop(stack.envoy);
    // Far sooner than the drain's minute, or this wait fails.
    let status = stack.keyward.process.end().await;
    assert_eq!(status.code(), Some(0), "{}", stack.keyward.process.output());
}

#[tokio::test]
async fn a_drain_is_reported_on_every_channel() {
    let mut keyward = Keyward::start(
        "{server: {drain: 60s, deadline: 120s}}",
        &scene::keys_without_plans(),
    )
    .await;
    let channel = check::channel(&keyward.grpc).await;
    assert_eq!(check::health(&channel, "").await.unwrap(), check::SERVING);
    keyward.process.signal("TERM");
    wait::until("gRPC health says so", async || {
        check::health(&channel, "").await.unwrap() == check::NOT_SERVING
    })
    .await;
    let service = "envoy.service.auth.v3.Authorization";
    assert_eq!(
        check::health(&channel, service).await.unwrap(),
        check::NOT_SERVING
    );
    let ready = keyward.fetch("/readyz").await;
    assert_eq!(ready.status, 503);
    let why: serde_json::Value = serde_json::from_slice(&ready.body).unwrap();
    assert!(why.to_string().contains("drain"), "{why}");
    assert_eq!(keyward.fetch("/livez").await.status, 200);
    // Checks are answered in the meantime, on this connection and on new ones.
    let answer = check::check(&channel, check::with_key(&secret("bare"))).await;
    assert!(answer.unwrap().allowed());
    let another = check::channel(&keyward.grpc).await;
    let answer = check::check(&another, check::with_key(&secret("bare"))).await;
    assert!(answer.unwrap().allowed());
    drop((channel, another));
    let status = keyward.process.end().await;
    assert_eq!(status.code(), Some(0), "{}", keyward.process.output());
}

#[tokio::test]
async fn without_a_connection_keyward_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let mut keyward = Keyward::start(
            "{server: {drain: 60s, deadline: 120s}}",
            &scene::keys_without_plans(),
        )
        .await;
        keyward.process.signal(signal);
        let status = keyward.process.end().await;
        assert_eq!(
            status.code(),
            Some(0),
            "{signal}: {}",
            keyward.process.output()
        );
    }
}

#[tokio::test]
async fn a_peer_that_never_disconnects_is_cut_off_at_the_deadline() {
    let mut keyward = Keyward::start(
        "{server: {drain: 100ms, deadline: 1s}}",
        &scene::keys_without_plans(),
    )
    .await;
    let Address::Tcp(address) = keyward.grpc.clone() else {
        panic!("on TCP");
    };
    // A connection preface and nothing after it: a peer that neither answers a GOAWAY nor
    // disconnects.
    let mut silent = http1::Connection::open(address).await;
    silent.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // keyward's first frame: from here on the connection is served, and must be ended.
    assert_eq!(silent.exactly(9).await.len(), 9);
    keyward.process.signal("TERM");
    let status = keyward.process.end().await;
    let output = keyward.process.output();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("the drain deadline has passed"), "{output}");
}
