//! What of a record depends on the policy: whether its plan exists, whether its digests are looked
//! up, and whether identity headers can carry its values.
//!
//! A file's record is checked for it when the file is loaded. A remote record is checked under each
//! policy that uses it, since it outlives reloads.

use super::super::source::InvalidRecord;
use crate::authz::digest::DigestKind;
use crate::authz::identity::{IdentityField, InvalidIdentity};
use crate::authz::key::{KeyRecord, PlanName};
use crate::authz::snapshot::Policy;

/// How many names are listed where one was not found.
const LISTED_NAMES: usize = 5;

pub(super) const NO_SUCH_PLAN: &str = "there is no such plan";

/// Whether the record can be used under that policy.
///
/// # Errors
/// The first thing that stands against it, by the name of its member.
pub fn check_policy(record: &KeyRecord, policy: &Policy) -> Result<(), InvalidRecord> {
    policy_problem(record, policy).map_or(Ok(()), |problem| {
        Err(InvalidRecord::new(format!(
            "key `{}`: {problem}",
            record.id
        )))
    })
}

fn policy_problem(record: &KeyRecord, policy: &Policy) -> Option<String> {
    for secret in &record.secrets {
        if let Err((problem, help)) = accepts(policy, secret.digest.kind()) {
            return Some(format!("secrets: {problem}; {help}"));
        }
    }
    if let Some(plan) = &record.plan
        && let Err(help) = has_plan(policy, plan)
    {
        return Some(format!("plan: {NO_SUCH_PLAN}; {help}"));
    }
    let invalid = policy.identity.check(record, &policy.plans).err()?;
    Some(match field_of(&invalid) {
        Some(field) => format!("{field}: {invalid}"),
        None => invalid.to_string(),
    })
}

fn field_of(invalid: &InvalidIdentity) -> Option<String> {
    let field = match invalid {
        InvalidIdentity::Characters(field) | InvalidIdentity::Long(field) => field,
        InvalidIdentity::LongTogether => return None,
    };
    Some(match field {
        IdentityField::Id => "id".to_owned(),
        IdentityField::Client => "client".to_owned(),
        IdentityField::Scopes => "scopes".to_owned(),
        IdentityField::Plan => "plan".to_owned(),
        IdentityField::Metadata(name) => format!("metadata.{name}"),
    })
}

/// Whether digests of that kind are looked up; else what is wrong, and what would be right.
pub(super) fn accepts(policy: &Policy, kind: DigestKind) -> Result<(), (String, String)> {
    let accept = policy.digester.accept();
    if accept.contains(&kind) {
        return Ok(());
    }
    let accepted: Vec<_> = accept.iter().map(|kind| format!("`{kind}`")).collect();
    let accepted = accepted.join(" and ");
    Err((
        format!("a digest of kind `{kind}` is never looked up"),
        format!("the configuration's `digest.accept` names {accepted}"),
    ))
}

/// Whether there is such a plan; else which ones there are.
pub(super) fn has_plan(policy: &Policy, name: &PlanName) -> Result<(), String> {
    if policy.plans.0.contains_key(name) {
        return Ok(());
    }
    let mut known: Vec<&str> = policy.plans.0.keys().map(PlanName::as_str).collect();
    // The nearest first: it is the one that was meant, most likely.
    known.sort_by_key(|plan| strsim::damerau_levenshtein(plan, name.as_str()));
    known.truncate(LISTED_NAMES);
    if known.is_empty() {
        return Err("the configuration has no plans".to_owned());
    }
    let named: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    Err(format!("the configuration has {}", named.join(", ")))
}
