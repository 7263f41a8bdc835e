//! What the rules say of a request, and whether a valid key may make it.
//!
//! The steps of a decision that look at the route, in the order of the table. Each is reported to
//! the trace as values, in no words.

use super::trace::{Step, StepOutcome, Trace};
use crate::authz::key::{ClientName, KeyRecord, Restrictions};
use crate::authz::path::RequestPath;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::rule::{Access, DefaultAccess, Requirement, Rule, RuleSelection};
use crate::authz::scope::Scope;
use crate::authz::snapshot::Policy;

/// What the rules say of a request, before its key is known.
pub(super) struct Route<'r> {
    pub(super) rule: Option<&'r Rule>,
    pub(super) access: RouteAccess<'r>,
}

/// What the deciding rule, or the default, asks for.
#[derive(PartialEq, Eq)]
pub(super) enum RouteAccess<'r> {
    Anyone,
    Nobody,
    Key(Option<&'r Requirement>),
    /// Refused, but only once the caller has presented a valid key.
    MalformedPath,
}

impl<'r> Route<'r> {
    pub(super) fn select(
        request: &RequestAttributes<'_>,
        path: &mut RequestPath<'_>,
        policy: &'r Policy,
        trace: &mut impl Trace,
    ) -> Self {
        let selection = policy.rules.select(request, path, |rule, mismatch| {
            trace.step(StepOutcome::Noted, Step::RuleSkipped(rule, mismatch));
        });
        let outcome = match selection {
            RuleSelection::Rule(_) | RuleSelection::Default(_) => StepOutcome::Passed,
            // Not the step that refuses: the key comes first.
            RuleSelection::MalformedPath(_) | RuleSelection::UnknownName => StepOutcome::Noted,
        };
        trace.step(outcome, Step::RuleSelected(selection));
        Self::of(selection)
    }

    fn of(selection: RuleSelection<'r>) -> Self {
        match selection {
            RuleSelection::Rule(rule) => Self {
                rule: Some(rule),
                access: match &rule.access {
                    Access::Anyone => RouteAccess::Anyone,
                    Access::Nobody => RouteAccess::Nobody,
                    Access::Key(requirement) => RouteAccess::Key(Some(requirement)),
                },
            },
            RuleSelection::Default(default) => Self {
                rule: None,
                access: match default {
                    DefaultAccess::RequireKey => RouteAccess::Key(None),
                    DefaultAccess::AllowAnyone => RouteAccess::Anyone,
                    DefaultAccess::Deny => RouteAccess::Nobody,
                },
            },
            RuleSelection::MalformedPath(rule) => Self {
                rule: Some(rule),
                access: RouteAccess::MalformedPath,
            },
            RuleSelection::UnknownName => Self {
                rule: None,
                access: RouteAccess::Nobody,
            },
        }
    }

    /// The scopes that a caller would need.
    pub(super) fn scopes_wanted(&self) -> &'r [Scope] {
        match self.access {
            RouteAccess::Key(Some(requirement)) => &requirement.scopes,
            RouteAccess::Key(None)
            | RouteAccess::Anyone
            | RouteAccess::Nobody
            | RouteAccess::MalformedPath => &[],
        }
    }

    /// Whether a valid key may make this request: transport, path, route, the key's own
    /// restrictions, the rule's requirement. A step that has nothing to check is left out.
    ///
    /// All of this comes after the key, although it needs less work than a lookup: a caller without
    /// a valid key learns nothing of routes, and cannot tell a closed route from an open one.
    pub(super) fn check(
        &self,
        record: &KeyRecord,
        request: &RequestAttributes<'_>,
        path: &mut RequestPath<'_>,
        policy: &Policy,
        trace: &mut impl Trace,
    ) -> Result<(), Reason> {
        if policy.require_https {
            let is_https = request.is_https();
            let reason = Reason::InsecureTransport;
            check(trace, is_https, reason, Step::Transport)?;
        }
        let restrictions = record.restrictions.as_deref();
        let key_paths = restrictions.and_then(|restrictions| restrictions.paths.as_deref());
        let is_malformed_for_rule = self.access == RouteAccess::MalformedPath;
        // The path is checked only if something compares it: CONNECT and odd clients have paths
        // that are not plain, and pass where no path matters.
        let path = key_paths.map(|_| path.plain());
        if is_malformed_for_rule || path.is_some() {
            let is_plain = !is_malformed_for_rule && !matches!(path, Some(Err(_)));
            let rule = self.rule.filter(|_| is_malformed_for_rule);
            check(trace, is_plain, Reason::MalformedPath, Step::Path(rule))?;
        }
        let is_open = self.access != RouteAccess::Nobody;
        check(trace, is_open, Reason::RouteDenied, Step::Route(self.rule))?;

        if let Some(restrictions) = restrictions {
            let is_path_allowed = match (key_paths, &path) {
                (Some(patterns), Some(Ok(path))) => {
                    patterns.iter().any(|pattern| pattern.matches(path))
                }
                (Some(_), _) => false,
                (None, _) => true,
            };
            check_restrictions(restrictions, is_path_allowed, request, policy, trace)?;
        }
        match &self.access {
            RouteAccess::Key(Some(requirement)) => {
                check_requirement(requirement, record, policy, trace)
            }
            RouteAccess::Key(None)
            | RouteAccess::Anyone
            | RouteAccess::Nobody
            | RouteAccess::MalformedPath => Ok(()),
        }
    }
}

fn check_restrictions(
    restrictions: &Restrictions,
    is_path_allowed: bool,
    request: &RequestAttributes<'_>,
    policy: &Policy,
    trace: &mut impl Trace,
) -> Result<(), Reason> {
    if restrictions.ips.is_some() {
        let is_allowed = restrictions.allow_ip(policy.client_address.of(request));
        let step = Step::Address(restrictions);
        check(trace, is_allowed, Reason::IpNotAllowed, step)?;
    }
    let is_allowed = restrictions.allow_host(request.host)
        && is_path_allowed
        && restrictions.allow_method(request.method);
    let step = Step::Restrictions(restrictions, is_path_allowed);
    check(trace, is_allowed, Reason::RouteNotAllowed, step)
}

fn check_requirement(
    requirement: &Requirement,
    record: &KeyRecord,
    policy: &Policy,
    trace: &mut impl Trace,
) -> Result<(), Reason> {
    let Requirement { scopes, clients } = requirement;
    if let Some(clients) = clients.as_deref() {
        let mut names = clients.iter().map(ClientName::as_str);
        let is_wanted = names.any(|name| name == record.client());
        let step = Step::Client(record, clients);
        check(trace, is_wanted, Reason::ClientNotAllowed, step)?;
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let are_granted = scopes.iter().all(|scope| policy.plans.grant(record, scope));
    let step = Step::Scopes(record, scopes);
    check(trace, are_granted, Reason::InsufficientScope, step)
}

/// Reports a step to the trace; where it failed, the request is refused for that reason.
fn check(
    trace: &mut impl Trace,
    passed: bool,
    reason: Reason,
    step: Step<'_>,
) -> Result<(), Reason> {
    trace.step(StepOutcome::of(passed), step);
    if passed { Ok(()) } else { Err(reason) }
}
