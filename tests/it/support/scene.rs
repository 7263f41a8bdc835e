//! The configuration and the keys that most tests share: every kind of rule, every credential
//! location, and a key for every row of the decision table. A key's secret is derived from its id.

use super::keyfile::{KeyFile, digest};

pub const CONFIG: &str = r#"
credentials:
  - header: x-api-key
  - {header: authorization, scheme: Bearer}
  - query: api_key
  - cookie: api_key
identity:
  headers:
    x-keyward-key-id: key.id
    x-keyward-client: key.client
    x-keyward-scopes: key.scopes
    x-keyward-plan: key.plan
    x-org-id: key.metadata.org
plans: {gold: {scopes: ["plan:read"]}}
rules:
  - {name: open, match: {paths: ["/public/**"]}, allow: anyone}
  - {name: internal, match: {paths: ["/internal/**"]}, allow: nobody}
  - {name: admin, match: {paths: ["/admin/**"]}, require: {scopes: [admin, audit]}}
  - {name: ops, match: {paths: ["/ops/**"]}, require: {clients: [operators]}}
"#;

/// The identity headers.
pub const IDENTITY: [&str; 5] = [
    "x-keyward-key-id",
    "x-keyward-client",
    "x-keyward-scopes",
    "x-keyward-plan",
    "x-org-id",
];

/// Spellings of a header's name that some gateway interface treats as the name itself: every
/// character that Envoy permits in a name in place of one `-` and of each, except `_`, which it can
/// reject itself.
pub fn spellings(name: &str) -> Vec<String> {
    let bytes = "!#$%&'*+^.|~`".chars();
    bytes
        .flat_map(|byte| {
            let byte = &byte.to_string();
            [name.replace('-', byte), name.replacen('-', byte, 1)]
        })
        .collect()
}

pub const PAST: &str = "2020-01-01T00:00:00Z";
pub const FUTURE: &str = "2099-01-01T00:00:00Z";

pub fn secret(id: &str) -> String {
    format!("{id}-secret-4b1d9c")
}

/// Adds a key of the scene with the secret derived from its id.
pub fn key(file: KeyFile, id: &str, rest: &[&str]) -> KeyFile {
    file.key(id, &secret(id), rest)
}

/// Two of the keys, for configurations without plans.
pub fn keys_without_plans() -> KeyFile {
    let file = key(KeyFile::new(), "bare", &[]);
    key(file, "this-path", &["allow_paths: [\"/v1/**\"]"])
}

pub fn keys() -> KeyFile {
    let timed = |id: &str, bound: &str| format!("digest: {}, {bound}", digest(&secret(id)));
    let until_past = format!("expires_at: {PAST}");
    let from_future = format!("not_before: {FUTURE}");
    let mut file = KeyFile::new();
    for (id, rest) in [
        (
            "full",
            &[
                "client: acme",
                "plan: gold",
                "scopes: [admin, audit]",
                "metadata: {org: \"42\", tier: gold}",
            ][..],
        ),
        ("bare", &[]),
        ("half-scoped", &["scopes: [audit]"]),
        ("operator", &["client: operators"]),
        ("revoked", &["revoked_at: 2020-01-01T00:00:00Z"]),
        ("disabled", &["enabled: false"]),
        ("early", &[&from_future]),
        ("expired", &[&until_past]),
        ("at-home", &["allow_ips: [127.0.0.0/8]"]),
        ("elsewhere", &["allow_ips: [10.0.0.0/8, \"2001:db8::/32\"]"]),
        ("this-host", &["allow_hosts: [api.example.com]"]),
        ("other-host", &["allow_hosts: [\"*.example.org\"]"]),
        ("this-path", &["allow_paths: [\"/v1/**\"]"]),
        ("other-path", &["allow_paths: [\"/v2/**\"]"]),
        ("this-method", &["allow_methods: [GET, POST]"]),
        ("other-method", &["allow_methods: [PUT]"]),
    ] {
        file = key(file, id, rest);
    }
    file.secrets("early-secret", &[&timed("early-secret", &from_future)], &[])
        .secrets(
            "expired-secret",
            &[&timed("expired-secret", &until_past)],
            &[],
        )
        .secrets(
            "rotated",
            &[
                &timed("rotated-old", &format!("expires_at: {FUTURE}")),
                &timed("rotated-new", &format!("not_before: {PAST}")),
            ],
            &[],
        )
}
