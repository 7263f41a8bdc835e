//! Checks a record as it is written and turns it into a `KeyRecord`; notes each problem at its
//! field.
//!
//! Messages say what is wrong and what would be right. They repeat nothing that was read, except an
//! address that proved to be one. Without a policy (the `keys` commands on a bare file) three
//! things are not checked: whether the plan exists, whether the kind of digest is looked up, and
//! whether identity headers can carry the values.

use std::collections::HashSet;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::policy::{NO_SUCH_PLAN, accepts, has_plan};
use super::{KeySpec, SecretSpec};
use crate::authz::digest::KeyDigest;
use crate::authz::identity::{IdentityField, InvalidIdentity};
use crate::authz::key::{
    KeyRecord, MetadataValue, PlanName, Restrictions, Secret, SecretId, Validity,
};
use crate::authz::scope::Scope;
use crate::authz::snapshot::Policy;
use crate::units::TimeSpec;
use crate::yaml::FieldPath;

/// The problem of a key without secrets.
pub(super) const NO_SECRET: &str =
    "a key has at least one secret; make one with `keyward keys new`";

impl KeySpec {
    /// Converts to a record and notes every problem at its field. Use the result only if none was
    /// noted. `None` where its id or a digest is wrong.
    pub fn check(&self, at: &FieldPath<'_>, policy: Option<&Policy>) -> Option<KeyRecord> {
        let id = at.field("id").note(self.id.parse());
        let client = self
            .client
            .as_deref()
            .and_then(|text| at.field("client").note(text.parse()));
        let secrets = check_secrets(&self.secrets, &at.field("secrets"), policy);
        let validity = check_validity(at, self.not_before, self.expires_at);
        self.check_overlaps(&validity, &at.field("secrets"));
        let plan = self
            .plan
            .as_deref()
            .and_then(|text| check_plan(text, &at.field("plan"), policy));
        let scopes = check_scopes(&self.scopes, &at.field("scopes"));
        let restrictions = self.check_restrictions(at);
        if !self.limits.is_empty() {
            at.field("limits")
                .problem_with_help("not supported yet", "leave `limits` out");
        }
        if self.mcp.is_some() {
            at.field("mcp")
                .problem_with_help("not supported yet", "leave `mcp` out");
        }
        let record = KeyRecord {
            id: id?,
            client,
            secrets,
            enabled: self.enabled,
            revoked_at: self.revoked_at.map(|time| time.0.into()),
            validity,
            plan,
            scopes,
            restrictions,
            metadata: self
                .metadata
                .iter()
                .map(|(name, value)| (name.into(), metadata_value(&value.0)))
                .collect(),
        };
        if let Some(policy) = policy
            && let Err(invalid) = policy.identity.check(&record, &policy.plans)
        {
            note_identity(&invalid, at);
        }
        (record.secrets.len() == self.secrets.len()).then_some(record)
    }

    /// As [`Self::check`], for a record that stands alone. In a file digests are unique among all
    /// keys, and reported with both places.
    pub(super) fn check_alone(
        &self,
        at: &FieldPath<'_>,
        policy: Option<&Policy>,
    ) -> Option<KeyRecord> {
        let record = self.check(at, policy)?;
        let secrets = at.field("secrets");
        let mut seen = HashSet::with_capacity(record.secrets.len());
        let mut is_valid = true;
        for (index, secret) in record.secrets.iter().enumerate() {
            if !seen.insert(secret.digest) {
                let secret = secrets.index(index);
                let message = "this key has the same digest twice";
                secret
                    .field("digest")
                    .problem_with_help(message, "keep one");
                is_valid = false;
            }
        }
        is_valid.then_some(record)
    }

    /// Notes each secret whose time and the key's have no moment in common.
    fn check_overlaps(&self, key: &Validity, at: &FieldPath<'_>) {
        if is_never(key) {
            return;
        }
        for (index, secret) in self.secrets.iter().enumerate() {
            let own = validity(secret.not_before, secret.expires_at);
            let ends = [key.expires_at, own.expires_at];
            let together = Validity {
                not_before: key.not_before.max(own.not_before),
                expires_at: ends.into_iter().flatten().min(),
            };
            if !is_never(&own) && is_never(&together) {
                at.index(index).problem_with_help(
                    "it is never valid: its time and the key's have no moment in common",
                    "both its and the key's `not_before` and `expires_at` hold",
                );
            }
        }
    }

    fn check_restrictions(&self, at: &FieldPath<'_>) -> Option<Box<Restrictions>> {
        let restrictions = Restrictions {
            ips: check_list(
                self.allow_ips.as_deref(),
                &at.field("allow_ips"),
                check_network,
            ),
            hosts: check_list(
                self.allow_hosts.as_deref(),
                &at.field("allow_hosts"),
                note_parsed,
            ),
            paths: check_list(
                self.allow_paths.as_deref(),
                &at.field("allow_paths"),
                note_parsed,
            ),
            methods: check_list(
                self.allow_methods.as_deref(),
                &at.field("allow_methods"),
                note_parsed,
            ),
        };
        (restrictions != Restrictions::default()).then(|| Box::new(restrictions))
    }
}

fn note_parsed<T: FromStr<Err: std::error::Error>>(text: &str, at: &FieldPath<'_>) -> Option<T> {
    at.note(text.parse())
}

