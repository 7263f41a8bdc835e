//! The schemas and the loaders agree: a JSON Schema validator of others and keyward check the same
//! corpus of good and bad documents.
//!
//! What only a loader can find (a name used twice, a missing file) is not in the corpus.

use std::path::Path;

use jsonschema::Validator;
use keyward::config::Config;
use keyward::yaml::{self, FieldPath};
use serde_json::Value;

/// Valid configurations.
const GOOD_CONFIGS: &[&str] = &[
    "{}",
    "server: {grpc: {address: \"unix:/run/keyward.sock\", socket_mode: \"0600\"}, drain: 250ms, deadline: 1m}",
    "server: {grpc: {address: \"[::]:0\", tls: {cert_file: a, key_file: b, client_ca_file: c}}, admin: {address: \"0.0.0.0:9192\"}}",
    "server: {grpc: {tls: null}}",
    "credentials: [{header: x-api-key}, {header: authorization, scheme: Bearer}, {query: api_key, strip: path, prefix: kw_}, {cookie: api_key}]",
    "require_https: true",
    "realm: a b",
    "realm: \"${REALM:-a}\"",
    "digest: {pepper_file: null, accept: [blake3]}",
    "source: {file: {path: \"${DIR:-keys}/keys.yaml\"}}",
    "source: {http: {url: \"https://a/v1/{kind}/{digest}\", timeout: 1s, events_url: \"http://a/events?x=y\", max_in_flight: 1}}",
    "source: {http: {url: \"http://[::1]:8080/?d={digest}\", tls: null, bearer_token_file: token}}",
    "source: {http: {url: \"https://a/{digest}\", tls: {ca_file: a, cert_file: b, key_file: c}}}",
    "source: {redis: {url: \"redis://127.0.0.1:6379/0\", username: a, password_file: b}}",
    "source: {redis: {url: \"redis+unix:///run/redis.sock\"}}",
    "source: {redis: {cluster: [\"rediss://a:1\", \"rediss://b\"], tls: {ca_file: a}, url: null}}",
    "source: {redis: {sentinel: {master: m, nodes: [\"redis://a:26379\"]}, timeout: \"${T:-1s}\"}}",
    "cache: {capacity: 1, ttl: 0s, negative_ttl: 30d, stale_if_error: 1h}",
    "cache: {capacity: \"${N:-5}\"}",
    "plans: {gold: {scopes: [a, \"b:c\"]}, \"a@b/c\": {}}",
    "rules: [{name: a, allow: anyone}, {name: b, require: {}}, {name: c d, allow: nobody, match: {}}]",
    "rules: [{name: a, match: {hosts: [a.example.org, \"*.example.org\", \"a.b:8080\", \"a:*\", \"[::1]:80\"]}, require: {scopes: [s], clients: [c]}}]",
    "rules: [{name: a, match: {paths: [/, /a, /a/, \"/a/**\", \"/**/b\", \"/v*/x-*\", /.well-known/a]}, allow: anyone}]",
    "rules: [{name: a, match: {methods: [GET, POST, PURGE, M-SEARCH]}, allow: anyone}]",
    "rules: [{name: \"${NAME:-a}\", match: {paths: [\"${P:-/a}\"], methods: [\"${M:-GET}\"]}, allow: \"${A:-anyone}\"}]",
    "default: deny",
    "identity: {headers: {x-org-id: key.metadata.org, x-a: key.id}, strip_credentials: false}",
    "identity: {headers: {}}",
    "log: {format: auto, level: debug, decisions: all, max_denied: 0}",
    "mode: observe",
    "client_address: x-envoy-external-address",
    "metrics: {max_keys: 0}",
];

