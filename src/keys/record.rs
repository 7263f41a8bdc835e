//! A key's record as it is written: in a keys file, in an answer of a remote source, in Redis.
//!
//! All three have one shape, and unknown and repeated members are errors. `check` turns it into a
//! `KeyRecord`. Nothing here prints a value that was read: a secret may have been pasted where its
//! digest, or anything else, belongs.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{InvalidRecord, SourceAnswer};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::units::TimeSpec;
use crate::yaml::{self, Free, JsonError, Members, absent, given_texts};

mod check;
mod policy;
pub mod schema;

pub use policy::check_policy;

#[cfg(test)]
pub(crate) mod tests;

/// A keys file.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "keyward keys file")]
pub struct KeysSpec {
    /// The keys; `[]` for none.
    #[serde(deserialize_with = "yaml::mappings")]
    pub keys: Vec<KeySpec>,
}

/// Some keys of a file.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct KeyList(#[serde(deserialize_with = "yaml::mappings")] pub(super) Vec<KeySpec>);

/// A key's record.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"id": "invoices-bot", "secrets": [{"digest": "blake3:…"}]}]))]
pub struct KeySpec {
    /// The key's public name, unique among all keys; it survives rotation.
    #[serde(deserialize_with = "yaml::text")]
    pub id: String,
    /// The client that uses the key; the id if absent.
    #[serde(skip_serializing_if = "absent")]
    pub client: Option<String>,
    /// The digests of its secrets, at least one.
    #[serde(deserialize_with = "yaml::mappings")]
    pub secrets: Vec<SecretSpec>,
    /// `false` disables the key.
    #[serde(default = "enabled", skip_serializing_if = "is_enabled")]
    pub enabled: bool,
    /// When the key was revoked; it is refused permanently.
    #[serde(skip_serializing_if = "absent")]
    pub revoked_at: Option<TimeSpec>,
    /// The time from which the key is valid.
    #[serde(skip_serializing_if = "absent")]
    pub not_before: Option<TimeSpec>,
    /// The time at which the key expires.
    #[serde(skip_serializing_if = "absent")]
    pub expires_at: Option<TimeSpec>,
    /// The key's plan, one of the configuration's.
    #[serde(skip_serializing_if = "absent")]
    pub plan: Option<String>,
    /// Scopes, added to the plan's.
    #[serde(
        default,
        deserialize_with = "yaml::texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub scopes: Vec<String>,
    /// Networks or addresses from which the key may be used; absent: any.
    #[serde(
        default,
        deserialize_with = "given_texts",
        skip_serializing_if = "absent"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_ips: Option<Vec<String>>,
    /// Hosts for which the key may be used; absent: any.
    #[serde(
        default,
        deserialize_with = "given_texts",
        skip_serializing_if = "absent"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_hosts: Option<Vec<String>>,
    /// Paths for which the key may be used; absent: any.
    #[serde(
        default,
        deserialize_with = "given_texts",
        skip_serializing_if = "absent"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_paths: Option<Vec<String>>,
    /// Methods for which the key may be used, case-sensitive; absent: any.
    #[serde(
        default,
        deserialize_with = "given_texts",
        skip_serializing_if = "absent"
    )]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow_methods: Option<Vec<String>>,
    /// Limits; only an empty list is supported yet.
    #[serde(
        default,
        deserialize_with = "yaml::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub limits: Vec<Free>,
    /// What the key may do in MCP; not supported yet.
    #[serde(skip_serializing_if = "absent")]
    pub mcp: Option<Free>,
    /// Information about the key; scalars can go into identity headers. Quote numbers other than
    /// plain decimal integers, so that they arrive as written.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub metadata: Members<Free>,
}

