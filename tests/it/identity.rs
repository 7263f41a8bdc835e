//! Only keyward sets the identity: a header that a client sends under an identity header's name, or
//! under one that an upstream might treat the same, does not pass. Envoy's own removal is off in
//! tests of keyward's; a real PHP shows what upstreams treat as an identity header.

use crate::support::message::Ask;
use crate::support::php::{GATEWAYS, Php};
use crate::support::scene::{self, IDENTITY, secret, spellings};
use crate::support::stack::{SHAPES, Stack, both_shapes_unprotected};
use crate::support::{http1, http2};

/// Ways in which a client can send an identity header.
fn forged(ask: &Ask) -> Vec<(&'static str, Ask)> {
    let ask = || ask.clone();
    let spelled = |name: &str| {
        let all = spellings(name).into_iter();
        all.fold(ask(), |ask, spelling| ask.header(&spelling, "forged"))
    };
    vec![
        (
            "in other spellings",
            spelled("x-keyward-client").header("x-keyward-client", "forged"),
        ),
        ("a plan in other spellings", spelled("x-keyward-plan")),
        ("metadata in other spellings", spelled("x-org-id")),
        ("once", ask().header("x-keyward-client", "forged")),
        (
            "twice",
            ask()
                .header("x-keyward-client", "forged")
                .header("x-keyward-client", "forged"),
        ),
        ("in capitals", ask().header("X-KEYWARD-CLIENT", "forged")),
        (
            "with underscores",
            ask().header("x_keyward_client", "forged"),
        ),
        (
            "with one underscore",
            ask().header("X-Keyward_Client", "forged"),
        ),
        (
            "with underscores and without",
            ask()
                .header("x_keyward_client", "forged")
                .header("x-keyward-client", "forged"),
        ),
        (
            "one that the key has no value for",
            ask()
                .header("x-org-id", "forged")
                .header("x_org_id", "forged"),
        ),
        ("a plan", ask().header("x-keyward-plan", "forged")),
        ("scopes", ask().header("x-keyward-scopes", "forged")),
        ("an empty one", ask().header("x-keyward-plan", "")),
        (
            "named in Connection",
            ask()
                .header("connection", "x-keyward-client, x-keyward-key-id")
                .header("x-keyward-client", "forged"),
        ),
    ]
}

/// A header that an upstream might treat as an identity header.
fn alias(name: &str) -> bool {
    let folded = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    IDENTITY.contains(&folded.to_ascii_lowercase().as_str())
}

#[tokio::test]
async fn a_client_can_neither_forge_nor_alias_an_identity_header() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    let bare = Ask::get("/v1/orders").key(&secret("bare"));
    for (name, ask) in forged(&bare) {
        for shape in SHAPES {
            let to = stack.envoy.at(shape);
            http1::send(to, &ask).await;
            let mut all = stack.upstream.take();
            if !name.contains("Connection") {
                http2::send(to, &ask).await;
                all.extend(stack.upstream.take());
                assert_eq!(all.len(), 2, "{name}, {shape}");
            }
            for received in all {
                let mut found = received.headers.clone();
                found.retain(|(header, _)| alias(header));
                found.sort();
                let expected = [("x-keyward-client", "bare"), ("x-keyward-key-id", "bare")];
                let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
                assert_eq!(found, expected, "{name}, {shape}: {received:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_public_path_carries_no_identity_at_all() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    for public in [
        Ask::get("/public/info"),
        Ask::get("/public/info").key(&secret("full")),
    ] {
        for (name, ask) in forged(&public) {
            for shape in SHAPES {
                let reply = http1::send(stack.envoy.at(shape), &ask).await;
                assert_eq!(reply.status, 200, "{name}, {shape}: {reply:?}");
                let received = stack.upstream.take_one();
                let names = received.names();
                assert!(
                    !names.into_iter().any(alias),
                    "{name}, {shape}: {received:#?}"
                );
                assert!(received.all("x-api-key").is_empty(), "{name}, {shape}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_named_in_connection_is_not_presented() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await;
    let ask = Ask::get("/v1/orders")
        .key(&secret("bare"))
        .header("connection", "x-api-key");
    for shape in SHAPES {
        let reply = http1::send(stack.envoy.at(shape), &ask).await;
        assert_eq!(reply.status, 401, "{shape}: {reply:?}");
        assert_eq!(reply.problem()["code"], "missing_key", "{shape}");
    }
}

#[tokio::test]
async fn no_spelling_of_an_identity_header_reaches_php_through_the_shipped_envoy() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), |bootstrap| {
        bootstrap
            .listener("shipped", |_| {})
            .listener("unasked", |l| l.route("{prefix: /}", "{disabled: true}"))
    })
    .await;
    let php = Php::start().await;
    // All spellings of one name at a time: Envoy accepts at most a hundred headers.
    let forged = |ask: &Ask, name: &str| {
        let all = spellings(name).into_iter();
        let ask = ask.clone().header(name, "forged");
        all.fold(ask, |ask, spelling| ask.header(&spelling, "forged"))
    };
    let bare = || Ask::get("/v1/orders").key(&secret("bare"));
    for (listener, ask, client) in [
        ("shipped", bare(), Some("bare")),
        ("shipped", Ask::get("/public/info"), None),
        ("unasked", bare(), None),
    ] {
        let forgeries = ["x-keyward-client", "x-keyward-plan", "x-keyward-key-id"];
        for ask in forgeries.map(|name| forged(&ask, name)) {
            let to = stack.envoy.at(listener);
            for reply in [http1::send(to, &ask).await, http2::send(to, &ask).await] {
                assert_eq!(reply.status, 200, "{listener}: {reply:?}");
            }
            for received in stack.upstream.take() {
                for gateway in GATEWAYS {
                    let variables = php.variables(gateway, &received.headers).await;
                    let found = |name: &str| variables.get(name).map(String::as_str);
                    assert!(
                        variables.values().all(|value| value != "forged"),
                        "{listener}, {gateway:?}: {variables:#?}"
                    );
                    assert_eq!(
                        found("HTTP_X_KEYWARD_CLIENT"),
                        client,
                        "{listener}, {gateway:?}"
                    );
                    assert_eq!(found("HTTP_X_KEYWARD_PLAN"), None);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_shipped_envoy_refuses_underscores_before_it_asks_keyward() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), |bootstrap| {
        bootstrap.listener("shipped", |_| {})
    })
    .await;
    let ask = Ask::get("/v1/orders")
        .key(&secret("bare"))
        .header("x_keyward_client", "forged");
    let reply = http1::send(stack.envoy.at("shipped"), &ask).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(stack.keyward.decisions().is_empty());
    assert!(stack.upstream.take().is_empty());
}
