//! What keyward serves besides Check, and over which transports: health, reflection, a Unix socket,
//! TLS and mutual TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;
use tokio_stream::once;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::certs::{Authority, Identity};
use crate::support::check::{self, SERVING};
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::keyward::{Address, Home, Keyward};
use crate::support::message::Ask;
use crate::support::scene::{keys_without_plans, secret};
use crate::support::upstream::Upstream;
use crate::support::wait;

async fn allows(channel: &Channel) -> bool {
    let answer = check::check(channel, check::with_key(&secret("bare"))).await;
    answer.is_ok_and(|answer| answer.allowed())
}

#[tokio::test]
async fn health_covers_the_server_and_the_authorization_service() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let channel = check::channel(&keyward.grpc).await;
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(
            check::health(&channel, service).await.unwrap(),
            SERVING,
            "{service:?}"
        );
    }
    let unknown = check::health(&channel, "no.such.Service")
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let keyward = Keyward::start("{}", &keys_without_plans()).await;
    let channel = check::channel(&keyward.grpc).await;
    let expected = [
        "envoy.service.auth.v3.Authorization",
        "grpc.health.v1.Health",
    ];
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let list = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(channel.clone());
            let answer = client.server_reflection_info(once(list)).await.unwrap();
            let answer = answer.into_inner().message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("no list: {answer:?}");
            };
            list.service
                .into_iter()
                .map(|service| service.name)
                .collect::<Vec<_>>()
        }};
    }
    for names in [listed!(v1), listed!(v1alpha)] {
        for name in expected {
            assert!(
                names.iter().any(|found| found == name),
                "{name} in {names:?}"
            );
        }
    }
}

fn on_socket(home: &Home, rest: &str) {
    let path = home.path("keyward.sock");
    home.configure(&format!(
        "{{server: {{grpc: {{address: \"unix:{}\"{rest}}}}}}}",
        path.display()
    ));
}

#[tokio::test]
async fn a_unix_socket_has_the_configured_mode_and_replaces_a_stale_one() {
    for (rest, mode) in [("", 0o660), (", socket_mode: \"0600\"", 0o600)] {
        let home = Home::new("{}", &keys_without_plans());
        on_socket(&home, rest);
        let path = home.path("keyward.sock");
        // What a killed process leaves behind: a socket without a listener.
        drop(UnixListener::bind(&path).unwrap());
        let keyward = home.start().await;
        assert_eq!(keyward.grpc, Address::Unix(path.clone()));
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{found:o}");
        let channel = check::channel(&keyward.grpc).await;
        assert!(allows(&channel).await);
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_is_not_replaced() {
    let home = Home::new("{}", &keys_without_plans());
    on_socket(&home, "");
    fs::write(home.path("keyward.sock"), "precious").unwrap();
    let mut process = home.launch();
    let status = process.end().await;
    assert!(!status.success(), "{}", process.output());
    assert_eq!(
        fs::read_to_string(home.path("keyward.sock")).unwrap(),
        "precious"
    );
}

/// A keyward with a certificate by `authority`, whose clients need one by `clients`, if given.
async fn with_tls(authority: &Authority, clients: Option<&Authority>) -> Keyward {
    let client_ca = clients.map_or("", |_| ", client_ca_file: clients.crt");
    let config = format!(
        "{{server: {{grpc: {{tls: {{cert_file: tls.crt, key_file: tls.key{client_ca}}}}}}}}}"
    );
    let home = Home::new(&config, &keys_without_plans());
    authority.issue("localhost").put(home.dir.path());
    if let Some(clients) = clients {
        fs::write(home.path("clients.crt"), clients.pem()).unwrap();
    }
    home.start().await
}

/// Whether a new connection with these credentials gets an allow.
async fn lets_in(keyward: &Keyward, trusted: &Authority, own: Option<&Identity>) -> bool {
    // Under TLS 1.3 a refused client learns it only from the first response.
    match check::tls_channel(&keyward.grpc, trusted, own).await {
        Ok(channel) => allows(&channel).await,
        Err(_) => false,
    }
}

#[tokio::test]
async fn tls_serves_only_clients_that_use_and_trust_it() {
    let authority = Authority::new();
    let keyward = with_tls(&authority, None).await;
    assert!(lets_in(&keyward, &authority, None).await);
    assert!(!lets_in(&keyward, &Authority::new(), None).await);
    let Address::Tcp(address) = keyward.grpc else {
        panic!("on TCP");
    };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(!allows(&channel).await);
    }
}

#[tokio::test]
async fn mutual_tls_serves_only_clients_with_a_certificate_of_the_configured_ca() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let keyward = with_tls(&authority, Some(&clients)).await;
    assert!(lets_in(&keyward, &authority, Some(&clients.issue("envoy"))).await);
    assert!(!lets_in(&keyward, &authority, None).await);
    let untrusted = Authority::new().issue("envoy");
    assert!(!lets_in(&keyward, &authority, Some(&untrusted)).await);
}

#[tokio::test]
async fn a_new_certificate_is_used_and_open_connections_continue() {
    let (first, second) = (Authority::new(), Authority::new());
    let keyward = with_tls(&first, None).await;
    let open = check::tls_channel(&keyward.grpc, &first, None)
        .await
        .unwrap();
    assert!(allows(&open).await);
    second.issue("localhost").put(keyward.home.dir.path());
    wait::until("the new certificate is shown", async || {
        lets_in(&keyward, &second, None).await
    })
    .await;
    assert!(!lets_in(&keyward, &first, None).await);
    assert!(allows(&open).await, "the open connection goes on");
}

#[tokio::test]
async fn a_new_client_ca_is_used() {
    let (authority, first, second) = (Authority::new(), Authority::new(), Authority::new());
    let keyward = with_tls(&authority, Some(&first)).await;
    let newcomer = second.issue("envoy");
    assert!(!lets_in(&keyward, &authority, Some(&newcomer)).await);
    crate::support::keyfile::replace_by_rename(&keyward.home.path("clients.crt"), second.pem());
    wait::until("the new CA is used", async || {
        lets_in(&keyward, &authority, Some(&newcomer)).await
    })
    .await;
}

#[tokio::test]
async fn an_envoy_with_a_certificate_of_its_own_is_served_over_mutual_tls() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let keyward = with_tls(&authority, Some(&clients)).await;
    let own = TempDir::new().unwrap();
    clients.issue("envoy").put(own.path());
    fs::write(own.path().join("ca.crt"), authority.pem()).unwrap();
    let transport = format!(
        r#"
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: localhost
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - {{certificate_chain: {{filename: "{dir}/tls.crt"}}, private_key: {{filename: "{dir}/tls.key"}}}}
            validation_context:
              trusted_ca: {{filename: "{dir}/ca.crt"}}
              match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: localhost}}}}]
        "#,
        dir = own.path().display()
    );
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address)
        .authz("secured", std::slice::from_ref(&keyward.grpc), |cluster| {
            cluster["transport_socket"] = yaml(&transport);
        })
        .listener("secured", |l| l.asks("secured"))
        .listener("in-the-clear", |_| {});
    let envoy = Envoy::start(&bootstrap).await;
    let ask = Ask::get("/v1/orders").key(&secret("bare"));
    assert_eq!(http1::send(envoy.at("secured"), &ask).await.status, 200);
    assert_eq!(
        http1::send(envoy.at("in-the-clear"), &ask).await.status,
        503
    );
}
