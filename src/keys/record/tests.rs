//! Records as files and sources write them: what each member becomes, and what is refused in which
//! words.

use std::path::Path;

use super::*;
use crate::authz::digest::{DigestKind, Digester};
use crate::authz::key::{MetadataValue, PlanName};
use crate::authz::moment::Moment;
use crate::authz::scope::Scope;
use crate::authz::snapshot::Plan;
use crate::authz::snapshot::tests::policy;
use crate::yaml::tests::read_as;

mod ids;
mod large;
mod numbers;
mod times;

/// The digest of `text`, as it is written.
pub(crate) fn digest(text: &str) -> String {
    Digester::new(vec![DigestKind::Blake3], None)
        .unwrap()
        .digest(DigestKind::Blake3, text.as_bytes())
        .to_string()
}

/// The configuration's defaults with the plans `gold` and `silver`, and `key.metadata.org` among
/// the identity headers.
pub(crate) fn policy_with_plans() -> Policy {
    let mut policy = policy();
    for name in ["gold", "silver"] {
        policy
            .plans
            .0
            .insert(name.parse::<PlanName>().unwrap(), Plan::default());
    }
    let headers = vec![(
        "x-org".parse().unwrap(),
        "key.metadata.org".parse().unwrap(),
    )];
    policy.identity = crate::authz::identity::IdentityHeaders::new(headers).unwrap();
    policy
}

/// The record that a text of a single record says, or what is wrong with it.
fn check(text: &str) -> Result<KeyRecord, String> {
    let read = || {
        yaml::convert(Path::new("k"), text, |spec: KeySpec, top| {
            spec.check(top, Some(&policy_with_plans()))
        })
    };
    read().map_err(|problems: yaml::Problems| problems.to_string())
}

/// The record that a text in JSON says, but for what only a policy can tell.
fn from_json(json: &str) -> Result<Arc<KeyRecord>, InvalidRecord> {
    read_json(json, |spec: KeySpec, top| {
        spec.check_alone(top, None).map(Arc::new)
    })?
}

/// A record that is valid, with these lines added.
pub(crate) fn with(lines: &str) -> String {
    format!("id: a\nsecrets: [{{digest: {}}}]\n{lines}\n", digest("s"))
}

pub(crate) const WHOLE: &str = r#"
id: invoices-bot
client: acme
secrets:
  - digest: DIGEST
    not_before: 2026-11-01T00:00:00Z
    expires_at: 2027-02-01T00:00:00Z
enabled: false
revoked_at: 2026-12-01T00:00:00Z
not_before: null
expires_at: 2028-01-01T00:00:00+01:00
plan: gold
scopes: [invoices:read, invoices:read, a]
allow_ips: [10.0.0.0/8, "2001:db8::/32", 192.0.2.7]
allow_hosts: ["api.example.com"]
allow_paths: ["/v1/**"]
allow_methods: [GET, POST]
limits: []
metadata: {org: 42, tier: gold, on: true, list: [1], none: null}
"#;

