//! `client_address: x-envoy-external-address`: decisions use the address that Envoy determined,
//! never one that a caller wrote, even if an operator removed part of the protection.

use crate::support::bootstrap::{Bootstrap, Listener};
use crate::support::http1;
use crate::support::message::Ask;
use crate::support::scene::{self, secret};
use crate::support::stack::Stack;

const CONFIG: &str = "{client_address: x-envoy-external-address, plans: {gold: {}}}";

/// `x-envoy-external-address` as a caller writes it, with an address that the key `elsewhere`
/// allows.
fn forged(id: &str) -> Ask {
    let ask = Ask::get("/v1/orders").key(&secret("elsewhere")).id(id);
    ask.header("X-Envoy-External-Address", "10.1.2.3")
}

fn without_remote_address(listener: &mut Listener) {
    listener
        .hcm()
        .insert("use_remote_address".into(), false.into());
}

fn without_early_removal(listener: &mut Listener) {
    listener.hcm().remove("early_header_mutation_extensions");
}

fn listeners(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap
        .listener("shipped", |_| {})
        .listener("raw", Listener::raw_headers)
        .listener("internal", Listener::treat_loopback_as_internal)
        .listener("without-remote-address", without_remote_address)
        .listener("early-removal-missing", without_early_removal)
        .listener("internal-and-missing", |l| {
            l.treat_loopback_as_internal();
            without_early_removal(l);
        })
        .listener("neither", |l| {
            without_remote_address(l);
            without_early_removal(l);
        })
}

#[tokio::test]
async fn the_address_comes_from_envoy_and_never_from_the_caller() {
    let stack = Stack::start(CONFIG, &scene::keys(), listeners).await;
    let keyward = &stack.keyward;
    for (listener, known) in [
        ("shipped", "127.0.0.1"),
        ("raw", "127.0.0.1"),
        ("early-removal-missing", "127.0.0.1"),
        // Envoy sends no address: keyward knows none, and does not use the caller's.
        ("internal", ""),
        ("without-remote-address", ""),
    ] {
        let reply = http1::send(stack.envoy.at(listener), &forged(listener)).await;
        assert_eq!(reply.status, 403, "{listener}: {reply:?}");
        assert_eq!(reply.problem()["code"], "ip_not_allowed", "{listener}");
        let decision = keyward.decision_of(listener).await;
        let logged = decision["source_ip"].as_str().unwrap_or_default();
        assert_eq!(logged, known, "{listener}: {decision}");
    }
    // A key for loopback: only where the address is known.
    let at_home = Ask::get("/v1/orders").key(&secret("at-home"));
    let reply = http1::send(stack.envoy.at("shipped"), &at_home).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    stack.upstream.take();
}

#[tokio::test]
async fn without_the_shipped_settings_callers_choose_their_address() {
    let stack = Stack::start(CONFIG, &scene::keys(), listeners).await;
    // An Envoy without both lets callers choose their address.
    for listener in ["internal-and-missing", "neither"] {
        let reply = http1::send(stack.envoy.at(listener), &forged(listener)).await;
        assert_eq!(reply.status, 200, "{listener}: {reply:?}");
    }
}
