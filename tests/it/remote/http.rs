//! An HTTP key service: what it receives, how long its responses are cached, what it may push, and
//! mutual TLS.

use std::fs;

use serde_json::json;

use super::{Sidecar, keys_url, of, with_events};
use crate::support::certs::Authority;
use crate::support::key_service::{Answer, KeyService};
use crate::support::keyfile::{KeyFile, digest};
use crate::support::keyward::Home;
use crate::support::wait;

fn revoked() -> serde_json::Value {
    json!({"revoked_at": "2020-01-01T00:00:00Z"})
}

#[tokio::test]
async fn a_lookup_sends_the_digest_and_never_the_secret() {
    let service = KeyService::start().await;
    let secret = "c4n4ry-remote";
    service.put("k", secret, json!({"client": "acme"}));
    let url = format!("http://{}/{{kind}}/keys/{{digest}}", service.address);
    let sidecar = Sidecar::start(&of("http", &url)).await;
    assert_eq!(sidecar.outcome(secret).await, "allowed");
    assert_eq!(sidecar.outcome("another").await, "unknown_key");
    let hex = digest(secret).replace("blake3:", "");
    let requests = service.take();
    let of_key: Vec<_> = requests.iter().filter(|r| r.line.contains(&hex)).collect();
    assert_eq!(of_key.len(), 1, "{requests:?}");
    assert_eq!(of_key[0].line, format!("GET /blake3/keys/{hex} HTTP/1.1"));
    assert!(!format!("{requests:?}").contains(secret), "{requests:?}");
    assert!(of_key[0].all("authorization").is_empty());
    let host = service.address.to_string();
    assert_eq!(of_key[0].all("host"), [host.as_str()]);
}

#[tokio::test]
async fn known_and_unknown_digests_are_cached_each_for_its_ttl() {
    let service = KeyService::start().await;
    service.put("k", "known", json!({}));
    let sidecar = Sidecar::start(&of("http", &keys_url(service.address))).await;
    for _ in 0..5 {
        assert_eq!(sidecar.outcome("known").await, "allowed");
        assert_eq!(sidecar.outcome("unknown").await, "unknown_key");
    }
    assert_eq!((service.gets("known"), service.gets("unknown")), (1, 1));

    let short = of("http", &keys_url(service.address)).replace("1h", "1s");
    let sidecar = Sidecar::start(&short).await;
    assert_eq!(sidecar.outcome("known").await, "allowed");
    assert_eq!(sidecar.outcome("later").await, "unknown_key");
    service.put("k", "known", revoked());
    service.put("later", "later", json!({}));
    sidecar.becomes("known", "key_revoked").await;
    sidecar.becomes("later", "allowed").await;
}

#[tokio::test]
async fn sighup_has_every_key_looked_up_again() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    let sidecar = Sidecar::start(&of("http", &keys_url(service.address))).await;
    assert_eq!(sidecar.outcome("k").await, "allowed");
    service.put("k", "k", revoked());
    assert_eq!(sidecar.outcome("k").await, "allowed", "the key is at hand");
    let before = sidecar.keyward.reloads("keys", "success").await;
    sidecar.keyward.process.signal("HUP");
    sidecar.becomes("k", "key_revoked").await;
    let after = sidecar.keyward.reloads("keys", "success").await;
    assert!((after - before - 1.0).abs() < 0.5, "{before}, {after}");
}

#[tokio::test]
async fn max_age_may_shorten_the_ttl_but_not_lengthen_it() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    for (ttl, header) in [
        ("1h", "cache-control: private, max-age=1\r\n"),
        ("1s", "cache-control: max-age=3600\r\n"),
        ("1h", "cache-control: max-age=0\r\n"),
    ] {
        service.answer(Answer::RecordWith(header));
        let config =
            of("http", &keys_url(service.address)).replace("{ttl: 1h", &format!("{{ttl: {ttl}"));
        let sidecar = Sidecar::start(&config).await;
        assert_eq!(sidecar.outcome("k").await, "allowed");
        let before = service.gets("k");
        wait::until(
            &format!("ttl {ttl}, {header:?}: sidecar again"),
            async || {
                assert_eq!(sidecar.outcome("k").await, "allowed");
                service.gets("k") > before
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let service = KeyService::start().await;
    let elsewhere = KeyService::start().await;
    elsewhere.put("k", "k", json!({}));
    let location: &'static str = format!(
        "location: http://{}/v1/keys/{}\r\n",
        elsewhere.address,
        digest("k").replace("blake3:", "")
    )
    .leak();
    let sidecar = Sidecar::start(&of("http", &keys_url(service.address))).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        service.answer(Answer::reply(status, location, ""));
        let answer = sidecar.ask("k").await;
        assert!(answer.is_overloaded(), "{status}: {answer:?}");
    }
    assert_eq!(elsewhere.all_gets(), 0);
}

