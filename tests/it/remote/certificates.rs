//! The certificates for a connection to a source: metrics and `/readyz` show their expiry and
//! rotation, for every kind of source.

use std::fs;

use serde_json::{Value, json};

use super::Sidecar;
use super::topologies::redis_with_tls;
use crate::support::certs::Authority;
use crate::support::key_service::KeyService;
use crate::support::keyfile::{KeyFile, replace_by_rename};
use crate::support::keyward::{Home, Keyward};
use crate::support::metrics::sample;
use crate::support::wait;

const EXPIRY: &str = "keyward_certificate_expiry_timestamp_seconds";

/// The first moments of 2040 and 2041.
const BEGINNINGS: [(&str, f64); 2] = [
    ("2040-01-01T00:00:00Z", 2_208_988_800.0),
    ("2041-01-01T00:00:00Z", 2_240_611_200.0),
];

async fn expiry(keyward: &Keyward, member: &str) -> Option<f64> {
    let metrics = keyward.fetch("/metrics").await;
    sample(&metrics, EXPIRY, &[&format!("member=\"{member}\"")])
}

/// What `/readyz` reports about the source's certificates.
async fn reported(keyward: &Keyward) -> Value {
    let body: Value = serde_json::from_str(&keyward.fetch("/readyz").await.text()).unwrap();
    body["source"]["certificates"].clone()
}

/// Rotates the certificate of such a source, and breaks its file.
async fn shows_its_certificates(source: &str, member: &str, authority: &Authority) {
    let [(first, first_second), (second, second_second)] = BEGINNINGS;
    let home = Home::new(&format!("source: {{{source}}}\n"), &KeyFile::new());
    fs::write(home.path("ca.pem"), authority.pem()).unwrap();
    let dir = home.dir.path().to_owned();
    authority.issue_until("sidecar", 2040).put(&dir);
    let sidecar = Sidecar::at(home).await;
    sidecar.becomes("made-up", "unknown_key").await;
    let keyward = &sidecar.keyward;

    assert_eq!(expiry(keyward, member).await, Some(first_second));
    let state = json!({"expires_at": first, "failure": null});
    assert_eq!(reported(keyward).await, state);
    let metrics = keyward.fetch("/metrics").await;
    let last = "keyward_last_reload_success_timestamp_seconds";
    let loaded = sample(&metrics, last, &["what=\"certificates\""]);
    assert!(loaded > Some(0.0), "{loaded:?}");
    for result in ["success", "failure"] {
        let reloads = keyward.reloads("certificates", result).await;
        assert!(reloads < 1.0, "{result}: {reloads}");
    }

    authority.issue_until("sidecar", 2041).put(&dir);
    wait::until("the rotation is shown", async || {
        expiry(keyward, member).await == Some(second_second)
    })
    .await;
    assert!(keyward.reloads("certificates", "success").await > 0.0);
    let state = json!({"expires_at": second, "failure": null});
    assert_eq!(reported(keyward).await, state);

    replace_by_rename(&dir.join("tls.crt"), "no certificate");
    wait::until("the failure is counted", async || {
        keyward.reloads("certificates", "failure").await > 0.0
    })
    .await;
    let state = reported(keyward).await;
    assert_eq!(state["expires_at"], second);
    let failure = state["failure"].as_str().unwrap_or_default();
    let begins = format!("{member}.cert_file: ");
    assert!(failure.starts_with(&begins), "{failure}");
    assert_eq!(expiry(keyward, member).await, Some(second_second));
}

const WHOLE: &str = "{ca_file: ca.pem, cert_file: tls.crt, key_file: tls.key}";

#[tokio::test]
async fn certificates_for_an_http_service_are_shown_and_their_rotation_is_counted() {
    let authority = Authority::new();
    let service = KeyService::start_with_tls(&authority).await;
    let port = service.address.port();
    let source = format!(
        "http: {{url: \"https://localhost:{port}/{{digest}}\", timeout: 5s, tls: {WHOLE}}}"
    );
    shows_its_certificates(&source, "source.http.tls", &authority).await;
}

#[tokio::test]
async fn certificates_for_redis_are_shown_and_their_rotation_is_counted() {
    let authority = Authority::new();
    let (_server, port) = redis_with_tls(&authority).await;
    let port = port.number();
    let source =
        format!("redis: {{url: \"rediss://localhost:{port}\", timeout: 5s, tls: {WHOLE}}}");
    shows_its_certificates(&source, "source.redis.tls", &authority).await;
}

#[tokio::test]
async fn ca_certificates_alone_show_no_expiry() {
    let home = Home::new(
        "source: {redis: {url: \"rediss://localhost:1\", tls: {ca_file: ca.pem}}}\n",
        &KeyFile::new(),
    );
    fs::write(home.path("ca.pem"), Authority::new().pem()).unwrap();
    let keyward = home.start().await;
    assert_eq!(expiry(&keyward, "source.redis.tls").await, None);
    let state = json!({"expires_at": null, "failure": null});
    assert_eq!(reported(&keyward).await, state);
}
