//! Every member of a configuration, and what each mistake in it makes an operator read.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::authz::digest::DigestKind;
use crate::authz::identity::IdentityName;
use crate::authz::rule::DefaultAccess;
use crate::authz::snapshot::{ClientAddress, Mode};
use crate::observe::decision_log::Decisions;
use crate::observe::log::{LogFormat, LogLevel};
use crate::tls::ServerTlsFiles;
use problems::CASES;

mod mixed;
mod problems;
mod warned;

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9999".to_owned()),
        "HEADER" => Some("x-canary".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("etc/keyward.yaml"), text, &env)
}

#[test]
fn an_empty_mapping_is_the_configuration_of_defaults() {
    let config = load("{}").unwrap();
    assert_eq!(config.server.grpc.address.to_string(), "127.0.0.1:9191");
    assert_eq!(config.server.grpc.tls, None);
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:9192");
    assert_eq!(
        (config.server.drain, config.server.deadline),
        (Duration::from_secs(5), Duration::from_secs(20))
    );
    assert_eq!(
        config.source,
        SourceConfig::File {
            path: "etc/keys.yaml".into()
        }
    );
    assert_eq!(
        config.cache,
        CacheSettings {
            capacity: 100_000,
            ttl: Duration::from_mins(1),
            negative_capacity: 100_000,
            negative_ttl: Duration::from_secs(5),
            stale_if_error: Duration::ZERO,
        }
    );
    assert_eq!(config.metrics_max_keys, 10_000);
    assert_eq!(
        (config.log.format, config.log.level),
        (LogFormat::Auto, LogLevel::Info)
    );
    assert_eq!(
        (config.log.decisions, config.log.max_denied),
        (Decisions::Denied, 100)
    );
    let policy = &config.policy;
    let places: Vec<_> = policy.credentials.iter().map(ToString::to_string).collect();
    assert_eq!(
        places,
        [
            "header x-api-key",
            "header authorization with scheme Bearer"
        ]
    );
    assert_eq!(policy.digester.accept(), [DigestKind::Blake3]);
    assert!(policy.rules.list.is_empty());
    assert_eq!(policy.rules.default, DefaultAccess::RequireKey);
    assert!(policy.plans.0.is_empty());
    let names: Vec<_> = policy.identity.names().map(IdentityName::as_str).collect();
    assert_eq!(
        names,
        [
            "x-keyward-key-id",
            "x-keyward-client",
            "x-keyward-scopes",
            "x-keyward-plan"
        ]
    );
    assert!(policy.strip_credentials);
    assert_eq!(policy.realm.as_str(), "keyward");
    assert_eq!(
        (policy.client_address, policy.mode),
        (ClientAddress::Peer, Mode::Enforce)
    );
}

/// Every member of a configuration, written out, with what is not a default taken along.
const WHOLE: &str = r#"
server:
  grpc:
    address: unix:/run/keyward/keyward.sock
    socket_mode: 0600
    tls: {cert_file: tls/cert.pem, key_file: /tls/key.pem, client_ca_file: ca.pem}
  admin: {address: "[::1]:9292"}
  drain: 10s
  deadline: 1m
client_address: x-envoy-external-address
credentials:
  - header: X-Api-Key
  - {header: Authorization, scheme: Bearer}
  - {header: Authorization, scheme: ApiKey}
  - query: api_key
  - cookie: api_key
realm: my realm
require_https: true
digest: {pepper_file: null, accept: [blake3]}
source: {file: {path: /etc/keys}}
cache: {capacity: 1, ttl: 0s, negative_capacity: 2, negative_ttl: 1s, stale_if_error: 1h}
plans:
  gold: {scopes: [a, "b:c"]}
  empty: {scopes: [], limits: []}
rules:
  - name: health
    match: {hosts: ["api.example.com", "*.example.org"], paths: ["/healthz", "/public/**"], methods: [GET, HEAD, PURGE]}
    allow: anyone
  - {name: admin, match: {paths: ["/admin/**"]}, require: {scopes: [admin], clients: [ops]}}
  - {name: internal, match: {paths: ["/internal/**"]}, allow: nobody}
  - {name: all, match: {}, require: {}}