/// Invalid configurations.
const BAD_CONFIGS: &[&str] = &[
    "[]",
    "rulez: []",
    "server: {grpc: {adress: a}}",
    "server: {grpc: {tls: {cert_file: a, key_file: b, ca: c}}}",
    "rules: [{name: a, allow: anyone, match: {path: [/a]}}]",
    "plans: {gold: {scope: [a]}}",
    "server: {grpc: {address: localhost:9191}}",
    "server: {grpc: {address: \"127.0.0.1:99999\"}}",
    "server: {grpc: {address: \"127.0.0.256:1\"}}",
    "server: {grpc: {address: \"unix:\"}}",
    "server: {grpc: {address: \"unix:/run/\"}}",
    "server: {grpc: {socket_mode: \"999\"}}",
    "server: {grpc: {tls: {cert_file: a}}}",
    "server: {grpc: {tls: {cert_file: \"\", key_file: b}}}",
    "server: {admin: {address: \"unix:/a\"}}",
    "server: {drain: 5}",
    "server: {drain: 5 s}",
    "server: {drain: -5s}",
    "credentials: []",
    "credentials: [{}]",
    "credentials: [x-api-key]",
    "credentials: [{header: a, query: b}]",
    "credentials: [{query: a, cookie: b}]",
    "credentials: [{query: a, scheme: Bearer}]",
    "credentials: [{header: a, strip: path}]",
    "credentials: [{header: a, prefix: \"\"}]",
    "credentials: [{header: \"a b\"}]",
    "credentials: [{header: a, scheme: \"a b\"}]",
    "credentials: [{query: \"a=b\"}]",
    "credentials: [{cookie: \"a;b\"}]",
    "realm: 'a\"b'",
    "realm: null",
    "digest: {accept: []}",
    "digest: {accept: [blake3, blake3]}",
    "digest: {accept: [md5]}",
    "source: {}",
    "source: {file: null}",
    "source: {file: {path: a}, http: {url: \"https://a/{digest}\"}}",
    "source: {file: {path: \"\"}}",
    "source: {http: {}}",
    "source: {http: {url: \"https://a/keys\"}}",
    "source: {http: {url: \"ftp://a/{digest}\"}}",
    "source: {http: {url: \"https://u:p@a/{digest}\"}}",
    "source: {http: {url: \"https://a/{digest}#x\"}}",
    "source: {http: {url: \"https://a/{digest}/{id}\"}}",
    "source: {http: {url: \"https://{digest}.a/\"}}",
    "source: {http: {url: \"https://a/{digest}\", events_url: \"https://a/{digest}\"}}",
    "source: {http: {url: \"https://a/{digest}\", timeout: 0s}}",
    "source: {http: {url: \"https://a/{digest}\", max_in_flight: 0}}",
    "source: {http: {url: \"https://a/{digest}\", tls: {cert_file: a}}}",
    "source: {redis: {}}",
    "source: {redis: {url: \"redis://a\", cluster: [\"redis://b\"]}}",
    "source: {redis: {url: \"http://a\"}}",
    "source: {redis: {url: \"redis://:p@a\"}}",
    "source: {redis: {url: \"redis://a?x=y\"}}",
    "source: {redis: {cluster: []}}",
    "source: {redis: {cluster: [\"redis+unix:///a\"]}}",
    "source: {redis: {sentinel: {master: \"\", nodes: [\"redis://a\"]}}}",
    "source: {redis: {sentinel: {master: m, nodes: []}}}",
    "source: {redis: {url: \"redis://a\", username: u}}",
    "cache: {capacity: 0}",
    "cache: {negative_capacity: -1}",
    "cache: {ttl: 1}",
    "plans: {_a: {}}",
    "plans: {\"a b\": {}}",
    "plans: {a: {scopes: [\"\"]}}",
    "plans: {a: {scopes: [\"a b\"]}}",
    "rules: [{allow: anyone}]",
    "rules: [{name: \"\", allow: anyone}]",
    "rules: [{name: a}]",
    "rules: [{name: a, allow: null}]",
    "rules: [{name: a, match: null, allow: anyone}]",
    "rules: [{name: a, allow: anyone, require: {}}]",
    "rules: [{name: a, allow: anyone, mcp: {}}]",
    "rules: [{name: a, allow: everyone}]",
    "rules: [{name: a, allow: anyone, match: {paths: []}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [a]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [\"/a?b\"]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [\"/a[b]\"]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [/a//b]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [/a/../b]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [\"/a**\"]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [\"/a%20b\"]}}]",
    "rules: [{name: a, allow: anyone, match: {paths: [\"/a;b\"]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [\"*\"]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [\"a.*.b\"]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [a..b]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [\"a:080\"]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [\"a:70000\"]}}]",
    "rules: [{name: a, allow: anyone, match: {hosts: [\"https://a\"]}}]",
    "rules: [{name: a, allow: anyone, match: {methods: [get]}}]",
    "rules: [{name: a, allow: anyone, match: {methods: [\"G T\"]}}]",
    "rules: [{name: a, require: {scopes: []}}]",
    "rules: [{name: a, require: {scopes: [\"a b\"]}}]",
    "rules: [{name: a, require: {clients: [_a]}}]",
    "default: allow",
    "identity: {headers: {x-a: key.secret}}",
    "identity: {headers: {\"x a\": key.id}}",
    "identity: {strip_credentials: maybe}",
    "log: {level: warning}",
    "log: {max_denied: -1}",
    "mode: watch",
];

/// A well-formed secret.
const SECRETS: &str = "secrets: [{digest: \"blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]";

