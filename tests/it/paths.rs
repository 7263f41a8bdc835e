//! Path tricks: an Envoy without normalisation gives keyward exactly the path that the upstream
//! gets, and no spelling of a protected path may pass as a public one. Hosts likewise.

use crate::support::message::Ask;
use crate::support::scene::{self, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes, both_shapes_unprotected};
use crate::support::{http1, http2};

/// Paths that begin like the public one or end like a protected one, none of them plain.
const TRICKS: [&str; 25] = [
    "/public/../admin/users",
    "/public/./info",
    "/public//info",
    "//public/info",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/..%2fadmin",
    "/public/..%5cadmin",
    "/public/..\\admin",
    "/public\\..\\admin",
    "/public;/../admin",
    "/public;x=1/info",
    "/public/info;a",
    "/public%2f..%2fadmin",
    "/public%2finfo",
    "/public/%252e%252e/admin",
    "/public/%",
    "/public/%zz",
    "/public/%c0%ae%c0%ae/admin",
    "/public/%ff",
    "/public/%C3/%A9",
    "/public/%00",
    "/public/%0d%0aX:1",
    "/admin/../public/info",
];

#[tokio::test]
async fn no_spelling_of_a_path_passes_as_public_without_a_key() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    for path in TRICKS {
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &Ask::get(path)).await;
            assert!(
                stack.upstream.take().is_empty(),
                "{path}, {shape}: {reply:?}"
            );
            // Envoy itself refuses some with 400; what keyward refuses lacks a key first of all.
            if reply.all("content-type") == ["application/problem+json"] {
                assert_eq!(reply.status, 401, "{path}, {shape}: {reply:?}");
                assert_eq!(reply.problem()["code"], "missing_key", "{path}, {shape}");
            } else {
                assert_eq!(reply.status, 400, "{path}, {shape}: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_plain_is_refused_to_a_valid_key_too() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    let mut checked = 0;
    for path in TRICKS {
        for shape in SHAPES {
            let ask = Ask::get(path).key(&secret("full"));
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, 400, "{path}, {shape}: {reply:?}");
            assert!(stack.upstream.take().is_empty(), "{path}, {shape}");
            if reply.all("content-type") == ["application/problem+json"] {
                assert_eq!(reply.problem()["code"], "malformed_path", "{path}, {shape}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 30, "Envoy passed {checked} on");
}

#[tokio::test]
async fn a_grpc_caller_with_a_path_that_is_not_plain_gets_13() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    let ask = Ask::get("/public/../admin").key(&secret("full"));
    for shape in SHAPES {
        let ask = crate::support::caller::as_grpc(&ask);
        let reply = http2::send(stack.envoy.at(shape), &ask).await;
        assert_eq!(reply.grpc_status(), Some("13"), "{shape}: {reply:?}");
        assert!(stack.upstream.take().is_empty(), "{shape}");
    }
}

#[tokio::test]
async fn a_path_is_not_checked_if_no_rule_or_key_needs_it() {
    let stack = Stack::start("{}", &scene::keys_without_plans(), both_shapes_unprotected).await;
    for path in ["/a/../b", "/a//b", "/a;b", "/a%2fb"] {
        for shape in SHAPES {
            let ask = Ask::get(path).key(&secret("bare"));
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, 200, "{path}, {shape}: {reply:?}");
            assert_eq!(stack.upstream.take_one().path, path, "{shape}");
            let ask = Ask::get(path).key(&secret("this-path"));
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.problem()["code"], "malformed_path", "{path}, {shape}");
        }
    }
}

#[tokio::test]
async fn encoded_letters_and_queries_do_not_change_a_path() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    for (path, status) in [
        ("/public", 200),
        ("/public/", 200),
        ("/%70ublic/info", 200),
        ("/public/a%20b", 200),
        ("/public?x=/../admin", 200),
        ("/publicity", 401),
        ("/PUBLIC/info", 401),
        ("/v1?x=/public/info", 401),
        ("/%61dmin/users", 401),
    ] {
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &Ask::get(path)).await;
            assert_eq!(reply.status, status, "{path}, {shape}: {reply:?}");
        }
    }
    // An encoded letter does not bypass a rule that restricts.
    let ask = Ask::get("/%61dmin/users").key(&secret("bare"));
    let reply = http1::send(stack.envoy.at("headers"), &ask).await;
    assert_eq!(reply.problem()["code"], "insufficient_scope");
}

#[tokio::test]
async fn the_shipped_envoy_normalises_paths_before_it_asks_keyward() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    for path in ["/public/../admin/users", "/public/%2e%2e/admin/users"] {
        let ask = Ask::get(path).key(&secret("full"));
        let reply = http1::send(stack.envoy.at("headers"), &ask).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(stack.upstream.take_one().path, "/admin/users", "{path}");
        let reply = http1::send(stack.envoy.at("headers"), &Ask::get(path)).await;
        assert_eq!(reply.status, 401, "{path}: {reply:?}");
    }
    let reply = http1::send(stack.envoy.at("headers"), &Ask::get("/public%2f..%2fadmin")).await;
    assert_eq!(reply.status, 307, "{reply:?}");
}

const HOST_RULES: &str = r#"
rules:
  - {name: open, match: {hosts: [open.example.com]}, allow: anyone}
  - {name: closed, match: {hosts: [closed.example.com]}, allow: nobody}
  - {name: any-port, match: {hosts: ["ported.example.com:*"]}, allow: anyone}
"#;

#[tokio::test]
async fn hosts_are_strict_to_allow_and_broad_to_restrict() {
    let keys = scene::keys_without_plans();
    let stack = Stack::start(HOST_RULES, &keys, both_shapes_unprotected).await;
    let get = |host: &str| Ask::get("/x").host(host);
    let keyed = |host: &str| get(host).key(&secret("bare"));
    let cases = [
        (get("open.example.com"), 200),
        (get("OPEN.example.com"), 200),
        (get("open.example.com:80"), 401),
        (get("open.example.com."), 401),
        (get("ported.example.com:8443"), 200),
        (keyed("closed.example.com"), 403),
        (keyed("Closed.Example.com"), 403),
        (keyed("closed.example.com:1"), 403),
        (keyed("closed.example.com."), 403),
        (keyed("closed.example.com.:1"), 403),
        (keyed("notclosed.example.com"), 200),
    ];
    for (ask, status) in cases {
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, status, "{}, {shape}: {reply:?}", ask.host);
        }
    }
}

#[tokio::test]
async fn the_shipped_envoy_removes_port_and_trailing_dot_before_it_asks_keyward() {
    let keys = scene::keys_without_plans();
    let stack = Stack::start(HOST_RULES, &keys, both_shapes).await;
    for host in [
        "open.example.com:1",
        "open.example.com.",
        "OPEN.example.com.:1",
    ] {
        for shape in SHAPES {
            let ask = Ask::get("/x").host(host);
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, 200, "{host}, {shape}: {reply:?}");
        }
    }
}
