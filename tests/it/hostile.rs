//! Peers that are not Envoy: bytes that are not HTTP/2, messages that are not a `CheckRequest`, too
//! much of everything. Each gets its own error, and the next well-behaved peer a response.

use crate::support::certs::Authority;
use crate::support::check::{self, Answer};
use crate::support::http1::Connection;
use crate::support::keyward::{Address, Home, Keyward};
use crate::support::scene::{keys_without_plans, secret};

async fn honest(keyward: &Keyward) -> Answer {
    let channel = check::channel(&keyward.grpc).await;
    check::check(&channel, check::with_key(&secret("bare")))
        .await
        .unwrap()
}

async fn write_to(keyward: &Keyward, bytes: &[u8]) {
    let Address::Tcp(address) = keyward.grpc else {
        panic!("on TCP");
    };
    Connection::open(address).await.write(bytes).await;
}

#[tokio::test]
async fn a_connection_that_is_not_grpc_disturbs_no_other() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00",
        b"",
    ] {
        for _ in 0..20 {
            write_to(&keyward, bytes).await;
        }
        assert!(honest(&keyward).await.allowed());
    }
}

#[tokio::test]
async fn a_failed_handshake_does_not_stop_the_accept_loop() {
    let authority = Authority::new();
    let home = Home::new(
        "{server: {grpc: {tls: {cert_file: tls.crt, key_file: tls.key}}}}",
        &keys_without_plans(),
    );
    authority.issue("localhost").put(home.dir.path());
    let keyward = home.start().await;
    for _ in 0..20 {
        write_to(&keyward, b"no client hello at all\r\n\r\n").await;
        assert!(
            check::tls_channel(&keyward.grpc, &Authority::new(), None)
                .await
                .is_err()
        );
    }
    let channel = check::tls_channel(&keyward.grpc, &authority, None)
        .await
        .unwrap();
    let answer = check::check(&channel, check::with_key(&secret("bare"))).await;
    assert!(answer.unwrap().allowed());
}

/// The result of a Check with exactly these bytes as its message.
async fn check_bytes(keyward: &Keyward, message: &[u8]) -> (Option<String>, Vec<u8>) {
    use crate::support::http2;
    use crate::support::message::Ask;
    let Address::Tcp(address) = keyward.grpc else {
        panic!("on TCP");
    };
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let ask = Ask::new("POST", "/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(frame);
    let reply = http2::send(address, &ask).await;
    (reply.grpc_status().map(str::to_owned), reply.body)
}

#[tokio::test]
async fn a_message_that_is_not_a_check_request_is_refused_in_a_response() {
    let keyward = Keyward::start("{default: allow-anyone}", &keys_without_plans()).await;
    for message in [
        &b"\xff\xff\xff"[..],
        b"\x0a\xff",
        b"\x0a\x02\x22\x7f",
        b"nonsense",
        // An empty CheckRequest.
        b"",
    ] {
        // A gRPC error would open an Envoy that fails open.
        let (status, body) = check_bytes(&keyward, message).await;
        assert_eq!(status.as_deref(), Some("0"), "{message:?}: {body:?}");
        assert!(String::from_utf8_lossy(&body).contains("bad_request"));
    }
    assert!(honest(&keyward).await.allowed());
}

#[tokio::test]
async fn an_oversized_message_is_refused_in_a_response_and_the_next_one_answered() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let channel = check::channel(&keyward.grpc).await;
    let mut request = check::with_key(&secret("bare"));
    let attributes = request.attributes.as_mut().unwrap();
    let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
    http.body = "x".repeat(64 * 1024 * 1024);
    let refused = check::check(&channel, request).await.unwrap();
    assert!(!refused.allowed(), "{refused:?}");
    assert_eq!(refused.status(), 400, "{refused:?}");
    assert!(honest(&keyward).await.allowed());
}