/// Members of valid keys.
const GOOD_KEYS: &[&str] = &[
    "id: a, S",
    "id: A.b_c-9, client: \"acme:eu/1@x\", S, enabled: false, plan: gold, scopes: [a, \"b:c\"]",
    "id: a, S, revoked_at: null, not_before: \"2026-11-01T00:00:00Z\", expires_at: \"2026-12-01t00:00:00.25+02:00\"",
    "id: a, S, allow_ips: [10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\", \"::1\"], allow_hosts: [api.example.com, \"*.a:*\"]",
    "id: a, S, allow_paths: [\"/v1/**\", /], allow_methods: [GET, PURGE], limits: [], mcp: null",
    "id: a, S, metadata: {org: \"42\", tier: gold, nested: {a: [1, true, null]}}",
];

/// Members of invalid keys.
const BAD_KEYS: &[&str] = &[
    "S",
    "id: a",
    "id: a, secrets: []",
    "id: a, secrets: [{}]",
    "id: a, secrets: [{digest: \"blake3:12\"}]",
    "id: a, secrets: [{digest: \"kw_secret\"}]",
    "id: _a, S",
    "id: \"a b\", S",
    "id: \"\", S",
    "id: a, S, client: \"_a\"",
    "id: a, S, client: \"a b\"",
    "id: a, S, plan: \"\"",
    "id: a, S, enabled: maybe",
    "id: a, S, secret: x",
    "id: a, secrets: [{digest: \"blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", expires: b}]",
    "id: a, S, expires_at: \"2026-11-01\"",
    "id: a, S, expires_at: \"2026-13-01T00:00:00Z\"",
    "id: a, S, expires_at: \"2026-11-01T00:00:00\"",
    "id: a, S, not_before: \"tomorrow\"",
    "id: a, S, scopes: [\"a b\"]",
    "id: a, S, allow_ips: []",
    "id: a, S, allow_ips: null",
    "id: a, S, allow_ips: [10.0.0.0/33]",
    "id: a, S, allow_ips: [10.0.0.256]",
    "id: a, S, allow_ips: [example.com]",
    "id: a, S, allow_ips: [\"2001:db8::/129\"]",
    "id: a, S, allow_hosts: []",
    "id: a, S, allow_hosts: [\"*\"]",
    "id: a, S, allow_paths: [v1]",
    "id: a, S, allow_paths: null",
    "id: a, S, allow_methods: [get]",
    "id: a, S, limits: [{name: a, rate: 1/s}]",
    "id: a, S, mcp: {}",
    "id: a, S, metadata: 5",
    "id: a, S, metadata: {version: 1.10}",
];

fn validator(schema: &schemars::Schema) -> Validator {
    jsonschema::validator_for(schema.as_value()).expect("the schema is one")
}

/// Checks each text both ways; `is_good` is the expected result.
fn check(
    validator: &Validator,
    load: impl Fn(&str) -> Result<(), String>,
    texts: &[String],
    is_good: bool,
) {
    let mut strange = Vec::new();
    for text in texts {
        let value: Value = serde_yaml::from_str(text).unwrap();
        let by_schema: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        let by_loader = load(text);
        if by_schema.is_empty() != is_good {
            strange.push(format!("schema: {text}: {by_schema:?}"));
        }
        if by_loader.is_ok() != is_good {
            strange.push(format!("loader: {text}: {by_loader:?}"));
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn the_schema_of_configurations_and_the_loader_agree() {
    let validator = validator(&keyward::config::schema());
    let load = |text: &str| {
        let loaded = Config::parse(Path::new("keyward.yaml"), text, &|_| None);
        loaded.map(drop).map_err(|problems| problems.to_string())
    };
    let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
    check(&validator, load, &owned(GOOD_CONFIGS), true);
    check(&validator, load, &owned(BAD_CONFIGS), false);
}

#[test]
fn the_schema_of_keys_and_the_loader_agree() {
    let validator = validator(&keyward::keys::record::schema::schema());
    let load = |text: &str| {
        let check = |spec: keyward::keys::record::KeysSpec, top: &FieldPath<'_>| {
            let keys = top.field("keys");
            let records = spec.keys.iter().enumerate();
            let checked: Vec<_> = records
                .map(|(index, key)| key.check(&keys.index(index), None).is_some())
                .collect();
            Some(checked)
        };
        let loaded = yaml::convert(Path::new("keys.yaml"), text, check);
        loaded.map(drop).map_err(|problems| problems.to_string())
    };
    let whole = |texts: &[&str]| -> Vec<String> {
        let keys = texts.iter().map(|text| text.replace('S', SECRETS));
        keys.map(|key| format!("keys: [{{{key}}}]")).collect()
    };
    check(&validator, load, &whole(GOOD_KEYS), true);
    check(&validator, load, &whole(BAD_KEYS), false);
    let others = [
        "{}",
        "keys: null",
        "keys: {}",
        "{keys: [], more: 1}",
        "keys: [a]",
    ];
    check(&validator, load, &others.map(str::to_owned), false);
    check(&validator, load, &["keys: []".to_owned()], true);
}