default: deny
identity:
  headers: {x-org-id: key.metadata.org}
  strip_credentials: false
responses: {rate_limit_headers: off}
limits: {backend: local, redis: null, on_error: deny}
metrics: {max_keys: 0}
log: {format: text, level: debug, decisions: all, max_denied: 0}
mode: observe
"#;

#[test]
fn every_member_is_taken() {
    let config = load(WHOLE).unwrap();
    assert_eq!(
        config.server.grpc,
        GrpcConfig {
            max_message: 4 * 1024 * 1024,
            address: ListenAddress::Unix {
                path: "/run/keyward/keyward.sock".into(),
                mode: 0o600
            },
            tls: Some(ServerTlsFiles {
                cert: "etc/tls/cert.pem".into(),
                key: "/tls/key.pem".into(),
                client_ca: Some("etc/ca.pem".into()),
            }),
        }
    );
    assert_eq!(
        config.server.grpc.address.to_string(),
        "unix:/run/keyward/keyward.sock"
    );
    assert_eq!(
        config.source,
        SourceConfig::File {
            path: "/etc/keys".into()
        }
    );
    let policy = &config.policy;
    assert_eq!(policy.credentials.iter().count(), 5);
    let names: Vec<_> = policy.rules.list.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["health", "admin", "internal", "all"]);
    assert_eq!(policy.rules.default, DefaultAccess::Deny);
    assert_eq!(policy.plans.0.len(), 2);
    assert_eq!(
        (policy.client_address, policy.mode),
        (ClientAddress::XEnvoyExternalAddress, Mode::Observe)
    );
    assert!(!policy.strip_credentials);
    assert!(policy.require_https);
}

