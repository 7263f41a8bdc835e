//! What Envoy and keyward exchange besides headers: dynamic metadata on allow and deny, rules named
//! by a route, the client's address, and observe mode.

use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::envoy::Envoy;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Keyward;
use crate::support::message::Ask;
use crate::support::scene::{self, IDENTITY, key, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes, both_shapes_unprotected};
use crate::support::upstream::Upstream;
use crate::support::{http1, wait};

/// Sends each request through an Envoy that logs keyward's dynamic metadata, and returns the
/// metadata of each.
async fn metadata_of(config: &str, asks: &[Ask]) -> Vec<Value> {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let stack = Stack::start(config, &scene::keys(), |bootstrap| {
        bootstrap.listener("logged", |l| l.access_log(&log))
    })
    .await;
    for ask in asks {
        http1::send(stack.envoy.at("logged"), ask).await;
    }
    let lines = wait::until_some("all requests are in the access log", async || {
        let text = fs::read_to_string(&log).ok()?;
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        (lines.len() == asks.len()).then_some(lines)
    })
    .await;
    let mut ids = HashSet::new();
    lines
        .into_iter()
        .map(|mut line| {
            let mut members = line["keyward"].take();
            let id = members["decision_id"].take();
            let id: String = id.as_str().unwrap_or_default().into();
            assert_eq!((id.len(), id.get(14..15)), (36, Some("7")), "{members}");
            assert!(ids.insert(id), "each decision has an id of its own");
            members.as_object_mut().unwrap().remove("decision_id");
            members
        })
        .collect()
}

