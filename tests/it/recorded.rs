//! `CheckRequest`s of a real Envoy, stored as bytes in `tests/fixtures/check_request`, on which
//! keyward's own decoding is tested. This test checks that the current Envoy still sends this form;
//! with `KEYWARD_RECORD=1` it writes the files.

use std::fs;
use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;
use prost::Message;

use crate::support::authz::{Script, ScriptedAuthz};
use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::caller::as_grpc;
use crate::support::envoy::Envoy;
use crate::support::keyward::Address;
use crate::support::message::Ask;
use crate::support::upstream::Upstream;
use crate::support::{http1, http2, wait};

struct Recording {
    name: &'static str,
    listener: &'static str,
    http2: bool,
    ask: Ask,
}

fn http1(name: &'static str, listener: &'static str, ask: Ask) -> Recording {
    Recording {
        name,
        listener,
        http2: false,
        ask,
    }
}

fn http2(name: &'static str, listener: &'static str, ask: Ask) -> Recording {
    Recording {
        http2: true,
        ..http1(name, listener, ask)
    }
}

fn recordings() -> Vec<Recording> {
    let get = || Ask::get("/v1/orders?b=2&a=1").key("recorded-secret");
    let post = || {
        Ask::new("POST", "/v1/orders")
            .key("recorded-secret")
            .header("Content-Type", "application/json")
            .body(r#"{"a":1}"#)
    };
    let duplicates = || {
        Ask::get("/v1/orders")
            .key("one")
            .header("X-Api-Key", "two")
            .header("x-keyward-client", "forged")
            .header("X_Keyward_Client", "forged")
    };
    let cookies = || {
        Ask::get("/v1/orders")
            .header("cookie", "a=1; api_key=one")
            .header("cookie", "b=2")
    };
    let websocket = || {
        get()
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
    };
    let connect = || Ask::new("CONNECT", "api.example.com:443").host("api.example.com:443");
    let odd_path = || Ask::get("/a/../b//c;d/%2e%2e/%2f?x=%00&y").key("recorded-secret");
    let not_utf8 = || get().header("x-odd", "caf\u{e9}");
    vec![
        http1("get", "headers", get()),
        http1("get-raw", "raw", get()),
        http2("get-http2", "headers", get()),
        http2("get-http2-raw", "raw", get()),
        http1("head", "headers", Ask::new("HEAD", "/v1/orders")),
        http1("post", "headers", post()),
        http1("post-with-body", "body", post()),
        http1(
            "post-with-partial-body",
            "body",
            post().body("0123456789".repeat(4)),
        ),
        http1("duplicates", "headers", duplicates()),
        http1("duplicates-raw", "raw", duplicates()),
        http2("duplicates-http2-raw", "raw", duplicates()),
        http1("cookie-lines", "headers", cookies()),
        http1("cookie-lines-raw", "raw", cookies()),
        http2("cookie-crumbs", "headers", cookies()),
        http2("cookie-crumbs-raw", "raw", cookies()),
        http2(
            "grpc",
            "headers",
            as_grpc(&Ask::get("/pkg.Service/Call").key("recorded-secret")),
        ),
        http2(
            "grpc-raw",
            "raw",
            as_grpc(&Ask::get("/pkg.Service/Call").key("recorded-secret")),
        ),
        http1("websocket", "headers", websocket()),
        http1("connect", "headers", connect()),
        http1("connect-raw", "raw", connect()),
        http1("odd-path", "headers", odd_path()),
        http1("not-utf8", "headers", not_utf8()),
        http1("not-utf8-raw", "raw", not_utf8()),
        http1("allowed-headers", "allowed", get()),
        http1(
            "context-extensions",
            "headers",
            Ask::get("/named-rule").key("recorded-secret"),
        ),
    ]
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/check_request")
        .join(format!("{name}.bin"))
}

/// Replaces what differs from run to run.
fn masked(bytes: &[u8]) -> CheckRequest {
    let mut request = CheckRequest::decode(bytes).unwrap();
    let attributes = request.attributes.as_mut().unwrap();
    for peer in [&mut attributes.source, &mut attributes.destination] {
        mask_port(peer.as_mut().unwrap());
    }
    let part = attributes.request.as_mut().unwrap();
    part.time = None;
    let http = part.http.as_mut().unwrap();
    http.id.clear();
    http.headers
        .entry("x-request-id".into())
        .and_modify(String::clear);
    let mut entries = http.header_map.iter_mut().flat_map(|map| &mut map.headers);
    if let Some(id) = entries.find(|entry| entry.key == "x-request-id") {
        id.raw_value.clear();
    }
    request
}

fn mask_port(peer: &mut Peer) {
    let address = peer.address.as_mut().and_then(|a| a.address.as_mut());
    if let Some(Kind::SocketAddress(socket)) = address {
        socket.port_specifier = Some(PortSpecifier::PortValue(0));
    }
}

#[tokio::test]
async fn envoy_sends_the_check_requests_in_the_fixtures() {
    let upstream = Upstream::start().await;
    let authz = ScriptedAuthz::start(Script::Message(Vec::new())).await;
    let named = "{check_settings: {context_extensions: {keyward.rule: admin}}}";
    let bootstrap = Bootstrap::new(&Address::Tcp(authz.address), upstream.address)
        .listener("headers", |l| {
            l.unprotected();
            l.upgrades();
            l.route("{prefix: /named-rule}", named);
        })
        .listener("raw", |l| {
            l.unprotected();
            l.raw_headers();
            l.upgrades();
        })
        .listener("body", |l| {
            l.unprotected();
            l.ext_authz()["with_request_body"] =
                yaml("{max_request_bytes: 16, allow_partial_message: true}");
        })
        .listener("allowed", |l| {
            l.unprotected();
            l.ext_authz()["allowed_headers"] = yaml("{patterns: [{exact: x-api-key}]}");
        });
    let envoy = Envoy::start(&bootstrap).await;
    let record = std::env::var_os("KEYWARD_RECORD").is_some();
    for recording in recordings() {
        let name = recording.name;
        let to = envoy.at(recording.listener);
        if recording.http2 {
            http2::send(to, &recording.ask).await;
        } else {
            http1::send(to, &recording.ask).await;
        }
        let sent = wait::until_some(name, async || authz.take().pop()).await;
        if record {
            fs::write(file(name), &sent).unwrap();
        }
        let kept = fs::read(file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(masked(&sent), masked(&kept), "{name}");
    }
}
