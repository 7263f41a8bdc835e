//! Peers that hold on to a listener's resources: connections, memory, time. Well-behaved peers are
//! served meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::check;
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::http2;
use crate::support::keyward::{Address, Home, Keyward};
use crate::support::message::Ask;
use crate::support::scene::{keys_without_plans, secret};
use crate::support::upstream::Upstream;
use crate::support::wait;

/// What an HTTP/2 client sends first: the preface, and settings with the defaults.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn grpc(keyward: &Keyward) -> SocketAddr {
    match keyward.grpc {
        Address::Tcp(address) => address,
        Address::Unix(_) => panic!("on TCP"),
    }
}

async fn connections(keyward: &Keyward, listener: &str) -> f64 {
    let text = keyward.fetch("/metrics").await.text();
    let name = format!("keyward_connections{{listener=\"{listener}\"}} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&name));
    found.expect(&text).parse().unwrap()
}

fn warns_of(keyward: &Keyward, beginning: &str) -> usize {
    let log = keyward.log();
    let warnings = log.iter().filter(|line| line["level"] == "warn");
    let messages = warnings.filter_map(|line| line["msg"].as_str());
    messages.filter(|msg| msg.starts_with(beginning)).count()
}

#[tokio::test]
async fn probes_are_answered_beside_silent_connections_to_the_admin_port() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(keyward.admin).await.unwrap());
    }
    // It gives up after 900 ms, as the kubelet does after a second.
    let health = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["health", "--address", &keyward.admin.to_string()])
        .output()
        .unwrap();
    assert!(health.status.success(), "{health:?}");
    wait::until("it is logged", async || {
        warns_of(&keyward, "all connections are taken") == 1
    })
    .await;
    wait::until("the silent ones are gone", async || {
        connections(&keyward, "admin").await < 2.0
    })
    .await;
}

#[tokio::test]
async fn checks_are_answered_beside_more_idle_grpc_connections_than_the_limit() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let to = grpc(&keyward);
    // It sent a call before the others came, and does not reconnect.
    let mut envoy = http2::Connection::open(to).await;
    let ask = Ask::new("POST", "/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .body(vec![0; 5]);
    assert_eq!(envoy.send(&ask).await.unwrap().status, 200);
    let mut idle = Vec::new();
    for _ in 0..800 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // Closed already if it was over the limit.
        _ = stream.write_all(HELLO).await;
        idle.push(stream);
    }
    let answered = tokio::time::timeout(wait::DEADLINE, async {
        let channel = check::channel(&keyward.grpc).await;
        check::check(&channel, check::with_key(&secret("bare"))).await
    });
    assert!(answered.await.expect("an answer").unwrap().allowed());
    assert_eq!(envoy.send(&ask).await.unwrap().status, 200);
    assert_eq!(warns_of(&keyward, "all connections are taken"), 1);
    assert!(connections(&keyward, "grpc").await <= 800.0);
}

#[tokio::test]
async fn a_check_that_is_too_large_does_not_open_an_envoy_that_fails_open() {
    let config = "{default: allow-anyone, server: {grpc: {max_message: 1MiB}}}";
    let keyward = Keyward::start(config, &keys_without_plans()).await;
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address).listener("open", |l| {
        l.ext_authz()["failure_mode_allow"] = true.into();
        l.ext_authz()["with_request_body"] = yaml("{max_request_bytes: 8388608}");
    });
    let envoy = Envoy::start(&bootstrap).await;
    for (bytes, status) in [(5, 200), (900 * 1024, 200), (2 * 1024 * 1024, 400)] {
        let ask = Ask::new("POST", "/v1/orders").body(vec![b'x'; bytes]);
        let reply = http1::send(envoy.at("open"), &ask).await;
        assert_eq!(reply.status, status, "{bytes}: {reply:?}");
        assert_eq!(reply.text().contains("bad_request"), status == 400);
    }
}