#[tokio::test]
async fn every_decision_has_dynamic_metadata() {
    let asks = [
        Ask::get("/v1/orders").key(&secret("full")),
        Ask::get("/v1/orders").key("nonsense"),
        Ask::get("/v1/orders").key(&secret("revoked")),
        Ask::get("/public/info"),
        Ask::get("/admin/x").key(&secret("bare")),
    ];
    let found = metadata_of(scene::CONFIG, &asks).await;
    let expected = [
        json!({"decision": "allow", "reason": "allowed", "key_id": "full", "client": "acme", "plan": "gold"}),
        json!({"decision": "deny", "reason": "unknown_key"}),
        json!({"decision": "deny", "reason": "key_revoked", "key_id": "revoked", "client": "revoked"}),
        json!({"decision": "allow", "reason": "public", "rule": "open"}),
        json!({"decision": "deny", "reason": "insufficient_scope", "key_id": "bare", "client": "bare", "rule": "admin"}),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn observe_mode_allows_and_strips_and_records_the_would_be_decision() {
    let config = format!("{}mode: observe\n", scene::CONFIG);
    let stack = Stack::start(&config, &scene::keys(), both_shapes_unprotected).await;
    let asks = [
        (Ask::get("/v1/orders"), "missing_key", ""),
        (Ask::get("/v1/orders").key("nonsense"), "unknown_key", ""),
        (
            Ask::get("/v1/orders").key(&secret("revoked")),
            "key_revoked",
            "",
        ),
        (
            Ask::get("/ops").key(&secret("full")),
            "client_not_allowed",
            "",
        ),
        (
            Ask::get("/internal").key(&secret("full")),
            "route_denied",
            "",
        ),
        (
            Ask::get("/public/../x").key(&secret("full")),
            "malformed_path",
            "",
        ),
        (
            Ask::get("/v1/orders").key(&secret("full")),
            "allowed",
            "full",
        ),
    ];
    for (seen, (ask, reason, id)) in asks.into_iter().enumerate() {
        let forged = ask
            .id(reason)
            .header("x-keyward-key-id", "forged")
            .header("x_keyward_client", "forged");
        let reply = http1::send(stack.envoy.at(SHAPES[seen % 2]), &forged).await;
        assert_eq!(reply.status, 200, "{reason}: {reply:?}");
        let received = stack.upstream.take_one();
        assert_eq!(
            received.all(IDENTITY[0]).join(","),
            id,
            "{reason}: {received:#?}"
        );
        assert!(
            received.all("x-api-key").is_empty(),
            "{reason}: {received:#?}"
        );
        assert!(
            !format!("{received:?}").contains("forged"),
            "{reason}: {received:#?}"
        );
        let decision = stack.keyward.decision_of(reason).await;
        assert_eq!(decision["reason"], reason, "{decision}");
    }
}

#[tokio::test]
async fn observe_mode_puts_the_would_be_decision_into_dynamic_metadata() {
    let config = format!("{}mode: observe\n", scene::CONFIG);
    let found = metadata_of(&config, &[Ask::get("/v1/orders").key("nonsense")]).await;
    assert_eq!(
        found,
        [json!({"decision": "deny", "reason": "unknown_key"})]
    );
}

#[tokio::test]
async fn a_route_picks_its_rule_by_name_and_an_unknown_name_closes_it() {
    let named = |rule: &str| {
        format!("{{check_settings: {{context_extensions: {{keyward.rule: {rule}}}}}}}")
    };
    let stack = Stack::start(scene::CONFIG, &scene::keys(), |bootstrap| {
        bootstrap.listener("routed", |l| {
            l.route("{prefix: /v1/open}", &named("open"));
            l.route("{prefix: /v1/admin}", &named("admin"));
            l.route("{prefix: /v1/misspelt}", &named("misspelt"));
            l.route("{prefix: /public/misspelt}", &named("misspelt"));
        })
    })
    .await;
    let cases = [
        (Ask::get("/v1/open"), 200, "public"),
        (
            Ask::get("/v1/admin").key(&secret("bare")),
            403,
            "insufficient_scope",
        ),
        (Ask::get("/v1/admin").key(&secret("full")), 200, "allowed"),
        (
            Ask::get("/v1/misspelt").key(&secret("full")),
            403,
            "route_denied",
        ),
        (Ask::get("/v1/misspelt"), 401, "missing_key"),
        (
            Ask::get("/public/misspelt").key(&secret("full")),
            403,
            "route_denied",
        ),
    ];
    for (seen, (ask, status, reason)) in cases.into_iter().enumerate() {
        let id = format!("request-{seen}");
        let ask = ask.id(&id);
        let reply = http1::send(stack.envoy.at("routed"), &ask).await;
        assert_eq!(reply.status, status, "{ask:?}: {reply:?}");
        let decision = stack.keyward.decision_of(&id).await;
        assert_eq!(decision["reason"], reason, "{ask:?}");
    }
}

#[tokio::test]
async fn the_clients_address_is_the_peers_unless_envoy_provides_another() {
    let keys = key(KeyFile::new(), "abroad", &["allow_ips: [203.0.113.0/24]"]);
    let behind_a_balancer = |bootstrap: Bootstrap| {
        bootstrap.listener("balanced", |l| {
            l.hcm().insert("use_remote_address".into(), true.into());
            l.hcm().insert("xff_num_trusted_hops".into(), yaml("1"));
            if let Some(config) = l.ext_authz().as_mapping_mut() {
                config.remove("allowed_headers");
            }
        })
    };
    let from = |address: &str| {
        Ask::get("/v1/orders")
            .key(&secret("abroad"))
            .header("x-forwarded-for", address)
    };
    for (client_address, statuses) in [
        ("peer", [403, 403]),
        ("x-envoy-external-address", [200, 403]),
    ] {
        let config = format!("client_address: {client_address}");
        let stack = Stack::start(&config, &keys, behind_a_balancer).await;
        for (address, status) in ["203.0.113.7", "198.51.100.1"].iter().zip(statuses) {
            let reply = http1::send(stack.envoy.at("balanced"), &from(address)).await;
            assert_eq!(
                reply.status, status,
                "{client_address}, {address}: {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_decision_log_has_everything_but_the_secret_and_the_query() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    let path = format!("/ops/x?api_key={}&a=1", secret("full"));
    let ask = Ask::get(&path).id("3f6b1e4e-log");
    http1::send(stack.envoy.at("headers"), &ask).await;
    let decision = stack.keyward.decision_of("3f6b1e4e-log").await;
    for (name, value) in [
        ("decision", "deny"),
        ("reason", "client_not_allowed"),
        ("key_id", "full"),
        ("client", "acme"),
        ("plan", "gold"),
        ("rule", "ops"),
        ("method", "GET"),
        ("host", "api.example.com"),
        ("path", "/ops/x"),
        ("source_ip", "127.0.0.1"),
    ] {
        assert_eq!(decision[name], value, "{name} in {decision}");
    }
    assert_eq!(decision["status"], 403, "{decision}");
    assert!(decision["duration_us"].is_number(), "{decision}");
    for name in ["ts", "level"] {
        assert!(decision[name].is_string(), "{name} in {decision}");
    }
}

#[tokio::test]
async fn decisions_are_logged_as_configured() {
    for (decisions, expected) in [
        ("all", &["refused", "public"][..]),
        ("denied", &["refused"]),
        ("none", &[]),
    ] {
        let config = format!("{}log: {{decisions: {decisions}}}\n", scene::CONFIG);
        let upstream = Upstream::start().await;
        let mut keyward = Keyward::start(&config, &scene::keys()).await;
        let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address);
        let envoy = Envoy::start(&both_shapes(bootstrap)).await;
        let refused = Ask::get("/v1/orders").key("nonsense").id("refused");
        let public = Ask::get("/public/info").id("public");
        http1::send(envoy.at("headers"), &refused).await;
        http1::send(envoy.at("headers"), &public).await;
        drop(envoy);
        keyward.process.signal("TERM");
        keyward.process.end().await;
        // Envoy may have sent the check of a request twice.
        let mut logged: Vec<String> = keyward
            .decisions()
            .iter()
            .map(|decision| decision["request_id"].as_str().unwrap().to_owned())
            .collect();
        logged.dedup();
        assert_eq!(logged, expected, "{decisions}");
    }
}

#[tokio::test]
async fn a_decision_and_its_access_log_entry_share_an_id() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let stack = Stack::start(scene::CONFIG, &scene::keys(), |bootstrap| {
        bootstrap.listener("logged", |l| l.access_log(&log))
    })
    .await;
    let ask = Ask::get("/v1/orders").key("nonsense").id("one");
    http1::send(stack.envoy.at("logged"), &ask).await;
    let decision = stack.keyward.decision_of("one").await;
    let entry = wait::until_some("the request is in the access log", async || {
        let text = fs::read_to_string(&log).ok()?;
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    })
    .await;
    assert!(decision["decision_id"].is_string(), "{decision}");
    assert_eq!(decision["decision_id"], entry["keyward"]["decision_id"]);
}

#[tokio::test]
async fn the_log_and_a_metric_name_the_secret_that_was_used() {
    let digest = |text: &str| crate::support::keyfile::digest(text);
    let (old, new, unnamed) = (digest("old-1"), digest("new-2"), digest("other-3"));
    let secrets = [
        format!("digest: {old}, id: \"2026-11\""),
        format!(
            "digest: {new}, id: \"2027-02\", expires_at: {}",
            scene::PAST
        ),
        format!("digest: {unnamed}"),
    ];
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let keys = KeyFile::new().secrets("rotated", &secrets, &[]);
    let config = "log: {decisions: all}\n";
    let stack = Stack::start(config, &keys, both_shapes).await;
    let family = "keyward_key_secret_last_used_timestamp_seconds";
    for (secret, reason, id) in [
        ("old-1", "allowed", json!("2026-11")),
        ("new-2", "key_expired", json!("2027-02")),
        ("other-3", "allowed", Value::Null),
    ] {
        let ask = Ask::get("/v1").key(secret).id(secret);
        http1::send(stack.envoy.at("headers"), &ask).await;
        let decision = stack.keyward.decision_of(secret).await;
        assert_eq!(decision["reason"], reason, "{decision}");
        assert_eq!(decision["secret"], id, "{decision}");
    }
    let scraped =
        || async { crate::support::metrics::series(&stack.keyward.fetch("/metrics").await) };
    let of_secrets = |all: std::collections::BTreeSet<String>| -> Vec<String> {
        all.into_iter()
            .filter(|line| line.starts_with(family))
            .collect()
    };
    let series =
        |id: &str| format!("{family}{{key_id=\"rotated\",client=\"rotated\",secret=\"{id}\"}}");
    assert_eq!(
        of_secrets(scraped().await),
        [series("2026-11"), series("2027-02")]
    );
    // First the secret is removed, then the key.
    stack
        .keyward
        .reload(&KeyFile::new().secrets("rotated", &secrets[..1], &[]))
        .await;
    assert_eq!(of_secrets(scraped().await), [series("2026-11")]);
    stack
        .keyward
        .reload(&KeyFile::new().key("another", "another-secret", &[]))
        .await;
    assert!(of_secrets(scraped().await).is_empty());
}
