//! The table of docs/decisions.md, row by row, from both ends: what the caller gets and what the
//! upstream receives, for every caller and both forms in which Envoy sends headers.

mod cases;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::caller::{CALLERS, Caller};
use crate::support::message::Reply;
use crate::support::scene::{self, IDENTITY};
use crate::support::stack::{SHAPES, Stack, both_shapes};
use crate::support::upstream::Received;

use cases::{
    Case,
    Want::{Allowed, Denied},
    allowed_cases, forbidden_cases, orders, place_cases, unauthorized_cases, with,
};

fn is_allowed(label: &str, reply: &Reply, received: &[Received], caller: Caller, want: &[&str; 5]) {
    assert_eq!(reply.status, 200, "{label}: {reply:?}");
    if caller == Caller::Grpc {
        assert_eq!(reply.grpc_status(), Some("0"), "{label}: {reply:?}");
    }
    let [received] = received else {
        panic!("{label}: one request goes upstream: {received:#?}");
    };
    for (name, value) in IDENTITY.iter().zip(want) {
        let mut words: Vec<&str> = received.all(name);
        if *name == "x-keyward-scopes" && words.len() == 1 {
            words = words[0].split(' ').collect();
            words.sort_unstable();
        }
        assert_eq!(words.join(" "), *value, "{label}: {name} in {received:#?}");
    }
    let all = format!("{received:?}");
    assert!(
        !all.contains("-secret-"),
        "{label}: a secret went upstream: {all}"
    );
    assert!(received.all("x-api-key").is_empty(), "{label}: {all}");
}

fn is_denied(label: &str, reply: &Reply, caller: Caller, want: (u16, &str, &str)) {
    let (status, code, authenticate) = want;
    let authenticates = if authenticate.is_empty() {
        vec![]
    } else {
        vec![authenticate]
    };
    assert_eq!(
        reply.all("www-authenticate"),
        authenticates,
        "{label}: {reply:?}"
    );
    assert_eq!(
        reply.all("cache-control"),
        ["no-store"],
        "{label}: {reply:?}"
    );
    if caller == Caller::Grpc {
        let number = match status {
            400 => "13",
            401 => "16",
            _ => "7",
        };
        assert_eq!(reply.status, 200, "{label}: {reply:?}");
        assert_eq!(reply.grpc_status(), Some(number), "{label}: {reply:?}");
        let message = reply.grpc_message().unwrap_or_default();
        assert!(!message.is_empty(), "{label}: {reply:?}");
        assert!(
            !message.contains(['{', '\n', '"']),
            "{label}: a plain sentence: {message}"
        );
        return;
    }
    assert_eq!(reply.status, status, "{label}: {reply:?}");
    assert_eq!(
        reply.all("content-type"),
        ["application/problem+json"],
        "{label}"
    );
    let problem = reply.problem();
    assert_eq!(problem["type"], "about:blank", "{label}: {problem}");
    assert_eq!(problem["status"], status, "{label}: {problem}");
    assert_eq!(problem["code"], code, "{label}: {problem}");
    let title = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        _ => "Forbidden",
    };
    assert_eq!(problem["title"], title, "{label}: {problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.ends_with('.'), "{label}: a sentence: {problem}");
}

/// Numbers the requests, so that each finds its decision. (Envoy changes a letter in ids that are
/// as long as a UUID.)
static SENT: AtomicUsize = AtomicUsize::new(0);

async fn run(stack: &Stack, cases: Vec<Case>) {
    for case in &cases {
        for shape in SHAPES {
            for caller in CALLERS {
                let label = format!("{}, {shape}, {caller:?}", case.name);
                let id = format!("request-{}", SENT.fetch_add(1, Ordering::Relaxed));
                let ask = case.ask.clone().id(&id);
                let reply = caller.send(stack.envoy.at(shape), &ask).await;
                let received = stack.upstream.take();
                match case.want {
                    Allowed(ref identity) => {
                        is_allowed(&label, &reply, &received, caller, identity);
                    }
                    Denied(status, code, authenticate) => {
                        is_denied(&label, &reply, caller, (status, code, authenticate));
                        assert!(received.is_empty(), "{label}: {received:#?}");
                    }
                }
                let decision = stack.keyward.decision_of(&id).await;
                assert_eq!(decision["reason"], case.reason, "{label}: {decision}");
                let expected = if received.is_empty() { "deny" } else { "allow" };
                assert_eq!(decision["decision"], expected, "{label}: {decision}");
            }
        }
    }
}

#[tokio::test]
async fn an_allowed_request_goes_upstream_with_its_identity_and_without_its_secret() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, place_cases()).await;
    run(&stack, allowed_cases()).await;
}

#[tokio::test]
async fn a_request_without_a_valid_key_gets_a_401_with_the_reason() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, unauthorized_cases()).await;
}

#[tokio::test]
async fn a_request_that_the_key_may_not_make_gets_a_403_with_the_reason() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, forbidden_cases()).await;
}

#[tokio::test]
async fn the_default_decides_if_no_rule_matches() {
    for (default, reason, status) in [
        ("require-key", "missing_key", 401),
        ("allow-anyone", "public", 200),
        ("deny", "missing_key", 401),
    ] {
        let config = format!("{}default: {default}\n", scene::CONFIG);
        let stack = Stack::start(&config, &scene::keys(), both_shapes).await;
        let to = stack.envoy.at("headers");
        let reply = Caller::Http1.send(to, &orders().id("without")).await;
        assert_eq!(reply.status, status, "{default}");
        let decision = stack.keyward.decision_of("without").await;
        assert_eq!(decision["reason"], reason, "{default}");
        let reply = Caller::Http1.send(to, &with("full").id("with")).await;
        let decision = stack.keyward.decision_of("with").await;
        let expected = match default {
            "deny" => (403, "route_denied"),
            "allow-anyone" => (200, "public"),
            _ => (200, "allowed"),
        };
        assert_eq!(reply.status, expected.0, "{default}");
        assert_eq!(decision["reason"], expected.1, "{default}");
    }
}
