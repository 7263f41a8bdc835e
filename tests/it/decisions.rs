//! The decision table of the contract, row by row, as seen from both ends: what the caller gets and what the
//! upstream receives, for every caller and both shapes in which Envoy sends headers.

use crate::support::caller::{CALLERS, Caller};
use crate::support::message::{Ask, Reply};
use crate::support::scene::{self, IDENTITY, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes};
use crate::support::upstream::Received;

/// What must come of a request.
enum Want {
    /// Allowed, with these identity headers in the order of `IDENTITY`; empty is absent.
    Allowed([&'static str; 5]),
    /// Denied with this status, code and beginning of `www-authenticate`.
    Denied(u16, &'static str, &'static str),
}

use Want::{Allowed, Denied};

const BARE: Want = Allowed(["bare", "bare", "", "", ""]);
const NO_KEY: &str = "Bearer realm=\"keyward\"";
const BAD_KEY: &str = "Bearer realm=\"keyward\", error=\"invalid_token\"";
const NO_SCOPE: &str =
    "Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"admin audit\"";

struct Case {
    name: &'static str,
    reason: &'static str,
    ask: Ask,
    want: Want,
}

fn case(name: &'static str, ask: Ask, want: Want) -> Case {
    let reason = match want {
        Allowed(_) => "allowed",
        Denied(_, code, _) => code,
    };
    Case {
        name,
        reason,
        ask,
        want,
    }
}

fn orders() -> Ask {
    Ask::get("/v1/orders")
}

fn with(id: &str) -> Ask {
    orders().key(&secret(id))
}

fn allowed_cases() -> Vec<Case> {
    let bare = secret("bare");
    let full = Allowed(["full", "acme", "admin audit plan:read", "gold", "42"]);
    let full_admin = Allowed(["full", "acme", "admin audit plan:read", "gold", "42"]);
    let public = || Allowed([""; 5]);
    let mut cases = vec![
        case("a key with everything", with("full"), full),
        case("a key with nothing but a secret", with("bare"), BARE),
        case(
            "a bearer token",
            orders().header("authorization", &format!("Bearer {bare}")),
            BARE,
        ),
        case(
            "a bearer token whose scheme is in capitals",
            orders().header("authorization", &format!("BEARER {bare}")),
            BARE,
        ),
        case(
            "a query parameter",
            Ask::get(&format!("/v1/orders?api_key={bare}")),
            BARE,
        ),
        case(
            "a percent-encoded query parameter",
            Ask::get(&format!("/v1/orders?api_key={}", bare.replace('-', "%2D"))),
            BARE,
        ),
        case(
            "a cookie",
            orders().header("cookie", &format!("api_key={bare}")),
            BARE,
        ),
        case(
            "the same secret in two places",
            with("bare").header("cookie", &format!("api_key={bare}")),
            BARE,
        ),
        case(
            "an empty place beside a filled one",
            with("bare").header("cookie", "api_key="),
            BARE,
        ),
        case(
            "a credential of another scheme beside the key",
            with("bare").header("authorization", "Basic dXNlcjpwYXNz"),
            BARE,
        ),
        case(
            "an address that is the key's",
            with("at-home"),
            same("at-home"),
        ),
        case(
            "a host that is the key's",
            with("this-host"),
            same("this-host"),
        ),
        case(
            "a path that is the key's",
            with("this-path"),
            same("this-path"),
        ),
        case(
            "a method that is the key's",
            with("this-method"),
            same("this-method"),
        ),
        case(
            "the older of two secrets",
            orders().key(&secret("rotated-old")),
            same("rotated"),
        ),
        case(
            "the newer of two secrets",
            orders().key(&secret("rotated-new")),
            same("rotated"),
        ),
        case(
            "the scopes that a rule wants",
            Ask::get("/admin/users").key(&secret("full")),
            full_admin,
        ),
        case(
            "the client that a rule wants",
            Ask::get("/ops").key(&secret("operator")),
            Allowed(["operator", "operators", "", "", ""]),
        ),
    ];
    for (name, ask) in [
        ("a public path without a key", Ask::get("/public/info")),
        (
            "a public path with a key",
            Ask::get("/public/info").key(&bare),
        ),
        (
            "a public path with a wrong key",
            Ask::get("/public").key("nonsense"),
        ),
    ] {
        cases.push(Case {
            reason: "public",
            ..case(name, ask, public())
        });
    }
    cases
}

/// Allowed as a key whose client is itself and which has nothing else.
fn same(id: &'static str) -> Want {
    Allowed([id, id, "", "", ""])
}

fn unauthorized_cases() -> Vec<Case> {
    let bare = secret("bare");
    let long = "k".repeat(513);
    let denied = |code, authenticate| Denied(401, code, authenticate);
    vec![
        case("no key", orders(), denied("missing_key", NO_KEY)),
        case(
            "an empty header",
            orders().header("x-api-key", ""),
            denied("missing_key", NO_KEY),
        ),
        case(
            "an empty query parameter",
            Ask::get("/v1/orders?api_key="),
            denied("missing_key", NO_KEY),
        ),
        case(
            "another scheme alone",
            orders().header("authorization", "Basic dXNlcjpwYXNz"),
            denied("missing_key", NO_KEY),
        ),
        case(
            "two secrets in two places",
            with("full").header("cookie", &format!("api_key={bare}")),
            denied("ambiguous_key", BAD_KEY),
        ),
        case(
            "one place filled twice with the same secret",
            Ask::get(&format!("/v1/orders?api_key={bare}&api_key={bare}")),
            denied("ambiguous_key", BAD_KEY),
        ),
        case(
            "a secret of 513 bytes",
            orders().key(&long),
            denied("malformed_key", BAD_KEY),
        ),
        case(
            "a secret with a space",
            orders().key("a b"),
            denied("malformed_key", BAD_KEY),
        ),
        case(
            "a secret of 512 bytes that nobody has",
            orders().key(&long[1..]),
            denied("unknown_key", BAD_KEY),
        ),
        case(
            "a secret that nobody has",
            orders().key("nonsense"),
            denied("unknown_key", BAD_KEY),
        ),
        case(
            "a secret that differs in case",
            orders().key(&bare.to_uppercase()),
            denied("unknown_key", BAD_KEY),
        ),
        case(
            "a revoked key",
            with("revoked"),
            denied("key_revoked", BAD_KEY),
        ),
        case(
            "a disabled key",
            with("disabled"),
            denied("key_disabled", BAD_KEY),
        ),
        case(
            "a key before its time",
            with("early"),
            denied("key_not_yet_valid", BAD_KEY),
        ),
        case(
            "a secret before its time",
            with("early-secret"),
            denied("key_not_yet_valid", BAD_KEY),
        ),
        case(
            "an expired key",
            with("expired"),
            denied("key_expired", BAD_KEY),
        ),
        case(
            "an expired secret",
            with("expired-secret"),
            denied("key_expired", BAD_KEY),
        ),
        case(
            "no key for a route that nobody may use",
            Ask::get("/internal/x"),
            denied("missing_key", NO_KEY),
        ),
    ]
}

fn forbidden_cases() -> Vec<Case> {
    let denied = |code| Denied(403, code, "");
    let at = |path: &str, id: &str| Ask::get(path).key(&secret(id));
    vec![
        case(
            "a route that nobody may use",
            at("/internal/x", "full"),
            denied("route_denied"),
        ),
        case(
            "an address that is not the key's",
            with("elsewhere"),
            denied("ip_not_allowed"),
        ),
        case(
            "a host that is not the key's",
            with("other-host"),
            denied("route_not_allowed"),
        ),
        case(
            "a path that is not the key's",
            with("other-path"),
            denied("route_not_allowed"),
        ),
        case(
            "a method that is not the key's",
            with("other-method"),
            denied("route_not_allowed"),
        ),
        case(
            "a client that the rule does not want",
            at("/ops/x", "full"),
            denied("client_not_allowed"),
        ),
        case(
            "one scope of two",
            at("/admin/x", "half-scoped"),
            Denied(403, "insufficient_scope", NO_SCOPE),
        ),
        case(
            "no scope at all",
            at("/admin", "bare"),
            Denied(403, "insufficient_scope", NO_SCOPE),
        ),
    ]
}

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

async fn run(stack: &Stack, cases: Vec<Case>) {
    let mut seen = stack.keyward.decisions().len();
    for case in &cases {
        for shape in SHAPES {
            for caller in CALLERS {
                let label = format!("{}, {shape}, {caller:?}", case.name);
                let reply = caller.send(stack.envoy.at(shape), &case.ask).await;
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
                let decision = stack.keyward.decision_after(seen).await;
                seen += 1;
                assert_eq!(decision["reason"], case.reason, "{label}: {decision}");
                let expected = if received.is_empty() { "deny" } else { "allow" };
                assert_eq!(decision["decision"], expected, "{label}: {decision}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_allowed_goes_upstream_with_its_identity_and_without_its_secret() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, allowed_cases()).await;
}

#[tokio::test]
async fn what_lacks_a_valid_key_gets_a_401_that_says_why() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, unauthorized_cases()).await;
}

#[tokio::test]
async fn what_a_valid_key_may_not_do_gets_a_403_that_says_why() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    run(&stack, forbidden_cases()).await;
}

#[tokio::test]
async fn the_default_decides_where_no_rule_matches() {
    for (default, reason, status) in [
        ("require-key", "missing_key", 401),
        ("allow-anyone", "public", 200),
        ("deny", "missing_key", 401),
    ] {
        let config = format!("{}default: {default}\n", scene::CONFIG);
        let stack = Stack::start(&config, &scene::keys(), both_shapes).await;
        let to = stack.envoy.at("headers");
        let reply = Caller::Http1.send(to, &orders()).await;
        assert_eq!(reply.status, status, "{default}");
        let decision = stack.keyward.decision_after(0).await;
        assert_eq!(decision["reason"], reason, "{default}");
        let reply = Caller::Http1.send(to, &with("full")).await;
        let decision = stack.keyward.decision_after(1).await;
        let expected = match default {
            "deny" => (403, "route_denied"),
            "allow-anyone" => (200, "public"),
            _ => (200, "allowed"),
        };
        assert_eq!(reply.status, expected.0, "{default}");
        assert_eq!(decision["reason"], expected.1, "{default}");
    }
}