#[tokio::test]
async fn a_check_that_is_too_large_sends_no_secret_upstream_in_observe_mode() {
    let config = "{mode: observe, server: {grpc: {max_message: 1MiB}}}";
    let keyward = Keyward::start(config, &keys_without_plans()).await;
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address).listener("bodies", |l| {
        l.ext_authz()["with_request_body"] = yaml("{max_request_bytes: 8388608}");
    });
    let envoy = Envoy::start(&bootstrap).await;
    let bearer = format!("Bearer {}", secret("bare"));
    let post = |bytes| {
        let ask = Ask::new("POST", "/v1/orders").header("authorization", &bearer);
        ask.body(vec![b'x'; bytes])
    };
    let reply = http1::send(envoy.at("bodies"), &post(5)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(upstream.take_one().all("authorization").is_empty());
    let reply = http1::send(envoy.at("bodies"), &post(2 * 1024 * 1024)).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(upstream.take().is_empty());
}

async fn on_socket() -> (Keyward, String) {
    let home = Home::new("{default: allow-anyone}", &keys_without_plans());
    let path = home.path("keyward.sock").display().to_string();
    home.configure(&format!(
        "{{default: allow-anyone, server: {{grpc: {{address: \"unix:{path}\"}}}}}}"
    ));
    (home.start().await, path)
}

const REFUSED_AUTHORITY: &str = "a gRPC call was refused, for its :authority";

#[tokio::test]
async fn calls_that_are_refused_for_their_authority_are_logged_once() {
    let (keyward, path) = on_socket().await;
    // The method, the scheme, a path and an authority, each literally or from HPACK's table.
    let headers = b"\x83\x86\x44\x02/x\x41\x0a%2Frun%2Fs";
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(HELLO).await.unwrap();
    for stream_id in [1, 3, 5] {
        let length = u8::try_from(headers.len()).unwrap();
        let frame = [0, 0, length, 1, 5, 0, 0, 0, stream_id];
        stream.write_all(&frame).await.unwrap();
        stream.write_all(headers).await.unwrap();
    }
    wait::until("it is logged", async || {
        warns_of(&keyward, REFUSED_AUTHORITY) == 1
    })
    .await;
    assert!(
        !keyward.process.output().contains("%2Frun"),
        "it is the peer's text"
    );
}

#[tokio::test]
async fn an_envoy_that_uses_google_grpc_over_a_unix_socket_needs_an_authority() {
    let (keyward, path) = on_socket().await;
    let upstream = Upstream::start().await;
    let google_grpc = |rest: &str| {
        yaml(&format!(
            "{{google_grpc: {{target_uri: \"unix:{path}\", stat_prefix: authz{rest}}}, timeout: 2s}}"
        ))
    };
    let with_authority =
        ", channel_args: {args: {grpc.default_authority: {string_value: localhost}}}";
    let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address)
        .listener("as-it-is", |l| {
            l.ext_authz()["grpc_service"] = google_grpc("");
        })
        .listener("with-authority", |l| {
            l.ext_authz()["grpc_service"] = google_grpc(with_authority);
        });
    let envoy = Envoy::start(&bootstrap).await;
    let ask = Ask::get("/v1/orders");
    assert_eq!(
        http1::send(envoy.at("with-authority"), &ask).await.status,
        200
    );
    assert_eq!(warns_of(&keyward, REFUSED_AUTHORITY), 0);
    assert_ne!(http1::send(envoy.at("as-it-is"), &ask).await.status, 200);
    wait::until("the reason is logged", async || {
        warns_of(&keyward, REFUSED_AUTHORITY) == 1
    })
    .await;
}

#[tokio::test]
async fn keyward_leaves_no_core_dump() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", keyward.process.id())).unwrap();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let values: Vec<_> = core.unwrap().split_whitespace().take(2).collect();
    assert_eq!(values, ["0", "0"]);
    let metrics = keyward.fetch("/metrics").await.text();
    let series = metrics.lines().filter(|line| line.starts_with("process_"));
    assert_eq!(series.count(), 7, "{metrics}");
}
