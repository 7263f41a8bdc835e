//! A key's record as it is written: in a keys file, in an answer of a remote source, in Redis.
//!
//! One shape for all three, read strictly: unknown and repeated members are errors. What it
//! says is checked in `check`, which turns it into a `KeyRecord`. Nothing here prints a value that was read, for a secret
//! may have been pasted where its digest, or anything else, belongs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::source::{InvalidRecord, SourceAnswer};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::yaml::{self, Free, Members, TimeSpec};

mod check;
mod fit;
mod number;
pub mod schema;
mod text;

pub use fit::fits;

#[cfg(test)]
pub(crate) mod tests;

/// A keys file.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "keyward keys file")]
pub struct KeysSpec {
    /// The keys; `[]` for none.
    #[serde(deserialize_with = "listed")]
    pub keys: Vec<KeySpec>,
}

/// A key's record.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a mapping such as {id: invoices-bot, secrets: [{digest: blake3:…}]}"
)]
pub struct KeySpec {
    /// The key's public name, unique among all keys; it survives rotation.
    #[serde(deserialize_with = "yaml::text")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9.-][A-Za-z0-9._-]{0,63}$"))]
    pub id: String,
    /// Whom the key stands for; the id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9.:@/-][A-Za-z0-9._:@/-]{0,127}$"))]
    pub client: Option<String>,
    /// The digests of its secrets, at least one.
    #[schemars(length(min = 1))]
    pub secrets: Vec<SecretSpec>,
    /// `false` switches the key off.
    #[serde(default = "enabled", skip_serializing_if = "is_enabled")]
    pub enabled: bool,
    /// Since when the key is revoked, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<TimeSpec>,
    /// The first moment at which the key is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<TimeSpec>,
    /// The first moment at which the key is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<TimeSpec>,
    /// The plan that the key follows, one of the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Scopes, added to the plan's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Networks or addresses from which the key may be used; any where absent.
    #[serde(
        default,
        deserialize_with = "yaml::not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_ips: Option<Vec<String>>,
    /// Hosts for which the key may be used; any where absent.
    #[serde(
        default,
        deserialize_with = "yaml::not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_hosts: Option<Vec<String>>,
    /// Paths for which the key may be used; any where absent.
    #[serde(
        default,
        deserialize_with = "yaml::not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_paths: Option<Vec<String>>,
    /// Methods for which the key may be used, compared to the letter; any where absent.
    #[serde(
        default,
        deserialize_with = "yaml::not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_methods: Option<Vec<String>>,
    /// Limits; not supported yet, but for an empty list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Free>,
    /// What the key may do in MCP; not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Free>,
    /// What its operator wants to know of the key; scalars can go into identity headers. Numbers other than plain decimal integers
    /// are quoted, so that they arrive as written.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub metadata: Members<Free>,
}

/// One of a key's secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a mapping such as {digest: blake3:…}"
)]
pub struct SecretSpec {
    /// The digest of the secret, never the secret.
    #[serde(deserialize_with = "yaml::text")]
    #[schemars(regex(pattern = r"^blake3(-keyed)?:[0-9A-Fa-f]{64}$"))]
    pub digest: String,
    /// Its name in log and metrics, unique among the key's secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,32}$"))]
    pub id: Option<String>,
    /// The first moment at which this secret is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<TimeSpec>,
    /// The first moment at which this secret is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<TimeSpec>,
}

fn enabled() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_enabled(enabled: &bool) -> bool {
    *enabled
}

/// A list that is there: `keys:` with nothing behind it is what a file being written looks like.
fn listed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeySpec>, D::Error> {
    let list = Option::deserialize(deserializer)?;
    list.ok_or_else(|| serde::de::Error::custom("nothing is listed; write [] for no keys"))
}

// === impl KeySpec ===

impl KeySpec {
    /// A key with that id and nothing else, to be filled in: it is not valid before it has a secret.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            client: None,
            secrets: Vec::new(),
            enabled: true,
            revoked_at: None,
            not_before: None,
            expires_at: None,
            plan: None,
            scopes: Vec::new(),
            allow_ips: None,
            allow_hosts: None,
            allow_paths: None,
            allow_methods: None,
            limits: Vec::new(),
            mcp: None,
            metadata: Members::default(),
        }
    }
}

