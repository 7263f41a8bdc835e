//! Invalid records: the key is refused, log and metric name it and the problem, and the other keys
//! work.

use serde_json::{Value, json};

use super::{Sidecar, keys_url, of};
use crate::support::key_service::KeyService;
use crate::support::keyfile::digest;
use crate::support::redis::{KINDS, Kind, PREFIX, Server, index, record};
use crate::support::wait;

const CANARY: &str = "c4n4ry-in-a-record";

/// Records by name, each with the words that the log must contain besides the id.
fn bad_records() -> Vec<(&'static str, String, &'static str)> {
    let with = |name: &'static str, rest: Value, why: &'static str| {
        (name, record(name, name, rest).to_string(), why)
    };
    let twice = record(
        "a-repeated-member",
        "a-repeated-member",
        json!({"enabled": false}),
    );
    let twice = twice
        .to_string()
        .replace("\"enabled\":false", "\"enabled\":false,\"enabled\":true");
    let secret = json!({"digest": digest("a-digest-twice")});
    let rest = json!({"secrets": [secret, secret]});
    let two_alike = record("a-digest-twice", "a-digest-twice", rest).to_string();
    let rest = json!({"metadata": {"text": "x".repeat(300 << 10)}});
    let long = record("too-long", "too-long", rest).to_string();
    let deep = record("too-deep", "too-deep", json!({"metadata": {"m": 1}})).to_string();
    let nested = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let deep = deep.replace("\"m\":1", &format!("\"m\":{nested}"));
    vec![
        with("an-unknown-member", json!({"colour": "red"}), "colour"),
        with("an-unknown-plan", json!({"plan": "silver"}), "plan"),
        with("no-time", json!({"expires_at": "tomorrow"}), "expires_at"),
        with("no-secrets", json!({"secrets": []}), "secrets"),
        with("a-null-list", json!({"allow_ips": null}), "allow_ips"),
        with(
            "an-empty-list",
            json!({"allow_methods": []}),
            "allow_methods",
        ),
        with("a-wrong-type", json!({"scopes": "a"}), "scopes"),
        with(
            "a-bad-pattern",
            json!({"allow_paths": ["/a?b"]}),
            "allow_paths",
        ),
        with("a-bad-client", json!({"client": "a\nb"}), "client"),
        with(
            "no-header-value",
            json!({"metadata": {"org": "caf\u{e9}"}}),
            "org",
        ),
        with(
            "another-digest",
            json!({"secrets": [{"digest": digest("x")}]}),
            "digest",
        ),
        with(
            "a-secret-for-a-digest",
            json!({"secrets": [{"digest": CANARY}]}),
            "digest",
        ),
        with("a-secret", json!({"secret": CANARY}), "secret"),
        ("a-repeated-member", twice, "enabled"),
        ("a-digest-twice", two_alike, "digest"),
        ("too-long", long, ""),
        ("too-deep", deep, ""),
        ("a-list", "[]".to_owned(), ""),
        ("a-string", json!(CANARY).to_string(), ""),
        ("a-null", "null".to_owned(), ""),
    ]
}

/// The warnings in the log.
fn warnings(sidecar: &Sidecar) -> Vec<Value> {
    let mut log = sidecar.keyward.log();
    log.retain(|line| line["msg"] != "decision");
    log.retain(|line| {
        let level = line["level"].as_str().unwrap_or_default().to_lowercase();
        ["warn", "error"].contains(&level.as_str())
    });
    log
}

async fn is_refused_as_invalid(sidecar: &Sidecar, name: &str, why: &str, names_id: bool) {
    let counted = async || {
        let labels = ["reason=\"invalid_record\"", "decision="];
        sidecar.metric("keyward_checks_total", &labels).await
    };
    let before = counted().await;
    let answer = sidecar.ask(name).await;
    assert_eq!(answer.outcome(), "invalid_record", "{name}: {answer:?}");
    assert_eq!(answer.status(), 500, "{name}: {answer:?}");
    assert!(!answer.is_source_unavailable(), "{name}: a denial");
    assert!(counted().await > before, "{name} is counted");
    assert_eq!(sidecar.outcome("good").await, "allowed", "beside {name}");
    wait::until(&format!("`{name}` and `{why}` are logged"), async || {
        warnings(sidecar).into_iter().any(|line| {
            let line = line.to_string();
            line.contains(why) && (!names_id || line.contains(name))
        })
    })
    .await;
}

const POLICY: &str = "plans: {gold: {}}\nidentity: {headers: {x-org-id: key.metadata.org}}\n";

fn shows_no_canary(sidecar: &Sidecar, metrics: &str) {
    let output = sidecar.keyward.process.output();
    assert!(!output.contains(CANARY), "{output}");
    assert!(!metrics.contains(CANARY), "{metrics}");
}