/// One of a key's secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"digest": "blake3:…"}]))]
pub struct SecretSpec {
    /// The digest of the secret, never the secret.
    #[serde(deserialize_with = "yaml::text")]
    pub digest: String,
    /// Its name in log and metrics, unique among the key's secrets.
    #[serde(skip_serializing_if = "absent")]
    pub id: Option<String>,
    /// The time from which this secret is valid.
    #[serde(skip_serializing_if = "absent")]
    pub not_before: Option<TimeSpec>,
    /// The time at which this secret expires.
    #[serde(skip_serializing_if = "absent")]
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

// === impl KeySpec ===

impl KeySpec {
    /// A key with that id and nothing else, to be filled in: it is not valid before it has a
    /// secret.
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

/// A text that is not one whole JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson {
    /// Where it shows.
    pub position: yaml::Position,
}

/// What a remote source's record, as JSON, answers to a lookup of that digest. What depends on a
/// policy is left to [`check_policy`].
///
/// JSON that is no valid record is `Invalid`, with all that is wrong with it by the names of its
/// members, and so is a record that lacks the digest.
///
/// # Errors
/// When the text is not JSON.
pub fn answer(json: &str, asked: &KeyDigest) -> Result<SourceAnswer, NotJson> {
    let read = read_json(json, |spec: KeySpec, top| {
        spec.check_alone(top, None).map(Arc::new)
    })?;
    Ok(match read {
        Err(invalid) => SourceAnswer::Invalid(invalid),
        Ok(record) if record.secrets.iter().any(|secret| secret.digest == *asked) => {
            SourceAnswer::Found(record)
        }
        Ok(record) => SourceAnswer::Invalid(InvalidRecord::new(format!(
            "key `{}`: secrets: the digest that was asked for is not among them",
            record.id
        ))),
    })
}

/// What a text says, its values unchecked, for a command that is to change it.
///
/// # Errors
/// When it is not JSON, or has not the members of a record.
pub(crate) fn spec_from_json(json: &str) -> Result<KeySpec, InvalidRecord> {
    read_json(json, |spec, _| Some(spec))?
}

/// Validates a record built by this program.
///
/// # Errors
/// When it is not valid; without a policy what only it can tell is not checked.
pub(crate) fn validate(
    spec: &KeySpec,
    policy: Option<&Policy>,
) -> Result<Arc<KeyRecord>, InvalidRecord> {
    // By way of the text, so that what is written is what was validated.
    let text = serde_json::to_string(spec).unwrap_or_default();
    let read = yaml::convert_json(&text, |spec: KeySpec, top| {
        spec.check_alone(top, policy).map(Arc::new)
    });
    read.map_err(|error| match error {
        JsonError::Syntax(position) => NotJson { position }.into(),
        JsonError::Problems { problems, .. } => InvalidRecord::new(without_positions(&problems)),
    })
}

fn read_json<T>(
    json: &str,
    conversion: impl FnOnce(KeySpec, &yaml::FieldPath<'_>) -> Option<T>,
) -> Result<Result<T, InvalidRecord>, NotJson> {
    match yaml::convert_json(json, conversion) {
        Ok(value) => Ok(Ok(value)),
        Err(JsonError::Syntax(position)) => Err(NotJson { position }),
        Err(JsonError::Problems { problems, id }) => {
            // The record's id, where it has one, tells the operator which record to correct.
            let id: Option<KeyId> = id.and_then(|id| id.parse().ok());
            let key = id.map(|id| format!("key `{id}`: ")).unwrap_or_default();
            Ok(Err(InvalidRecord::new(format!(
                "{key}{}",
                without_positions(&problems)
            ))))
        }
    }
}

/// The problems of a record without file and line, which a remote record does not have.
fn without_positions(problems: &yaml::Problems) -> String {
    let tell = |problem: &yaml::Problem| {
        let mut told = problem.message.clone();
        if !problem.path.0.is_empty() {
            told = format!("{}: {told}", problem.path);
        }
        if let Some(help) = &problem.help {
            told = format!("{told}; {help}");
        }
        told
    };
    problems.iter().map(tell).collect::<Vec<_>>().join(", ")
}

impl From<NotJson> for InvalidRecord {
    fn from(NotJson { position }: NotJson) -> Self {
        let (line, column) = (position.line, position.column);
        Self::new(format!("not JSON at line {line} column {column}"))
    }
}