#[test]
fn each_problem_is_told_where_it_stands_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for (name, text, want) in CASES {
        let lines: Vec<_> = match load(text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        if &lines != want {
            wrong.push(format!("{name}: {lines:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_effective_configuration_shows_defaults_and_hides_what_came_from_the_environment() {
    let text = "metrics:\n  max_keys: ${MAX:-7}\nserver:\n  admin: {address: \"127.0.0.1:${PORT}\"}\ncredentials:\n- header: ${HEADER}\n";
    let config = load(text).unwrap();
    assert_eq!(
        (config.metrics_max_keys, config.server.admin.port()),
        (7, 9999)
    );
    let effective = config.effective();
    assert_eq!(effective["metrics"]["max_keys"], "${MAX:-7}");
    assert_eq!(effective["server"]["admin"]["address"], "127.0.0.1:${PORT}");
    assert_eq!(effective["credentials"], json!([{"header": "${HEADER}"}]));
    assert_eq!(effective["server"]["drain"], "5s");
    assert_eq!(
        effective["digest"],
        json!({"pepper_file": null, "accept": ["blake3"]})
    );
    assert_eq!(effective["source"], json!({"file": {"path": "keys.yaml"}}));
    assert!(!effective.to_string().contains("canary"));
    let names: Vec<_> = effective
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names.join(" "),
        "server client_address credentials key_format realm require_https digest source cache plans default_plan rules default identity responses limits usage metrics log mode"
    );
}

#[test]
fn what_is_effective_is_a_configuration_of_the_same_meaning() {
    for text in ["{}", WHOLE] {
        let config = load(text).unwrap();
        let again = load(&config.effective().to_string()).unwrap();
        assert_eq!(again.effective(), config.effective());
        assert_eq!(again.fixed_parts_changed(&config), []);
    }
}

#[test]
fn a_reload_knows_which_changes_need_a_restart() {
    let first = load("{}").unwrap();
    for (text, want) in [
        ("{server: {drain: 1s}}", vec![FixedPart::Server]),
        (
            "{source: {file: {path: other.yaml}}}",
            vec![FixedPart::Source],
        ),
        ("{cache: {ttl: 1s}}", vec![FixedPart::Cache]),
        (
            "{metrics: {max_keys: 1}, cache: {capacity: 1}}",
            vec![FixedPart::Cache, FixedPart::Metrics],
        ),
        (
            "{server: {grpc: {address: \"127.0.0.1:9191\"}}, digest: {accept: [blake3]}}",
            vec![],
        ),
        (
            "{rules: [{name: a, allow: nobody}], plans: {a: {}}, log: {level: warn}, mode: observe}",
            vec![],
        ),
    ] {
        assert_eq!(
            first.fixed_parts_changed(&load(text).unwrap()),
            want,
            "{text}"
        );
    }
}

#[test]
fn the_pepper_is_read_and_a_change_of_it_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.yaml");
    let pepper = directory.path().join("pepper");
    std::fs::write(&file, "digest: {pepper_file: pepper}\n").unwrap();
    let load = || Config::load(&file, &env);
    let message = || {
        load()
            .unwrap_err()
            .to_string()
            .replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(
        message(),
        "DIR/keyward.yaml:1:23: digest.pepper_file: cannot read DIR/pepper: No such file or directory (os error 2)"
    );
    std::fs::write(&pepper, [b'p'; 31]).unwrap();
    assert_eq!(
        message(),
        "DIR/keyward.yaml:1:23: digest.pepper_file: DIR/pepper is too short for a pepper; it needs at least 32 bytes, one final newline not counted"
    );
    std::fs::write(&pepper, vec![b'p'; 65 * 1024]).unwrap();
    assert!(
        message().ends_with("it is larger than 64KiB, which no pepper is"),
        "{}",
        message()
    );
    std::fs::write(&pepper, [b'p'; 32]).unwrap();
    let first = load().unwrap();
    assert_eq!(first.policy.digester.accept(), [DigestKind::Blake3Keyed]);
    assert_eq!(
        first.effective()["digest"]["accept"],
        json!(["blake3-keyed"])
    );
    assert!(!format!("{first:?}").contains("pppp"));
    assert_eq!(first.fixed_parts_changed(&load().unwrap()), []);
    std::fs::write(&pepper, [b'q'; 32]).unwrap();
    assert_eq!(
        first.fixed_parts_changed(&load().unwrap()),
        [FixedPart::Digest]
    );
}

#[test]
fn a_missing_file_is_told_by_name() {
    let error = Config::load(Path::new("no-such/keyward.yaml"), &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no configuration file no-such/keyward.yaml"
    );
    assert!(matches!(
        Config::load(Path::new("/"), &env),
        Err(ConfigError::Read(_))
    ));
}

#[test]
fn the_schema_names_every_member_and_takes_references_to_the_environment() {
    let schema = schema().to_value();
    assert_eq!(schema["title"], "keyward configuration");
    let effective = load("{}").unwrap();
    for name in effective.effective().as_object().unwrap().keys() {
        assert!(schema["properties"].get(name).is_some(), "{name}");
    }
    let port = &schema["$defs"]["MetricsSpec"]["properties"]["max_keys"]["anyOf"];
    assert_eq!(port[0]["type"], "integer");
    assert_eq!(port[1]["type"], "string");
    assert!(schema["properties"]["mode"]["anyOf"].is_array());
    assert_eq!(schema["$id"], "urn:keyward:schema:config");
    assert!(schema["properties"]["server"].get("anyOf").is_none());
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn null_stands_for_the_default_where_the_contract_has_null_and_each_blank_mapping_or_list_is_refused()
 {
    let nulls = "{server: {grpc: {tls: null}}, digest: {pepper_file: null}, limits: {redis: null}}";
    assert!(load(nulls).is_ok());
    let blank = |text: String| load(&text).is_err();
    for name in [
        "server",
        "credentials",
        "digest",
        "source",
        "cache",
        "plans",
        "rules",
        "identity",
        "responses",
        "limits",
        "metrics",
        "log",
    ] {
        assert!(blank(format!("{name}:\n")), "{name}");
        // And where a value from the environment has the tree read first.
        assert!(blank(format!("realm: ${{PORT}}\n{name}:\n")), "{name}");
    }
    for (outer, name) in [
        ("server", "grpc"),
        ("server", "admin"),
        ("identity", "headers"),
        ("plans", "gold"),
    ] {
        assert!(blank(format!("{outer}:\n  {name}:\n")), "{outer}.{name}");
    }
}