/// Shows nothing: any of its strings may be a secret in the wrong place.
impl fmt::Debug for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySpec(..)")
    }
}

/// Shows how many keys there are.
impl fmt::Debug for KeysSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysSpec({} keys)", self.keys.len())
    }
}

/// Shows nothing: its digest may be a secret in the wrong place.
impl fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSpec(..)")
    }
}

/// What a remote source's record, as JSON, answers to whoever asked for that digest. What depends on a policy is left to
/// [`fits`].
///
/// A text that is no valid record is `Invalid`, with all that is wrong with it by the names of its members, and so is a record
/// that lacks the digest.
pub fn answer(json: &str, asked: &KeyDigest) -> SourceAnswer {
    match from_json(json) {
        Err(invalid) => SourceAnswer::Invalid(invalid),
        Ok(record) if record.secrets.iter().any(|secret| secret.digest == *asked) => {
            SourceAnswer::Found(record)
        }
        Ok(record) => SourceAnswer::Invalid(InvalidRecord::new(format!(
            "key `{}`: secrets: the digest that was asked for is not among them",
            record.id
        ))),
    }
}

/// The record that a text says, but for what only a policy can tell.
fn from_json(json: &str) -> Result<Arc<KeyRecord>, InvalidRecord> {
    read_json(json, |spec, top| spec.check_alone(top, None).map(Arc::new))
}

/// What a text says, its values unchecked, for whoever is to change it.
///
/// # Errors
/// When it is not JSON, or has not the members of a record.
pub(crate) fn spec_from_json(json: &str) -> Result<KeySpec, InvalidRecord> {
    read_json(json, |spec, _| Some(spec))
}

fn read_json<T>(
    json: &str,
    conversion: impl Fn(KeySpec, &yaml::Place<'_>) -> Option<T>,
) -> Result<T, InvalidRecord> {
    let value: serde_json::Value = serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        InvalidRecord::new(format!("not JSON at line {line} column {column}"))
    })?;
    // Which key it is helps whoever mends it, where it says so.
    let id: Option<KeyId> = value.get("id").and_then(|id| id.as_str()?.parse().ok());
    let read = match serde_json::from_str::<Free>(json) {
        // YAML knows no surrogate pairs, which JSON writers are free to use: the text is written anew without them.
        Ok(whole) => number::refuse_changed(&whole.0)
            .and_then(|()| read_alone(&whole.0.to_string(), conversion)),
        // It is JSON all the same, with members that are there twice; the text itself tells which.
        Err(_) => read_alone(json, conversion)
            .and(Err(InvalidRecord::new("a member is there more than once"))),
    };
    read.map_err(|invalid| match id {
        Some(id) => InvalidRecord::new(format!("key `{id}`: {}", invalid.problem)),
        None => invalid,
    })
}

/// The record that a shape made by this program says.
///
/// # Errors
/// When it is not valid; without a policy what only it can tell is not checked.
pub(crate) fn prove(
    spec: &KeySpec,
    policy: Option<&Policy>,
) -> Result<Arc<KeyRecord>, InvalidRecord> {
    let text = serde_json::to_value(spec).unwrap_or_default().to_string();
    read_alone(&text, |spec, top| {
        spec.check_alone(top, policy).map(Arc::new)
    })
}

/// Reads a text that holds one record.
fn read_alone<T>(
    text: &str,
    conversion: impl Fn(KeySpec, &yaml::Place<'_>) -> Option<T>,
) -> Result<T, InvalidRecord> {
    let read = yaml::convert(Path::new("record"), text, conversion);
    read.map_err(|problems| InvalidRecord::new(told(&problems)))
}

/// The problems of a record without file and line, which a remote record does not have.
fn told(problems: &yaml::Problems) -> String {
    let tell = |problem: &yaml::Problem| {
        let path = if problem.path.0.is_empty() {
            String::new()
        } else {
            format!("{}: ", problem.path)
        };
        let help = problem
            .help
            .as_ref()
            .map(|help| format!("; {help}"))
            .unwrap_or_default();
        format!("{path}{}{help}", problem.message)
    };
    problems.iter().map(tell).collect::<Vec<_>>().join(", ")
}
