//! The rows of the decision table as requests, each with its expected result.

use crate::support::message::Ask;
use crate::support::scene::secret;

/// The expected result of a request.
pub enum Want {
    /// Allowed, with these identity headers in the order of `IDENTITY`; empty means absent.
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

pub struct Case {
    pub name: &'static str,
    pub reason: &'static str,
    pub ask: Ask,
    pub want: Want,
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

pub fn orders() -> Ask {
    Ask::get("/v1/orders")
}

pub fn with(id: &str) -> Ask {
    orders().key(&secret(id))
}

pub fn allowed_cases() -> Vec<Case> {
    let bare = secret("bare");
    let full = Allowed(["full", "acme", "admin audit plan:read", "gold", "42"]);
    let full_admin = Allowed(["full", "acme", "admin audit plan:read", "gold", "42"]);
    let public = || Allowed([""; 5]);
    let mut cases = vec![
        case("a key with everything", with("full"), full),
        case("a key with nothing but a secret", with("bare"), BARE),
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

/// Every credential location.
pub fn place_cases() -> Vec<Case> {
    let bare = secret("bare");
    vec![
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
    ]
}

/// Allowed as a key whose client has the same name and which has nothing else.
fn same(id: &'static str) -> Want {
    Allowed([id, id, "", "", ""])
}

pub fn unauthorized_cases() -> Vec<Case> {
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
            "an unknown secret of 512 bytes",
            orders().key(&long[1..]),
            denied("unknown_key", BAD_KEY),
        ),
        case(
            "an unknown secret",
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
            "no key for a route that allows nobody",
            Ask::get("/internal/x"),
            denied("missing_key", NO_KEY),
        ),
    ]
}

pub fn forbidden_cases() -> Vec<Case> {
    let denied = |code| Denied(403, code, "");
    let at = |path: &str, id: &str| Ask::get(path).key(&secret(id));
    vec![
        case(
            "a route that allows nobody",
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
