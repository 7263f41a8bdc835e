//! The example with keys in Redis: with the Secret of its README, keyward accepts its configuration
//! and Envoy allows the keys of a real Redis, over TLS, as an ACL user with the documented rights.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::example;
use super::running::{self, Ports};
use crate::support::certs::Authority;
use crate::support::http1;
use crate::support::kubernetes::keyward;
use crate::support::message::Ask;
use crate::support::pod::{Files, Pod};
use crate::support::port::Port;
use crate::support::redis::{Kind, Server};
use crate::support::upstream::Upstream;
use crate::support::wait;

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn keys_in_redis_are_allowed() {
    let authority = Authority::new();
    let server_files = TempDir::new().unwrap();
    authority.issue("localhost").put(server_files.path());
    let file = |name: &str| server_files.path().join(name).to_str().unwrap().to_owned();
    let (tls, cert, key) = (Port::reserve(), file("tls.crt"), file("tls.key"));
    fs::write(file("ca.crt"), authority.pem()).unwrap();
    let (tls_port, ca) = (tls.number().to_string(), file("ca.crt"));
    let server = Server::start_with(
        Kind::Redis,
        &[
            ["--tls-port", &tls_port],
            ["--tls-cert-file", &cert],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &ca],
            ["--tls-auth-clients", "no"],
        ]
        .concat(),
    )
    .await;
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "keyward", "on"])
        .arg(format!(">{PASSWORD}"));
    user.arg(&[
        "~keyward:*",
        "+get",
        "+getrange",
        "+role",
        "+client|tracking",
    ]);
    server.execute(&user).await;
    server
        .put("me", "my-secret", json!({"client": "acme"}))
        .await;

    let (manifests, ports, upstream) =
        (example("redis"), Ports::reserve(), Upstream::start().await);
    let secret: Files = [
        ("password".into(), PASSWORD.into()),
        ("ca.crt".into(), authority.pem().into()),
    ]
    .into();
    let given = BTreeMap::from([("keyward-redis", secret)]);
    let pod = Pod::lay_out(&manifests, manifests.one("Deployment", "envoy"), &given);
    let container = pod.container("keyward");
    container.edit("/etc/keyward/keyward.yaml", |text| {
        ports.in_place_of_the_pods(&text)
    });
    let config = container.path("/etc/keyward/keyward.yaml");
    let valid = keyward(&["check-config", "--offline", "-c", config.to_str().unwrap()]).unwrap();
    assert!(valid.contains("which was not asked"), "{valid}");

    let ours = format!("rediss://localhost:{tls_port}/0");
    let text = fs::read_to_string(&config).unwrap();
    assert_eq!(text.matches("rediss://redis.redis.svc:6379/0").count(), 1);
    fs::write(
        &config,
        text.replace("rediss://redis.redis.svc:6379/0", &ours),
    )
    .unwrap();
    pod.container("envoy")
        .edit("/etc/envoy/envoy.yaml", |text| {
            let upstream = format!("127.0.0.1, port_value: {}", upstream.address.port());
            ports
                .in_place_of_the_pods(&text)
                .replace("upstream, port_value: 8080", &upstream)
        });
    let _keyward = running::keyward(&pod, "keyward", &ports).await;
    let _envoy = running::envoy(&pod, &ports).await;

    let (to, with_key) = (
        ports.http.address(),
        Ask::get("/v1/orders").key("my-secret"),
    );
    // keyward is ready before it has reached its source.
    wait::until("the key passes", async || {
        http1::send(to, &with_key).await.status == 200
    })
    .await;
    assert_eq!(upstream.take_one().all("x-keyward-client"), ["acme"]);
    let refused = http1::send(to, &Ask::get("/v1/orders").key("not-mine")).await;
    assert_eq!(
        (refused.status, &refused.problem()["code"]),
        (401, &"unknown_key".into())
    );
    server.revoke("me", "my-secret").await;
    wait::until("the revocation is pushed", async || {
        http1::send(to, &with_key).await.status == 401
    })
    .await;
}
