//! `require_https`: what Envoy tells of the connection decides, and no caller's own word.

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
        // Envoy at the edge replaces a caller's own word.
        ("edge", claiming(), 403),
        ("raw", claiming(), 403),
        // Behind a balancer that is trusted, its word counts.
        ("balanced", claiming(), 200),
        ("balanced", keyed().header("x-forwarded-proto", "http"), 403),
        // Where the header does not come, Envoy's scheme does.
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

    // Only a valid key is told so, and where no key is asked for nothing is.
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
async fn by_default_nothing_is_asked_of_the_transport() {
    let stack = stack(scene::CONFIG).await;
    let ask = Ask::get("/v1/orders").key(&secret("full"));
    assert_eq!(http1::send(stack.envoy.at("edge"), &ask).await.status, 200);
}