fn moment(text: &str) -> Moment {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

#[test]
fn every_member_reaches_the_record() {
    let record = check(&WHOLE.replace("DIGEST", &digest("s"))).unwrap();
    assert_eq!(record.id.as_str(), "invoices-bot");
    assert_eq!(record.client(), "acme");
    assert_eq!(record.secrets[0].digest.to_string(), digest("s"));
    assert_eq!(
        record.secrets[0].validity.not_before,
        Some(moment("2026-11-01T00:00:00Z"))
    );
    assert_eq!(
        record.secrets[0].validity.expires_at,
        Some(moment("2027-02-01T00:00:00Z"))
    );
    assert!(!record.enabled);
    assert_eq!(record.revoked_at, Some(moment("2026-12-01T00:00:00Z")));
    assert_eq!(record.validity.not_before, None);
    assert_eq!(
        record.validity.expires_at,
        Some(moment("2027-12-31T23:00:00Z"))
    );
    assert_eq!(record.plan.unwrap().as_str(), "gold");
    assert_eq!(
        record.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        ["invoices:read", "a"]
    );
    let restrictions = record.restrictions.unwrap();
    assert_eq!(
        restrictions.ips.unwrap()[2],
        "192.0.2.7/32".parse().unwrap()
    );
    assert_eq!(
        restrictions.hosts.unwrap()[0].to_string(),
        "api.example.com"
    );
    assert_eq!(restrictions.paths.unwrap().len(), 1);
    assert_eq!(restrictions.methods.unwrap().len(), 2);
    let scalar = |text: &str| MetadataValue::Scalar(text.into());
    let values: Vec<_> = record
        .metadata
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    let structured = MetadataValue::Structured;
    assert_eq!(
        values,
        [
            scalar("42"),
            scalar("gold"),
            scalar("true"),
            structured.clone(),
            structured
        ]
    );
}

#[test]
fn a_record_with_the_bare_minimum_is_enabled_and_allowed_anywhere() {
    let record = check(&with("")).unwrap();
    assert!(record.enabled && record.restrictions.is_none() && record.client.is_none());
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_would_be_right() {
    for (lines, want) in [
        (
            "allow_ips: []",
            "k:3:12: allow_ips: the list is empty; leave it out for any",
        ),
        ("allow_hosts: []", "allow_hosts: the list is empty"),
        ("allow_paths:", "allow_paths: holds nothing; give a value"),
        (
            "allow_methods: null",
            "allow_methods: null says nothing here",
        ),
        ("allow_ips: null", "allow_ips: null says nothing here"),
        (
            "allow_ips: [10.0.0.1/8]",
            "allow_ips[0]: the address has bits beyond the length of its network; write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address",
        ),
        (
            "allow_ips: ['::ffff:10.0.0.0/104']",
            "matches nobody; write 10.0.0.0/8",
        ),
        (
            "allow_ips: [everywhere]",
            "allow_ips[0]: not a network or an address",
        ),
        (
            "allow_methods: [get]",
            "allow_methods[0]: this method is written in capitals; write `GET`",
        ),
        ("allow_methods: ['a b']", "allow_methods[0]: not a method"),
        (
            "allow_paths: [v1]",
            "allow_paths[0]: a path pattern begins with `/`",
        ),
        ("allow_hosts: ['*']", "allow_hosts[0]: "),
        (
            "plan: golf",
            "plan: there is no such plan; the configuration has `gold`, `silver`",
        ),
        ("scopes: ['a b']", "scopes[0]: a scope is"),
        ("client: _a", "client: a client has"),
        (
            "limits: [{name: a}]",
            "limits: not supported yet; leave `limits` out",
        ),
        ("mcp: {}", "mcp: not supported yet; leave `mcp` out"),
        (
            "not_before: 2027-01-01T00:00:00Z\nexpires_at: 2027-01-01T00:00:00Z",
            "k:4:13: expires_at: it expires before it begins",
        ),
        (
            "expires_at: 2027-02-30T00:00:00Z",
            "expires_at: a time that does not exist",
        ),
        ("revoked_at: yesterday", "revoked_at: not a time"),
        (
            "expire_at: 2027-02-03T00:00:00Z",
            "unknown field `expire_at`; did you mean `expires_at`?",
        ),
        (
            "metadata: {org: \"a\\nb\"}",
            "metadata.org: `key.metadata.org` goes into an identity header",
        ),
        ("metadata: {a: 1, a: 2}", "repeated member `a`"),
        ("scopes:", "scopes: holds nothing; write [] for"),
        ("limits:", "limits: holds nothing; write [] for"),
        ("metadata:", "metadata: holds nothing; write {} for"),
        ("id: b", "repeated member `id`"),
    ] {
        let problems = check(&with(lines)).unwrap_err();
        assert!(problems.contains(want), "{lines}\n{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[test]
fn a_digest_that_cannot_be_found_is_refused_and_never_repeated() {
    let hex = "ab".repeat(32);
    for (secrets, want) in [
        ("[]".to_owned(), "secrets: a key has at least one secret"),
        (
            "[{digest: canary_sk_live}]".to_owned(),
            "secrets[0].digest: not a digest",
        ),
        (
            "[{digest: 'blake3:canary'}]".to_owned(),
            "secrets[0].digest: a digest has 64 hex digits",
        ),
        (
            format!("[{{digest: 'blake3-keyed:{hex}'}}]"),
            "a digest of kind `blake3-keyed` is never looked up; the configuration's `digest.accept` names `blake3`",
        ),
        (
            format!("[{{digest: {}, secret: canary}}]", digest("s")),
            "unknown field `secret`",
        ),
        ("[canary]".to_owned(), "secrets[0]: expected a mapping"),
        ("canary".to_owned(), "secrets: expected a list"),
    ] {
        let problems = check(&format!("id: a\nsecrets: {secrets}\n")).unwrap_err();
        assert!(problems.contains(want), "{problems}");
        assert!(
            !problems.contains("canary") && !problems.contains(&hex),
            "{problems}"
        );
    }
}

#[test]
fn all_problems_of_a_record_are_told_at_once() {
    let problems = check("id: _\nsecrets: [{digest: x}]\nallow_ips: [x]\nplan: x\n").unwrap_err();
    assert_eq!(problems.lines().count(), 4, "{problems}");
}

#[test]
fn a_record_in_json_says_the_same_and_its_problems_have_no_lines() {
    let yaml = check(&WHOLE.replace("DIGEST", &digest("s"))).unwrap();
    let spec: KeySpec = read_as(&WHOLE.replace("DIGEST", &digest("s"))).unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(*from_json(&json).unwrap(), yaml);

    let short = format!(
        r#"{{"id":"a","secrets":[{{"digest":"{}"}}],"metadata":{{"face":"\ud83d\ude00\/"}}}}"#,
        digest("s")
    );
    let face = from_json(&short).unwrap();
    assert_eq!(face.metadata_scalar("face"), Some("😀/"));

    for (json, want) in [
        (
            "{\"id\":\"a\"",
            "the record is not valid: not JSON at line 1 column 9",
        ),
        (
            "{\"id\":\"a\",\"id\":\"a\"}",
            "the record is not valid: key `a`: id: repeated member `id`; keep one, missing member `secrets`",
        ),
        (
            "{\"id\":\"_\",\"secrets\":[]}",
            "the record is not valid: id: a key id has 1 to 64 characters of `A-Za-z0-9._-` and does not begin with `_`, secrets: a key has at least one secret; make one with `keyward keys new`",
        ),
        (
            "[]",
            "the record is not valid: expected a mapping such as {id: invoices-bot, secrets: [{digest: blake3:…}]}, found a list",
        ),
        (
            "\"canary\"",
            "the record is not valid: expected a mapping such as {id: invoices-bot, secrets: [{digest: blake3:…}]}, found a string",
        ),
    ] {
        let invalid = from_json(json).unwrap_err().to_string();
        assert_eq!(invalid, want);
    }
}

#[test]
fn a_record_answers_for_its_own_digests_alone() {
    let json = format!(r#"{{"id":"a","secrets":[{{"digest":"{}"}}]}}"#, digest("s"));
    let asked = |secret: &str| answer(&json, &digest(secret).parse().unwrap()).unwrap();
    assert!(matches!(asked("s"), SourceAnswer::Found(record) if record.id.as_str() == "a"));
    let SourceAnswer::Invalid(invalid) = asked("t") else {
        panic!("a record that lacks the digest");
    };
    assert_eq!(
        &*invalid.problem,
        "key `a`: secrets: the digest that was asked for is not among them"
    );
}

#[test]
fn a_remote_record_is_held_to_the_policy_that_it_is_used_with() {
    let policy_problem = |rest: &str| {
        let json = format!(
            r#"{{"id":"a","secrets":[{{"digest":"{}"}}]{rest}}}"#,
            digest("s")
        );
        let record = from_json(&json).unwrap();
        check_policy(&record, &policy_with_plans()).map_err(|invalid| invalid.problem.to_string())
    };
    assert_eq!(
        policy_problem(r#","plan":"gold","metadata":{"org":"42"}"#),
        Ok(())
    );
    let plan = policy_problem(r#","plan":"golf""#).unwrap_err();
    let want = "key `a`: plan: there is no such plan; the configuration has `gold`, `silver`";
    assert_eq!(plan, want);
    let header = policy_problem(r#","metadata":{"org":"caf\u00e9"}"#).unwrap_err();
    assert!(header.starts_with("key `a`: metadata.org: "), "{header}");
    let keyed = digest("s").replace("blake3:", "blake3-keyed:");
    let json = format!(r#"{{"id":"a","secrets":[{{"digest":"{keyed}"}}]}}"#);
    let kind = check_policy(&from_json(&json).unwrap(), &policy_with_plans()).unwrap_err();
    let want = "key `a`: secrets: a digest of kind `blake3-keyed` is never looked up; the configuration's `digest.accept` names `blake3`";
    assert_eq!(&*kind.problem, want);
}

#[test]
fn nothing_of_a_record_shows_in_debug_output() {
    let text = with("metadata: {org: canary}").replace("id: a", "id: canary");
    let spec: KeySpec = read_as(&text).unwrap();
    let keys = KeysSpec { keys: vec![spec] };
    let shown = format!("{keys:?} {:?} {:?}", keys.keys[0], keys.keys[0].secrets[0]);
    assert!(
        !shown.contains("canary") && !shown.contains("blake3"),
        "{shown}"
    );
}

#[test]
fn the_schema_knows_every_member_and_no_other() {
    let schema = serde_json::to_value(schemars::schema_for!(KeysSpec)).unwrap();
    let key = &schema["$defs"]["KeySpec"];
    assert_eq!(key["additionalProperties"], false);
    assert_eq!(key["properties"].as_object().unwrap().len(), 16);
    assert_eq!(key["required"], serde_json::json!(["id", "secrets"]));
}
