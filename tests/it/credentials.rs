//! Difficult credentials, in both forms in which Envoy sends headers: repeated ones, ones hidden in
//! cookies and queries, and values that must reach the upstream unchanged.

use crate::support::keyfile::{KeyFile, keyed_digest};
use crate::support::message::{Ask, Reply};
use crate::support::scene::{self, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes, both_shapes_unprotected};
use crate::support::{http1, http2};

async fn scene() -> Stack {
    Stack::start(scene::CONFIG, &scene::keys(), both_shapes_unprotected).await
}

fn orders() -> Ask {
    Ask::get("/v1/orders")
}

fn code(reply: &Reply) -> String {
    reply.problem()["code"].as_str().unwrap_or_default().into()
}

#[tokio::test]
async fn a_location_that_is_filled_twice_is_ambiguous() {
    let stack = scene().await;
    let (a, b) = (secret("full"), secret("bare"));
    let bearer = |value: &str| orders().header("authorization", value);
    let cases = [
        ("two header lines", orders().key(&a).key(&b)),
        ("two header lines, the same", orders().key(&a).key(&a)),
        (
            "two header lines, one in capitals",
            orders().key(&a).header("X-API-KEY", &b),
        ),
        (
            "two header lines, the first empty",
            orders().key("").key(&a),
        ),
        (
            "two header lines, the second empty",
            orders().key(&a).key(""),
        ),
        ("one line with a comma", orders().key(&format!("{a},{b}"))),
        (
            "one line with a comma at the end",
            orders().key(&format!("{a},")),
        ),
        (
            "two bearer lines",
            bearer(&format!("Bearer {a}")).header("authorization", &format!("Bearer {b}")),
        ),
        (
            "one bearer line with two tokens",
            bearer(&format!("Bearer {a},Bearer {b}")),
        ),
        (
            "one bearer line with two tokens and a space",
            bearer(&format!("Bearer {a}, bearer {b}")),
        ),
        (
            "one bearer line with a comma",
            bearer(&format!("Bearer {a},")),
        ),
        (
            "two parameters",
            Ask::get(&format!("/v1/orders?api_key={a}&api_key={b}")),
        ),
        (
            "two parameters, one empty",
            Ask::get(&format!("/v1/orders?api_key={a}&api_key=")),
        ),
        (
            "one cookie line with two",
            orders().header("cookie", &format!("api_key={a}; api_key={b}")),
        ),
        (
            "a header and a cookie that differ",
            orders().key(&a).header("cookie", &format!("api_key={b}")),
        ),
        (
            "a header and a parameter that differ",
            Ask::get(&format!("/v1/orders?api_key={b}")).key(&a),
        ),
    ];
    for (name, ask) in cases {
        for shape in SHAPES {
            let label = format!("{name}, {shape}");
            let over_http1 = http1::send(stack.envoy.at(shape), &ask).await;
            let over_http2 = http2::send(stack.envoy.at(shape), &ask).await;
            for reply in [over_http1, over_http2] {
                assert_eq!(reply.status, 401, "{label}: {reply:?}");
                assert_eq!(code(&reply), "ambiguous_key", "{label}");
                assert!(!reply.text().contains(&a), "{label}: echoes the secret");
            }
            assert!(stack.upstream.take().is_empty(), "{label}");
        }
    }
}

#[tokio::test]
async fn a_key_is_found_in_any_cookie_line_or_crumb_and_only_it_is_removed() {
    let stack = scene().await;
    let a = secret("bare");
    let mine = format!("api_key={a}");
    // The lines that the client sends, and what is left of them, joined by Envoy or by keyward.
    let cases: [(&str, Vec<String>, &[&str]); 7] = [
        ("alone", vec![mine.clone()], &[]),
        (
            "in front",
            vec![format!("{mine}; a=1; b=2")],
            &["a=1", "b=2"],
        ),
        (
            "in the middle",
            vec![format!("a=1; {mine}; b=2")],
            &["a=1", "b=2"],
        ),
        (
            "at the end",
            vec![format!("a=1; b=2;{mine}")],
            &["a=1", "b=2"],
        ),
        (
            "in the second line",
            vec!["a=1".into(), mine.clone(), "b=2".into()],
            &["a=1", "b=2"],
        ),
        (
            "beside names that only look like it",
            vec![format!("xapi_key=1; api_keyx=2; API_KEY=3; {mine}")],
            &["xapi_key=1", "api_keyx=2", "API_KEY=3"],
        ),
        (
            "beside a quoted value",
            vec![format!("a=\"x y\"; {mine}")],
            &["a=\"x y\""],
        ),
    ];
    for (name, lines, left) in cases {
        let mut ask = orders();
        for line in &lines {
            ask = ask.header("cookie", line);
        }
        for shape in SHAPES {
            for version in [1, 2] {
                let label = format!("{name}, {shape}, HTTP/{version}");
                let to = stack.envoy.at(shape);
                let reply = match version {
                    1 => http1::send(to, &ask).await,
                    _ => http2::send(to, &ask).await,
                };
                assert_eq!(reply.status, 200, "{label}: {reply:?}");
                let received = stack.upstream.take_one();
                let cookies = received.all("cookie").join(";");
                let crumbs = cookies.split([';', ',']).map(str::trim);
                let crumbs: Vec<&str> = crumbs.filter(|crumb| !crumb.is_empty()).collect();
                assert_eq!(crumbs, left, "{label}: {received:#?}");
                assert_eq!(received.all("x-keyward-key-id"), ["bare"], "{label}");
            }
        }
    }
}

