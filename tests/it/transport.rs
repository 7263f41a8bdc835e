//! `require_https`: what Envoy says about the connection decides, not what the caller claims.

use crate::support::bootstrap::{Listener, yaml};
use crate::support::message::Ask;
use crate::support::metrics::sample;
use crate::support::scene::{self, secret};
use crate::support::stack::Stack;
use crate::support::{http1, http2};

async fn stack(config: &str) -> Stack {
    Stack::start(config, &scene::keys(), |bootstrap| {
        bootstrap
            .listener("edge", |_| {})
            .listener("raw", Listener::raw_headers)
            .listener("balanced", |l| {
                l.hcm().insert("xff_num_trusted_hops".into(), yaml("1"));
            })
            .listener("silent", |l| {
                l.ext_authz()["allowed_headers"] = yaml("{patterns: [{exact: x-api-key}]}");
            })
    })
    .await
}

#[tokio::test]
async fn a_valid_key_over_plain_http_is_refused_and_counted() {
    let stack = stack(&format!("{}require_https: true\n", scene::CONFIG)).await;
    let keyed = || Ask::get("/v1/orders").key(&secret("full"));
    let claiming = || keyed().header("x-forwarded-proto", "https");
    for (listener, ask, status) in [
        ("edge", keyed(), 403),
        ("raw", keyed(), 403),
        // Envoy at the edge replaces the caller's own header.
        ("edge", claiming(), 403),
        ("raw", claiming(), 403),
        // Behind a trusted load balancer, the balancer's header counts.
        ("balanced", claiming(), 200),
        ("balanced", keyed().header("x-forwarded-proto", "http"), 403),
        // Without the header, Envoy's scheme counts.
        ("silent", keyed(), 403),
    ] {
        for reply in [
            http1::send(stack.envoy.at(listener), &ask).await,
            http2::send(stack.envoy.at(listener), &ask).await,
        ] {
            assert_eq!(reply.status, status, "{listener}, {ask:?}: {reply:?}");
            if status == 403 {
                let problem = reply.problem();
                assert_eq!(problem["code"], "insecure_transport", "{listener}");
                assert_eq!(
                    problem["detail"],
                    "The API key may be sent over HTTPS alone."
                );
                assert!(reply.all("www-authenticate").is_empty(), "{reply:?}");
            }
        }
    }
    let counted = stack.keyward.fetch("/metrics").await;
    let labels = ["key_id=\"full\"", "reason=\"insecure_transport\""];
    let counted = sample(&counted, "keyward_key_requests_total", &labels);
    assert!(counted.unwrap() >= 12.0, "{counted:?}");

    // Only a valid key gets this refusal; a request that needs no key never does.
    for (ask, status) in [
        (Ask::get("/v1/orders").key("nonsense"), 401),
        (Ask::get("/v1/orders").key(&secret("revoked")), 401),
        (Ask::get("/internal/x").key(&secret("full")), 403),
        (Ask::get("/public/info"), 200),
    ] {
        let reply = http1::send(stack.envoy.at("edge"), &ask).await;
        assert_eq!(reply.status, status, "{ask:?}: {reply:?}");
    }
}

#[tokio::test]
async fn by_default_the_transport_does_not_matter() {
    let stack = stack(scene::CONFIG).await;
    let ask = Ask::get("/v1/orders").key(&secret("full"));
    assert_eq!(http1::send(stack.envoy.at("edge"), &ask).await.status, 200);
}