#[tokio::test]
async fn tls_presents_a_certificate_and_requires_one_of_the_configured_ca() {
    let (authority, untrusted) = (Authority::new(), Authority::new());
    let service = KeyService::start_with_tls(&authority).await;
    service.put("k", "k", json!({}));
    let url = format!("https://localhost:{}/{{digest}}", service.address.port());
    let config =
        |tls: &str| format!("source: {{http: {{url: \"{url}\", timeout: 5s, tls: {tls}}}}}\n");
    for (name, trusted, own, good) in [
        ("as it should be", &authority, Some(&authority), true),
        ("another CA", &untrusted, Some(&authority), false),
        ("no certificate", &authority, None, false),
        (
            "a certificate by another CA",
            &authority,
            Some(&untrusted),
            false,
        ),
    ] {
        let members = "{ca_file: ca.pem, cert_file: tls.crt, key_file: tls.key}";
        let tls = if own.is_some() {
            members
        } else {
            "{ca_file: ca.pem}"
        };
        let home = Home::new(&config(tls), &KeyFile::new());
        fs::write(home.path("ca.pem"), trusted.pem()).unwrap();
        if let Some(own) = own {
            own.issue("sidecar").put(home.dir.path());
        }
        let sidecar = Sidecar::at(home).await;
        let answer = sidecar.ask("k").await;
        println!("{name}: {}", answer.outcome());
        assert_eq!(answer.allowed(), good, "{name}: {answer:?}");
        assert_eq!(answer.is_source_unavailable(), !good, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_bearer_token_is_sent_and_reloaded_from_its_file() {
    let service = KeyService::start().await;
    let url = keys_url(service.address);
    let config =
        format!("source: {{http: {{url: \"{url}\", timeout: 5s, bearer_token_file: token}}}}\n");
    let home = Home::new(&config, &KeyFile::new());
    fs::write(home.path("token"), "first-t0ken\n").unwrap();
    let sidecar = Sidecar::at(home).await;
    assert_eq!(sidecar.outcome("made-up").await, "unknown_key");
    let requests = service.take();
    assert_eq!(requests[0].all("authorization"), ["Bearer first-t0ken"]);
    let token = sidecar.keyward.home.path("token");
    crate::support::keyfile::replace_by_rename(&token, "second-t0ken\n");
    let mut number = 0;
    wait::until("the new token is sent", async || {
        number += 1;
        assert_eq!(
            sidecar.outcome(&format!("made-up-{number}")).await,
            "unknown_key"
        );
        let requests = service.take();
        requests[0].all("authorization") == ["Bearer second-t0ken"]
    })
    .await;
    let output = sidecar.keyward.process.output();
    assert!(!output.contains("t0ken"), "{output}");
    for path in ["/config", "/readyz", "/metrics"] {
        assert!(!sidecar.keyward.fetch(path).await.text().contains("t0ken"));
    }
}

#[tokio::test]
async fn an_event_invalidates_one_key_or_all_and_unknown_digests() {
    let service = KeyService::start().await;
    service.put("a", "a", json!({}));
    service.put("b", "b", json!({}));
    let sidecar = Sidecar::start(&with_events(service.address)).await;
    wait::until("the event stream is open", async || service.streams() == 1).await;
    sidecar.becomes("a", "allowed").await;
    sidecar.becomes("b", "allowed").await;
    sidecar.answers_from_memory("b").await;
    let gets = service.gets("b");

    service.put("a", "a", revoked());
    service.push(&json!({"event": "invalidate", "key_id": "a"}));
    sidecar.becomes("a", "key_revoked").await;
    assert_eq!(sidecar.outcome("b").await, "allowed");
    assert_eq!(service.gets("b"), gets, "the other key is still known");

    service.put("b", "b", revoked());
    service.push(&json!({"all": true}));
    sidecar.becomes("b", "key_revoked").await;

    assert_eq!(sidecar.outcome("c").await, "unknown_key");
    service.put("c", "c", json!({}));
    service.push(&json!({"event": "invalidate", "key_id": "c"}));
    sidecar.becomes("c", "allowed").await;
    let pushed = sidecar
        .metric("keyward_invalidations_total", &["origin=\"push\""])
        .await;
    assert!(pushed >= 3.0, "{pushed}");
}

#[tokio::test]
async fn while_events_are_lost_a_key_is_looked_up_at_every_use() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    let sidecar = Sidecar::start(&with_events(service.address)).await;
    wait::until("the event stream is open", async || service.streams() == 1).await;
    sidecar.answers_from_memory("k").await;
    service.end_streams(false);
    let mut gets = service.gets("k");
    for turn in 0..3 {
        wait::until(&format!("looked up, {turn}"), async || {
            assert_eq!(sidecar.outcome("k").await, "allowed");
            service.gets("k") > gets
        })
        .await;
        gets = service.gets("k");
    }
    // A change without an event is noticed at the next use.
    service.put("k", "k", revoked());
    sidecar.becomes("k", "key_revoked").await;
    service.put("k", "k", json!({}));
    service.serve_streams();
    wait::until("the event stream is open", async || service.streams() == 1).await;
    sidecar.becomes("k", "allowed").await;
    sidecar.answers_from_memory("k").await;
    service.put("k", "k", revoked());
    service.push(&json!({"event": "invalidate", "key_id": "k"}));
    sidecar.becomes("k", "key_revoked").await;
}