#[tokio::test]
async fn an_invalid_record_of_a_key_service_affects_only_its_key() {
    let service = KeyService::start().await;
    service.put("good", "good", json!({}));
    let config = format!("{POLICY}{}", of("http", &keys_url(service.address)));
    let sidecar = Sidecar::start(&config).await;
    for (name, text, why) in bad_records() {
        service.put_text(name, &text);
        is_refused_as_invalid(&sidecar, name, why, !why.is_empty()).await;
        assert_eq!(sidecar.outcome(name).await, "invalid_record");
        assert_eq!(service.gets(name), 1, "{name} is cached");
    }
    shows_no_canary(&sidecar, &sidecar.metrics().await.text());
    // Cached as long as an unknown digest, and no longer.
    let sidecar = Sidecar::start(&config.replace("negative_ttl: 1h", "negative_ttl: 1s")).await;
    assert_eq!(sidecar.outcome("no-time").await, "invalid_record");
    service.put("no-time", "no-time", json!({}));
    sidecar.becomes("no-time", "allowed").await;
}

#[tokio::test]
async fn an_invalid_record_in_redis_affects_only_its_key_until_it_is_fixed() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("good", "good", json!({})).await;
        let config = format!("{POLICY}{}", of("redis", &server.url()));
        let sidecar = Sidecar::start(&config).await;
        let mut records = bad_records();
        let others = record("somebody-else", "another-id", json!({})).to_string();
        records.push(("another-id", others, "id"));
        for (name, text, why) in records {
            server.put_text(name, name, &text).await;
            is_refused_as_invalid(&sidecar, name, why, true).await;
            server.put(name, name, json!({})).await;
            sidecar.becomes(name, "allowed").await;
        }
        shows_no_canary(&sidecar, &sidecar.metrics().await.text());
    }
}

/// Writes what is not even a record, as an operator might.
async fn spoil(server: &Server, name: &str) {
    let key = format!("{PREFIX}key:{name}");
    match name {
        "a-list-for-a-record" => {
            server.set(&index(name), name).await;
            server.execute(redis::cmd("RPUSH").arg(key).arg("x")).await;
        }
        "a-list-for-an-index" => {
            server.put(name, name, json!({})).await;
            server.execute(redis::cmd("DEL").arg(index(name))).await;
            server
                .execute(redis::cmd("RPUSH").arg(index(name)).arg(name))
                .await;
        }
        "half-a-record" => server.put_text(name, name, "{\"id\": \"half-a-rec").await,
        "ten-megabytes" => server.put_text(name, name, &"x".repeat(10 << 20)).await,
        "an-id-that-is-none" => {
            server.set(&index(name), "../../\r\n*").await;
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_value_that_is_not_a_record_is_refused_and_affects_no_other_key() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("good", "good", json!({})).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        for name in [
            "a-list-for-a-record",
            "a-list-for-an-index",
            "half-a-record",
            "ten-megabytes",
            "an-id-that-is-none",
        ] {
            spoil(&server, name).await;
            let answer = sidecar.ask(name).await;
            println!("{kind:?}, {name}: {}", answer.outcome());
            assert_eq!(answer.outcome(), "invalid_record", "{name}: {answer:?}");
            // Any pushed change causes another lookup.
            wait::until(&format!("{name} is cached"), async || {
                let looked_up = sidecar.lookups("found").await;
                assert_eq!(sidecar.outcome(name).await, "invalid_record", "{name}");
                sidecar.lookups("found").await.to_bits() == looked_up.to_bits()
            })
            .await;
            let up = sidecar.metric("keyward_source_up", &["source="]).await;
            assert_eq!(up.to_bits(), 1.0_f64.to_bits(), "{name} is an answer");
            let fresh = format!("beside-{name}");
            server.put(&fresh, &fresh, json!({})).await;
            assert_eq!(sidecar.outcome("good").await, "allowed", "{name}");
            assert_eq!(sidecar.outcome(&fresh).await, "allowed", "{name}");
            // Once fixed, it is a key like any other.
            let mut both = redis::cmd("DEL");
            both.arg(index(name)).arg(format!("{PREFIX}key:{name}"));
            server.execute(&both).await;
            server.put(name, name, json!({})).await;
            sidecar.becomes(name, "allowed").await;
        }
        // An index whose record is gone.
        server.set(&index("gone"), "gone").await;
        let outcome = sidecar.outcome("gone").await;
        println!("{kind:?}, an index without its record: {outcome}");
        assert!(
            ["unknown_key", "invalid_record"].contains(&&*outcome),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn a_record_is_checked_again_under_a_new_configuration() {
    let server = Server::start(Kind::Redis).await;
    server.put("k", "k", json!({"plan": "gold"})).await;
    let source = of("redis", &server.url());
    let sidecar = Sidecar::start(&source).await;
    assert_eq!(sidecar.outcome("k").await, "invalid_record");
    let home = &sidecar.keyward.home;
    home.configure(&format!("{source}plans: {{gold: {{}}}}\n"));
    sidecar.becomes("k", "allowed").await;
    home.configure(&source);
    sidecar.becomes("k", "invalid_record").await;
}
