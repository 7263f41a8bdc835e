//! Requests other than a plain GET: methods in other cases, HEAD, CONNECT, websocket upgrades, and
//! several on one connection.

use crate::support::http1::Connection;
use crate::support::message::Ask;
use crate::support::scene::{self, IDENTITY, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes};
use crate::support::{http1, http2};

async fn scene() -> Stack {
    Stack::start(scene::CONFIG, &scene::keys(), |bootstrap| {
        bootstrap
            .listener("headers", |l| {
                l.unprotected();
                l.upgrades();
            })
            .listener("raw", |l| {
                l.unprotected();
                l.upgrades();
                l.raw_headers();
            })
    })
    .await
}

const METHOD_RULES: &str = r"
rules:
  - {name: write, match: {methods: [POST, PURGE]}, require: {scopes: [write]}}
  - {name: delete, match: {methods: [DELETE]}, allow: nobody}
  - {name: read, match: {methods: [GET]}, allow: anyone}
";

#[tokio::test]
async fn methods_are_strict_to_allow_and_broad_to_restrict() {
    let keys = scene::key(
        scene::keys_without_plans(),
        "this-method",
        &["allow_methods: [PATCH]"],
    );
    let stack = Stack::start(METHOD_RULES, &keys, both_shapes).await;
    let ask = |method: &str, key: &str| Ask::new(method, "/x").key(&secret(key));
    let cases = [
        (ask("POST", "bare"), "insufficient_scope"),
        (ask("post", "bare"), "insufficient_scope"),
        (ask("Post", "bare"), "insufficient_scope"),
        (ask("purge", "bare"), "insufficient_scope"),
        (ask("DELETE", "bare"), "route_denied"),
        (ask("delete", "bare"), "route_denied"),
        (ask("patch", "this-method"), "route_not_allowed"),
        (ask("PATCH", "this-method"), ""),
        (ask("patch", "bare"), ""),
        (Ask::new("GET", "/x"), ""),
        (Ask::new("get", "/x"), "missing_key"),
    ];
    for (ask, code) in cases {
        for shape in SHAPES {
            // Over HTTP/2, because Envoy itself refuses an HTTP/1 request with such a method.
            let reply = http2::send(stack.envoy.at(shape), &ask).await;
            let received = stack.upstream.take();
            if code.is_empty() {
                assert_eq!(reply.status, 200, "{shape}, {}: {reply:?}", ask.method);
                assert_eq!(received[0].method, ask.method, "{shape}");
            } else {
                assert_eq!(reply.problem()["code"], code, "{shape}, {}", ask.method);
                assert!(received.is_empty(), "{shape}, {}", ask.method);
            }
        }
    }
}

#[tokio::test]
async fn a_refused_head_has_the_headers_of_its_refusal_and_no_body() {
    let stack = scene().await;
    for shape in SHAPES {
        let mut connection = Connection::open(stack.envoy.at(shape)).await;
        for _ in 0..2 {
            let reply = connection
                .send(&Ask::new("HEAD", "/v1/orders"))
                .await
                .unwrap();
            assert_eq!(reply.status, 401, "{reply:?}");
            assert_eq!(reply.all("www-authenticate"), ["Bearer realm=\"keyward\""]);
            // A body on the wire would be read as the head of this response.
            let reply = connection.send(&Ask::get("/v1/orders")).await.unwrap();
            assert_eq!(reply.problem()["code"], "missing_key");
        }
        let ask = Ask::new("HEAD", "/v1/orders").key(&secret("bare"));
        let reply = connection.send(&ask).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(stack.upstream.take_one().method, "HEAD");
    }
}

#[tokio::test]
async fn every_request_on_a_connection_is_decided_separately() {
    let stack = scene().await;
    for shape in SHAPES {
        let mut connection = Connection::open(stack.envoy.at(shape)).await;
        for (ask, status) in [
            (Ask::get("/v1/orders").key(&secret("full")), 200),
            (Ask::get("/v1/orders"), 401),
            (Ask::get("/v1/orders").key(&secret("revoked")), 401),
            (Ask::new("POST", "/public/info").body("data"), 200),
            (Ask::get("/ops").key(&secret("full")), 403),
            (Ask::get("/v1/orders").key(&secret("bare")), 200),
        ] {
            let reply = connection.send(&ask).await.unwrap();
            assert_eq!(reply.status, status, "{shape}, {ask:?}: {reply:?}");
        }
        let clients: Vec<String> = stack
            .upstream
            .take()
            .iter()
            .map(|r| r.all("x-keyward-client").join(","))
            .collect();
        assert_eq!(clients, ["acme", "", "bare"], "{shape}");
    }
}

#[tokio::test]
async fn a_connect_needs_a_key_and_matches_no_path() {
    let stack = scene().await;
    let connect = || Ask::new("CONNECT", "api.example.com:443").host("api.example.com:443");
    let cases = [
        (connect(), 401, "missing_key"),
        (connect().key(&secret("revoked")), 401, "key_revoked"),
        (
            connect().key(&secret("this-path")),
            403,
            "route_not_allowed",
        ),
        (connect().key(&secret("bare")), 200, ""),
    ];
    for (ask, status, code) in cases {
        for shape in SHAPES {
            let to = stack.envoy.at(shape);
            let reply = http1::send(to, &ask).await;
            assert_eq!(reply.status, status, "{shape}, {ask:?}: {reply:?}");
            let received = stack.upstream.take();
            if status == 200 {
                assert_eq!(received.len(), 1, "{shape}");
                assert_eq!(received[0].all("x-keyward-key-id"), ["bare"], "{shape}");
                assert!(received[0].all("x-api-key").is_empty(), "{shape}");
            } else {
                assert_eq!(reply.problem()["code"], code, "{shape}, {ask:?}");
                assert!(received.is_empty(), "{shape}: {received:#?}");
                let reply = http2::send(to, &ask).await;
                assert_eq!(reply.status, status, "{shape}, HTTP/2: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_is_decided_at_its_upgrade() {
    let stack = scene().await;
    let upgrade = || {
        Ask::get("/v1/stream")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13")
    };
    for shape in SHAPES {
        let to = stack.envoy.at(shape);
        let reply = http1::send(to, &upgrade()).await;
        assert_eq!(reply.status, 401, "{shape}: {reply:?}");
        assert!(stack.upstream.take().is_empty(), "{shape}");
        let mut connection = Connection::open(to).await;
        let reply = connection
            .send(&upgrade().key(&secret("bare")))
            .await
            .unwrap();
        assert_eq!(reply.status, 101, "{shape}: {reply:?}");
        connection.write(b"ping").await;
        assert_eq!(connection.exactly(4).await, b"ping", "{shape}");
        let received = stack.upstream.take_one();
        assert_eq!(received.all(IDENTITY[0]), ["bare"], "{shape}");
        assert!(received.all("x-api-key").is_empty(), "{shape}");
    }
}

#[tokio::test]
async fn a_body_goes_upstream_whole_even_if_keyward_received_it() {
    let stack = scene().await;
    let body = "0123456789".repeat(2_000);
    let path = format!("/v1/orders?x=1&api_key={}", secret("bare"));
    let ask = Ask::new("POST", &path).body(body.clone());
    for shape in SHAPES {
        let reply = http1::send(stack.envoy.at(shape), &ask).await;
        assert_eq!(reply.status, 200, "{shape}: {reply:?}");
        assert_eq!(stack.upstream.take_one().body, body.as_bytes(), "{shape}");
    }
}