#[tokio::test]
async fn two_cookie_lines_with_a_key_each_are_ambiguous() {
    let stack = scene().await;
    let (a, b) = (secret("full"), secret("bare"));
    for second in [a.as_str(), b.as_str(), ""] {
        let ask = orders()
            .header("cookie", &format!("api_key={a}"))
            .header("cookie", &format!("x=1; api_key={second}"));
        for shape in SHAPES {
            let over_http1 = http1::send(stack.envoy.at(shape), &ask).await;
            let over_http2 = http2::send(stack.envoy.at(shape), &ask).await;
            for reply in [over_http1, over_http2] {
                assert_eq!(
                    code(&reply),
                    "ambiguous_key",
                    "{second}, {shape}: {reply:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_query_without_a_credential_is_unchanged() {
    let stack = scene().await;
    let a = secret("bare");
    for path in [
        "/v1/orders?b=2&a=1&b=3&&c",
        "/v1/orders?",
        "/v1/orders?API_KEY=1&z=%41&y=+&x",
        "/v1/orders?xapi_key=1&api_key_=2",
        "/v1/orders?next=/a?api_key",
    ] {
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &Ask::get(path).key(&a)).await;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            assert_eq!(stack.upstream.take_one().path, path, "{shape}");
        }
    }
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap()
}

#[tokio::test]
async fn a_parameter_is_removed_with_its_value_however_it_is_encoded() {
    let stack = scene().await;
    let a = secret("bare");
    let encoded: String = a
        .bytes()
        .flat_map(|byte| ['%', hex(byte >> 4), hex(byte & 15)])
        .collect();
    for value in [a.as_str(), encoded.as_str()] {
        for path in [
            format!("/v1/orders?b=2&api_key={value}&a=1"),
            format!("/v1/orders?api_key={value}"),
        ] {
            for shape in SHAPES {
                let reply = http1::send(stack.envoy.at(shape), &Ask::get(&path)).await;
                assert_eq!(reply.status, 200, "{path}: {reply:?}");
                let received = stack.upstream.take_one();
                assert!(!received.path.contains("api_key"), "{received:#?}");
                assert!(!received.path.contains(value), "{received:#?}");
                assert_eq!(path.contains("b=2"), received.path.contains("b=2"));
                assert_eq!(received.all("x-keyward-key-id"), ["bare"]);
            }
        }
    }
}

#[tokio::test]
async fn an_encoded_parameter_name_is_not_a_credential() {
    let stack = scene().await;
    let path = format!("/v1/orders?api%5Fkey={}", secret("bare"));
    for shape in SHAPES {
        let reply = http1::send(stack.envoy.at(shape), &Ask::get(&path)).await;
        assert_eq!(code(&reply), "missing_key", "{shape}");
    }
}

#[tokio::test]
async fn an_authorization_header_of_another_scheme_passes_unchanged() {
    let stack = scene().await;
    for value in [
        "Basic dXNlcjpwYXNz",
        "Digest username=\"a\", realm=\"b\"",
        "Bearerish abc",
    ] {
        let ask = orders().key(&secret("bare")).header("authorization", value);
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, 200, "{value}: {reply:?}");
            assert_eq!(
                stack.upstream.take_one().all("authorization"),
                [value],
                "{shape}"
            );
        }
    }
}

#[tokio::test]
async fn secrets_are_not_stripped_if_the_operator_keeps_them() {
    let config = format!("{}\nmode: enforce\n", scene::CONFIG)
        .replace("identity:\n", "identity:\n  strip_credentials: false\n");
    let stack = Stack::start(&config, &scene::keys(), both_shapes).await;
    let a = secret("bare");
    let reply = http1::send(stack.envoy.at("headers"), &orders().key(&a)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(stack.upstream.take_one().all("x-api-key"), [a]);
}

#[tokio::test]
async fn a_pepper_makes_plain_digests_worthless() {
    let pepper = b"thirty-two bytes of pepper or so";
    let digest = keyed_digest("peppered", pepper);
    let keys = KeyFile::new().secrets("peppered", &[&format!("digest: {digest}")], &[]);
    let home = crate::support::keyward::Home::new(
        "digest: {pepper_file: pepper, accept: [blake3-keyed]}",
        &keys,
    );
    std::fs::write(home.path("pepper"), [pepper.as_slice(), b"\n"].concat()).unwrap();
    let keyward = home.start().await;
    let channel = crate::support::check::channel(&keyward.grpc).await;
    let check = async |secret: &str| {
        let request = crate::support::check::with_key(secret);
        crate::support::check::check(&channel, request)
            .await
            .unwrap()
    };
    assert!(check("peppered").await.allowed());
    assert_eq!(check("other").await.code(), "unknown_key");
}

#[tokio::test]
async fn a_bearer_token_behind_another_scheme_is_refused() {
    let stack = scene().await;
    let bearer = format!("Bearer {}", secret("bare"));
    let two_lines = orders()
        .header("authorization", "Basic dXNlcjpwYXNz")
        .header("authorization", &bearer);
    let one_line = orders().header("authorization", &format!("Basic dXNlcjpwYXNz, {bearer}"));
    for ask in [two_lines, one_line] {
        for shape in SHAPES {
            let reply = http1::send(stack.envoy.at(shape), &ask).await;
            assert_eq!(reply.status, 401, "{shape}: {reply:?}");
        }
    }
}
