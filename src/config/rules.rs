//! Checks rules and plans, and turns them into the types that decide requests.
//!
//! A rule must say what it requires: one that names neither `allow` nor `require` is refused, since
//! a file that was cut short may have lost it.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use super::NOT_SUPPORTED_YET;
use super::spec::{AllowSpec, MatchSpec, PlanSpec, RequireSpec, RuleSpec};
use crate::authz::key::PlanName;
use crate::authz::rule::{Access, RequestMatch, Requirement, Rule};
use crate::authz::scope::Scope;
use crate::authz::snapshot::Plan;
use crate::yaml::{FieldPath, Members};

/// Longest name of a rule in bytes: every log line of a decision has it.
const MAX_NAME_BYTES: usize = 128;

/// The plans by name.
pub(super) fn check_plans(
    specs: &Members<PlanSpec>,
    at: &FieldPath<'_>,
) -> Option<BTreeMap<PlanName, Plan>> {
    let before = at.problems_so_far();
    let mut plans = BTreeMap::new();
    for (name, spec) in specs.iter() {
        let here = at.field(name);
        let checked = here.name().note(name.parse::<PlanName>());
        let scopes = list::<Scope>(&spec.scopes, &here.field("scopes"));
        if !spec.limits.is_empty() {
            here.field("limits")
                .problem_with_help(NOT_SUPPORTED_YET, "leave `limits` out");
        }
        if spec.mcp.is_some() {
            here.field("mcp")
                .problem_with_help(NOT_SUPPORTED_YET, "leave `mcp` out");
        }
        plans.extend(
            checked
                .zip(scopes)
                .map(|(name, scopes)| (name, Plan { scopes })),
        );
    }
    (at.problems_so_far() == before).then_some(plans)
}

/// The rules in order.
pub(super) fn check(specs: &[RuleSpec], at: &FieldPath<'_>) -> Option<Vec<Rule>> {
    let before = at.problems_so_far();
    let mut first_of_name = HashMap::new();
    let mut rules = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let here = at.index(index);
        check_name(&spec.name, &here.field("name"));
        let first = *first_of_name.entry(spec.name.as_str()).or_insert(index);
        if first != index {
            here.field("name").problem_with_help(
                format!("rules[{first}] has this name too"),
                "give each rule its own",
            );
        }
        let matches = match &spec.matches {
            Some(matches) => check_match(matches, &here.field("match")).ok(),
            None => Some(RequestMatch::default()),
        };
        let access = check_access(spec, &here);
        rules.extend(matches.zip(access).map(|(matches, access)| Rule {
            name: spec.name.as_str().into(),
            matches,
            access,
        }));
    }
    (at.problems_so_far() == before).then_some(rules)
}

pub(super) fn check_name(name: &str, at: &FieldPath<'_>) {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        at.problem(format!(
            "a rule's name has 1 to {MAX_NAME_BYTES} bytes and no control characters"
        ));
    }
}

fn check_access(spec: &RuleSpec, at: &FieldPath<'_>) -> Option<Access> {
    if spec.mcp.is_some() {
        at.field("mcp")
            .problem_with_help(NOT_SUPPORTED_YET, "write `require: {}` for any valid key");
    }
    if spec.cost.is_some_and(|cost| cost != 1) {
        at.field("cost")
            .problem_with_help(NOT_SUPPORTED_YET, "leave `cost` out");
    }
    match (spec.allow, &spec.require) {
        (_, None) if spec.mcp.is_some() => None,
        (Some(AllowSpec::Anyone), None) => Some(Access::Anyone),
        (Some(AllowSpec::Nobody), None) => Some(Access::Nobody),
        (None, Some(require)) => check_require(require, &at.field("require"))
            .ok()
            .map(Access::Key),
        (Some(_), Some(_)) => {
            at.problem_with_help(
                "both `allow` and `require`",
                "keep one: `allow` asks for no key",
            );
            None
        }
        (None, None) => {
            at.problem_with_help(
                "the rule does not say what it wants",
                "write `require: {}` for any valid key, `allow: anyone` or `allow: nobody`",
            );
            None
        }
    }
}

fn check_require(spec: &RequireSpec, at: &FieldPath<'_>) -> Result<Requirement, Noted> {
    let scopes = optional_list(spec.scopes.as_deref(), &at.field("scopes"));
    let clients = optional_list(spec.clients.as_deref(), &at.field("clients"));
    Ok(Requirement {
        scopes: scopes?.unwrap_or_default(),
        clients: clients?,
    })
}

fn check_match(spec: &MatchSpec, at: &FieldPath<'_>) -> Result<RequestMatch, Noted> {
    let hosts = optional_list(spec.hosts.as_deref(), &at.field("hosts"));
    let paths = optional_list(spec.paths.as_deref(), &at.field("paths"));
    let methods = optional_list(spec.methods.as_deref(), &at.field("methods"));
    Ok(RequestMatch {
        hosts: hosts?,
        paths: paths?,
        methods: methods?,
    })
}

/// The problem is noted at its field.
struct Noted;

/// A list whose absence means any and that is never empty.
fn optional_list<T>(texts: Option<&[String]>, at: &FieldPath<'_>) -> Result<Option<Box<[T]>>, Noted>
where
    T: FromStr<Err: std::error::Error>,
{
    match texts {
        None => Ok(None),
        Some([]) => {
            at.problem_with_help("the list is empty", "leave it out for any");
            Err(Noted)
        }
        Some(texts) => list(texts, at).map(Some).ok_or(Noted),
    }
}

fn list<T>(texts: &[String], at: &FieldPath<'_>) -> Option<Box<[T]>>
where
    T: FromStr<Err: std::error::Error>,
{
    let checked: Vec<_> = texts
        .iter()
        .enumerate()
        .filter_map(|(index, text)| at.index(index).note(text.parse()))
        .collect();
    (checked.len() == texts.len()).then(|| checked.into())
}
