//! A killed keyward and a silently lost connection: no request fails, under load or alone.

use crate::support::bootstrap::{Bootstrap, Listener};
use crate::support::envoy::Envoy;
use crate::support::fault_proxy::FaultProxy;
use crate::support::http1::Connection;
use crate::support::keyward::{Address, Keyward};
use crate::support::load::Load;
use crate::support::message::Ask;
use crate::support::metrics::total;
use crate::support::scene::{self, secret};
use crate::support::upstream::Upstream;
use crate::support::wait;

fn with_key() -> Ask {
    Ask::get("/v1/orders").key(&secret("bare"))
}

pub async fn keyward() -> Keyward {
    let config = "{log: {decisions: none}}";
    Keyward::start(config, &scene::keys_without_plans()).await
}

pub async fn proxy_to(keyward: &Keyward) -> FaultProxy {
    let Address::Tcp(to) = keyward.grpc else {
        panic!("on TCP");
    };
    FaultProxy::of_checks(to).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_keywards_is_killed_under_load_and_no_request_fails() {
    let upstream = Upstream::start().await;
    let (mut killed, staying) = (keyward().await, keyward().await);
    let both = [killed.grpc.clone(), staying.grpc.clone()];
    let bootstrap = Bootstrap::new(&killed.grpc, upstream.address)
        .authz("pair", &both, |_| {})
        .listener("pair", |l| l.asks("pair"));
    let envoy = Envoy::start(&bootstrap).await;
    let load = Load::start(envoy.at("pair"), &with_key(), 8);
    wait::until("both decide", async || {
        let (one, other) = (
            killed.fetch("/metrics").await,
            staying.fetch("/metrics").await,
        );
        [one, other]
            .iter()
            .all(|metrics| total(metrics, "keyward_checks_total") > 50.0)
    })
    .await;
    killed.process.signal("KILL");
    killed.process.end().await;
    let before = load.answered();
    wait::until("the load continues", async || {
        load.answered() > before + 1000
    })
    .await;
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:#?}");
    // Proves that checks reached the dead one and were retried at the other.
    assert!(envoy.stat("^cluster.pair.upstream_rq_retry_success$").await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_only_keyward_are_lost_silently_under_load_and_no_request_fails() {
    let (upstream, keyward) = (Upstream::start().await, keyward().await);
    let proxy = proxy_to(&keyward).await;
    let bootstrap =
        Bootstrap::new(&Address::Tcp(proxy.address), upstream.address).listener("shipped", |_| {});
    let envoy = Envoy::start(&bootstrap).await;
    let load = Load::start(envoy.at("shipped"), &with_key(), 8);
    for round in 1..=3 {
        let before = load.answered();
        wait::until("keyward decides", async || load.answered() > before + 200).await;
        proxy.silence();
        let before = load.answered();
        wait::until("the load continues", async || {
            load.answered() > before + 200
        })
        .await;
        let gave_up = "^cluster.keyward.http2.keepalive_timeout$";
        assert!(
            envoy.stat(gave_up).await >= round,
            "a connection is given up"
        );
    }
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn one_request_after_its_connection_was_lost_silently_is_answered() {
    let (upstream, keyward) = (Upstream::start().await, keyward().await);
    let proxy = proxy_to(&keyward).await;
    let bootstrap = Bootstrap::new(&Address::Tcp(proxy.address), upstream.address)
        .listener("shipped", |_| {})
        .listener("raw", Listener::raw_headers);
    let envoy = Envoy::start(&bootstrap).await;
    for listener in ["shipped", "raw", "shipped"] {
        let mut caller = Connection::open(envoy.at(listener)).await;
        for _ in 0..2 {
            let reply = caller.send(&with_key()).await.unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
            proxy.silence();
        }
    }
    let gave_up = envoy
        .stat("^cluster.keyward.http2.keepalive_timeout$")
        .await;
    assert!(
        gave_up >= 5,
        "each but the first had to open another: {gave_up}"
    );
}
