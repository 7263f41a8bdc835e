//! Tests of who can connect, and of what answers.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::running::{Home, allows, check, serving, until};
use crate::server::error::ServeError;

#[tokio::test]
async fn checks_health_and_metrics_are_served_over_tcp() {
    let server = Home::new("", &["alice"]).start().await;
    let channel = server.connect().await;
    assert!(allows(&channel, "alice").await);
    assert!(!allows(&channel, "mallory").await);
    assert!(serving(&channel).await);
    assert!(server.metric("keyward_keys_loaded").await > 0.0);
    let counted = server
        .metric("keyward_checks_total{decision=\"allow\",reason=\"allowed\"}")
        .await;
    assert!(counted > 0.0);
    assert!(server.get("/config").await.contains("require-key"));
}

#[tokio::test]
async fn checks_are_served_over_a_unix_socket() {
    let home = Home::new("", &["alice"]);
    home.configure("server: {grpc: {address: \"unix:s\"}, admin: {address: \"127.0.0.1:0\"}}");
    let server = home.start().await;
    assert!(allows(&server.connect().await, "alice").await);
}

#[tokio::test]
async fn reflection_tells_of_the_services_in_both_versions() {
    let server = Home::new("", &[]).start().await;
    let channel = server.connect().await;
    macro_rules! services {
        ($version:ident) => {{
            use pb::server_reflection_request::MessageRequest;
            use pb::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version as pb;
            let request = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client =
                pb::server_reflection_client::ServerReflectionClient::new(channel.clone());
            let answers = client
                .server_reflection_info(tokio_stream::once(request))
                .await
                .unwrap();
            let answer = answers.into_inner().next().await.unwrap().unwrap();
            match answer.message_response {
                Some(MessageResponse::ListServicesResponse(list)) => list
                    .service
                    .into_iter()
                    .map(|service| service.name)
                    .collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            }
        }};
    }
    for names in [services!(v1), services!(v1alpha)] {
        for name in [
            "envoy.service.auth.v3.Authorization",
            "grpc.health.v1.Health",
        ] {
            assert!(
                names.iter().any(|found| found == name),
                "{name} in {names:?}"
            );
        }
    }
}

#[tokio::test]
async fn peers_that_speak_something_else_are_let_go_and_the_others_are_served() {
    let server = Home::new("", &["alice"]).start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&server.grpc).await.unwrap());
    }
    for words in [
        "GET / HTTP/1.1\r\nhost: keyward\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnothing of the kind.....",
    ] {
        let mut stream = TcpStream::connect(&server.grpc).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: either way it is over.
        _ = stream.read_to_end(&mut rest).await;
    }
    assert!(
        allows(&server.connect().await, "alice").await,
        "once the silent ones had their time"
    );
}

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.0.pem())
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (
            params.signed_by(&key, &self.0).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn identity(&self) -> Identity {
        let (certificate, key) = self.sign("envoy");
        Identity::from_pem(certificate, key)
    }
}

/// A connection with TLS on which a check was answered.
async fn secured(grpc: &str, trust: &Authority, identity: Option<Identity>) -> Option<Channel> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(trust.certificate())
        .domain_name("keyward");
    let tls = match identity {
        Some(identity) => tls.identity(identity),
        None => tls,
    };
    let endpoint = Endpoint::from_shared(format!("https://{grpc}"))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    // With TLS 1.3 a client learns only at its first call that its certificate was not wanted.
    let channel = endpoint.connect().await.ok()?;
    check(&channel, "alice").await.is_ok().then_some(channel)
}

fn with_tls(client_ca: &str) -> String {
    let tls = format!("{{cert_file: cert.pem, key_file: key.pem{client_ca}}}");
    format!(
        "server: {{grpc: {{address: \"127.0.0.1:0\", tls: {tls}}}, admin: {{address: \"127.0.0.1:0\"}}}}"
    )
}

fn place(home: &Home, (certificate, key): (String, String)) {
    home.place("cert.pem", &certificate);
    home.place("key.pem", &key);
}

#[tokio::test]
async fn mutual_tls_lets_in_whom_the_authority_signed() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let home = Home::new(&with_tls(", client_ca_file: ca.pem"), &["alice"]);
    place(&home, authority.sign("keyward"));
    home.place("ca.pem", &authority.0.pem());
    let server = home.start().await;
    let channel = secured(&server.grpc, &authority, Some(authority.identity()))
        .await
        .unwrap();
    assert!(allows(&channel, "alice").await);
    assert!(
        secured(&server.grpc, &authority, None).await.is_none(),
        "without a certificate"
    );
    assert!(
        secured(&server.grpc, &authority, Some(stranger.identity()))
            .await
            .is_none(),
        "with a stranger's"
    );
    assert!(
        secured(&server.grpc, &stranger, Some(authority.identity()))
            .await
            .is_none(),
        "who trusts another"
    );
}

#[tokio::test]
async fn a_rotated_certificate_is_shown_to_whoever_connects_next() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let home = Home::new(&with_tls(""), &["alice"]);
    place(&home, old.sign("keyward"));
    let server = home.start().await;
    let before = secured(&server.grpc, &old, None).await.unwrap();
    assert!(secured(&server.grpc, &new, None).await.is_none());
    place(&server.home, new.sign("keyward"));
    until("the new certificate is shown", async || {
        secured(&server.grpc, &new, None).await.is_some()
    })
    .await;
    assert!(secured(&server.grpc, &old, None).await.is_none());
    assert!(allows(&before, "alice").await, "who was connected stays so");
}

#[tokio::test]
async fn what_is_wrong_at_start_is_told_apart() {
    for (config, keys, is_bad_configuration) in [
        ("default: maybe".to_owned(), "keys: []", true),
        (String::new(), "keys: [", true),
        (with_tls(""), "keys: []", true),
        (
            "server: {grpc: {address: \"203.0.113.7:1\"}}".to_owned(),
            "keys: []",
            false,
        ),
    ] {
        let home = Home::new(&config, &[]);
        fs::write(home.path("keys.yaml"), keys).unwrap();
        let error = match home.bind().await {
            Ok((bound, _flush)) => {
                let (_orders, received) = tokio::sync::mpsc::channel(1);
                bound
                    .serve(crate::server::signals::Signals::Channel(received))
                    .await
                    .unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(
            error.is_bad_configuration(),
            is_bad_configuration,
            "{config}: {error}"
        );
        assert_eq!(
            matches!(error, ServeError::Bind(_)),
            !is_bad_configuration,
            "{error}"
        );
    }
}