fn check_secrets(
    secrets: &[SecretSpec],
    at: &FieldPath<'_>,
    policy: Option<&Policy>,
) -> Box<[Secret]> {
    if secrets.is_empty() {
        at.problem(NO_SECRET);
    }
    let mut ids = HashSet::new();
    let check = |(index, secret): (usize, &SecretSpec)| {
        let at = at.index(index);
        let digest: Option<KeyDigest> = at.field("digest").note(secret.digest.parse());
        let digest = digest?;
        if let Some(policy) = policy
            && let Err((problem, help)) = accepts(policy, digest.kind())
        {
            at.field("digest").problem_with_help(problem, help);
        }
        let id = secret.id.as_deref().and_then(|id| {
            let at = at.field("id");
            let id: SecretId = at.note(id.parse())?;
            if !ids.insert(id.as_str().to_owned()) {
                at.problem_with_help(
                    "another secret of this key has this id",
                    "give each secret of a key its own, or none",
                );
            }
            Some(Box::new(id))
        });
        Some(Secret {
            digest,
            id,
            validity: check_validity(&at, secret.not_before, secret.expires_at),
        })
    };
    secrets.iter().enumerate().filter_map(check).collect()
}

fn validity(not_before: Option<TimeSpec>, expires_at: Option<TimeSpec>) -> Validity {
    Validity {
        not_before: not_before.map(|time| time.0.into()),
        expires_at: expires_at.map(|time| time.0.into()),
    }
}

fn is_never(validity: &Validity) -> bool {
    let times = validity.not_before.zip(validity.expires_at);
    times.is_some_and(|(first, end)| end <= first)
}

fn check_validity(
    at: &FieldPath<'_>,
    not_before: Option<TimeSpec>,
    expires_at: Option<TimeSpec>,
) -> Validity {
    let validity = validity(not_before, expires_at);
    if is_never(&validity) {
        at.field("expires_at").problem_with_help(
            "it expires before it begins",
            "`expires_at` is after `not_before`",
        );
    }
    validity
}

fn check_plan(text: &str, at: &FieldPath<'_>, policy: Option<&Policy>) -> Option<PlanName> {
    let name: PlanName = at.note(text.parse())?;
    if let Some(policy) = policy
        && let Err(help) = has_plan(policy, &name)
    {
        at.problem_with_help(NO_SUCH_PLAN, help);
        return None;
    }
    Some(name)
}

fn check_scopes(texts: &[String], at: &FieldPath<'_>) -> Box<[Scope]> {
    let mut seen = HashSet::with_capacity(texts.len());
    let mut scopes = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let scope: Option<Scope> = at.index(index).note(text.parse());
        // A scope named twice says the same, and goes upstream once.
        scopes.extend(scope.filter(|_| seen.insert(text)));
    }
    scopes.into()
}

/// The items of a list that narrows what a key may do. Absent is any; an empty one would read like
/// any and mean none.
fn check_list<T>(
    list: Option<&[String]>,
    at: &FieldPath<'_>,
    check: impl Fn(&str, &FieldPath<'_>) -> Option<T>,
) -> Option<Box<[T]>> {
    let list = list?;
    if list.is_empty() {
        at.problem_with_help("the list is empty", "leave it out for any");
    }
    let items = list.iter().enumerate();
    Some(
        items
            .filter_map(|(index, text)| check(text, &at.index(index)))
            .collect(),
    )
}

/// A network, or a single address for the network that holds it alone.
pub(super) fn check_network(text: &str, at: &FieldPath<'_>) -> Option<IpNet> {
    let Some(net) = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()
    else {
        at.problem_with_help(
            "not a network or an address",
            "write one such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
        );
        return None;
    };
    if net != net.trunc() {
        at.problem_with_help(
            "the address has bits beyond the length of its network",
            format!(
                "write {} for the network, or {} for the one address",
                net.trunc(),
                net.addr()
            ),
        );
        return None;
    }
    // Addresses of clients are compared in their short form, so that a mapped network would match
    // nobody.
    if let (IpAddr::V6(address), Some(length)) = (net.addr(), net.prefix_len().checked_sub(96))
        && let Some(short) = address.to_ipv4_mapped()
    {
        at.problem_with_help(
            "an IPv4 network written as IPv6 matches nobody",
            format!("write {short}/{length}"),
        );
        return None;
    }
    Some(net)
}

fn metadata_value(value: &serde_json::Value) -> MetadataValue {
    use serde_json::Value;
    match value {
        Value::String(text) => MetadataValue::Scalar(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => MetadataValue::Scalar(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => MetadataValue::Structured,
    }
}

fn note_identity(invalid: &InvalidIdentity, at: &FieldPath<'_>) {
    let message = invalid.to_string();
    let field = match invalid {
        InvalidIdentity::Characters(field) | InvalidIdentity::Long(field) => Some(field),
        InvalidIdentity::LongTogether => None,
    };
    match field {
        None => at.problem(message),
        Some(IdentityField::Id) => at.field("id").problem(message),
        Some(IdentityField::Client) => at.field("client").problem(message),
        Some(IdentityField::Scopes) => at.field("scopes").problem(message),
        Some(IdentityField::Plan) => at.field("plan").problem(message),
        Some(IdentityField::Metadata(name)) => at.field("metadata").field(name).problem(message),
    }
}
