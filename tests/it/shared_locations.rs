//! Credential locations shared with others: a vendor's token beside keyward's key, and a query of
//! which every other byte must arrive.

use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::keyfile::KeyFile;
use crate::support::message::{Ask, Reply};
use crate::support::stack::{SHAPES, Stack, both_shapes, both_shapes_unprotected};
use crate::support::{http1, http2};

const OURS: &str = "kw_our-secret-4b1d9c";
const THEIRS: &str = "Bearer sk-vendor-token";

const PREFIXED: &str = r#"
credentials:
  - {header: authorization, scheme: Bearer, prefix: kw_}
  - {header: x-api-key, prefix: kw_}
  - {query: api_key, prefix: kw_}
  - {cookie: api_key, prefix: kw_}
rules: [{name: open, match: {paths: ["/public/**"]}, allow: anyone}]
"#;

fn keys() -> KeyFile {
    KeyFile::new().key("ours", OURS, &[])
}

fn code(reply: &Reply) -> String {
    reply.problem()["code"].as_str().unwrap_or_default().into()
}

#[tokio::test]
async fn a_vendors_token_passes_beside_our_key() {
    let stack = Stack::start(PREFIXED, &keys(), both_shapes_unprotected).await;
    let bearer = format!("Bearer {OURS}");
    let cookies = format!("api_key=sk-1; s=1; other={OURS}");
    // The request, and what of each name must reach the upstream.
    let cases = [
        (
            Ask::get("/v1").key(OURS).header("authorization", THEIRS),
            ("authorization", vec![THEIRS]),
        ),
        (
            Ask::get("/v1").header("authorization", &bearer).key("sk-1"),
            ("x-api-key", vec!["sk-1"]),
        ),
        (
            Ask::get("/v1").key(OURS).header("cookie", &cookies),
            ("cookie", vec![cookies.as_str()]),
        ),
    ];
    for (ask, (name, left)) in &cases {
        for shape in SHAPES {
            for reply in [
                http1::send(stack.envoy.at(shape), ask).await,
                http2::send(stack.envoy.at(shape), ask).await,
            ] {
                assert_eq!(reply.status, 200, "{ask:?}: {reply:?}");
            }
            for received in stack.upstream.take() {
                let label = format!("{shape}: {received:#?}");
                assert_eq!(received.all("x-keyward-key-id"), ["ours"], "{label}");
                assert_eq!(&received.all(name), left, "{label}");
                let both = ["authorization", "x-api-key"].map(|name| received.all(name));
                assert!(!both.concat().iter().any(|v| v.contains("kw_")), "{label}");
            }
        }
    }
    // A vendor's value alone is not a key.
    for ask in [
        Ask::get("/v1").header("authorization", THEIRS),
        Ask::get("/v1").key("sk-1"),
        Ask::get("/v1?api_key=sk-1"),
    ] {
        let reply = http1::send(stack.envoy.at("headers"), &ask).await;
        assert_eq!(code(&reply), "missing_key", "{ask:?}");
    }
    // It is unclear which of the two the upstream would read.
    for value in [
        format!("{THEIRS}, Bearer {OURS}"),
        format!("{THEIRS},{OURS}"),
    ] {
        let ask = Ask::get("/v1").header("authorization", &value);
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(code(&reply), "ambiguous_key", "{shape}");
        }
    }
}

#[tokio::test]
async fn a_public_rule_strips_our_key_and_leaves_a_vendors() {
    let stack = Stack::start(PREFIXED, &keys(), both_shapes_unprotected).await;
    for shape in SHAPES {
        let to = stack.envoy.at(shape);
        let theirs = Ask::get("/public/a?api_key=sk-1&b=2&a=1")
            .header("authorization", THEIRS)
            .header("x-api-key", "sk-1")
            .header("cookie", "api_key=sk-1");
        assert_eq!(http1::send(to, &theirs).await.status, 200);
        let received = stack.upstream.take_one();
        assert_eq!(received.path, "/public/a?api_key=sk-1&b=2&a=1", "{shape}");
        for (name, value) in [
            ("authorization", THEIRS),
            ("x-api-key", "sk-1"),
            ("cookie", "api_key=sk-1"),
        ] {
            assert_eq!(received.all(name), [value], "{shape}");
        }

        let ours = Ask::get(&format!("/public/a?api_key={OURS}&b=2"))
            .header("authorization", &format!("{THEIRS}, Bearer {OURS}"))
            .header("x-api-key", OURS)
            .header("cookie", &format!("s=1; api_key={OURS}"));
        assert_eq!(http1::send(to, &ours).await.status, 200);
        let received = stack.upstream.take_one();
        assert!(!format!("{received:?}").contains(OURS), "{received:#?}");
        assert_eq!(received.all("cookie"), ["s=1"], "{shape}");
    }
}

/// The shipped Envoy with mutation rules that allow `:path`.
fn with_rules(bootstrap: Bootstrap) -> Bootstrap {
    both_shapes(bootstrap).listener("ruled", |l| {
        l.ext_authz()["decoder_header_mutation_rules"] =
            yaml("{allow_all_routing: true, disallow_is_error: true}");
    })
}

#[tokio::test]
async fn a_path_is_stripped_of_the_key_and_every_other_byte_of_its_query_arrives() {
    let config = "credentials: [{query: api_key, strip: path}, {header: x-api-key}]\n";
    let stack = Stack::start(config, &keys(), with_rules).await;
    for (path, left) in [
        ("/v1?b=2&a=1&api_key=KEY&b=3&&c", "/v1?b=2&a=1&b=3&&c"),
        ("/v1?api_key=KEY", "/v1"),
        (
            "/v1?z=%7e%2F+=&api_key=KEY&a[]=1&q='x'&u=http://h/?y",
            "/v1?z=%7e%2F+=&a[]=1&q='x'&u=http://h/?y",
        ),
        ("/v1?api_key=%6bw_our-secret-4b1d9c&B&a=", "/v1?B&a="),
    ] {
        let ask = Ask::get(&path.replace("KEY", OURS));
        for listener in ["headers", "raw", "ruled"] {
            for reply in [
                http1::send(stack.envoy.at(listener), &ask).await,
                http2::send(stack.envoy.at(listener), &ask).await,
            ] {
                assert_eq!(reply.status, 200, "{listener}, {path}: {reply:?}");
            }
            for received in stack.upstream.take() {
                assert_eq!(received.path, left, "{listener}");
                assert_eq!(received.all("x-keyward-key-id"), ["ours"], "{listener}");
            }
        }
    }
    // If the key comes in another way, the path is unchanged.
    let ask = Ask::get("/v1?b=2&a=1").key(OURS);
    http1::send(stack.envoy.at("headers"), &ask).await;
    assert_eq!(stack.upstream.take_one().path, "/v1?b=2&a=1");
}

#[tokio::test]
async fn by_default_envoy_sorts_the_rest_of_the_query() {
    let config = "credentials: [{query: api_key}]\n";
    let stack = Stack::start(config, &keys(), both_shapes).await;
    let ask = Ask::get(&format!("/v1?b=2&a=1&api_key={OURS}&b=3"));
    assert_eq!(
        http1::send(stack.envoy.at("headers"), &ask).await.status,
        200
    );
    assert_eq!(stack.upstream.take_one().path, "/v1?a=1&b=2&b=3");
}
