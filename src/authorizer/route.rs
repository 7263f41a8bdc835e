//! What the rules say of a request, and whether a valid key may make it.
//!
//! The steps of a decision that look at the route, in its order. Each is told to the trace with what it
//! looked at; nothing is described where nobody listens.

use jiff::Timestamp;

use super::trace::{Step, Trace};
use super::wording;
use crate::authz::key::{KeyRecord, Secret};
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
    /// To be refused once the caller has shown a valid key.
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
            trace.noted(Step::Rule, || wording::passed_over(rule, mismatch, request));
        });
        let seen = || wording::selection(selection, request);
        match selection {
            RuleSelection::Rule(_) | RuleSelection::Default(_) => trace.passed(Step::Rule, seen),
            // Not the step that refuses: the key comes first.
            RuleSelection::MalformedPath(_) | RuleSelection::UnknownName => {
                trace.noted(Step::Rule, seen)
            }
        }
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
}

/// Whether the key counts now.
pub(super) fn check_validity(
    record: &KeyRecord,
    secret: Option<&Secret>,
    now: Timestamp,
    trace: &mut impl Trace,
) -> Result<(), (Reason, Option<Timestamp>)> {
    match record.check(secret, now) {
        Ok(()) => {
            trace.passed(Step::Validity, || wording::valid(record, secret, now));
            Ok(())
        }
        Err(not_valid) => {
            trace.failed(Step::Validity, || {
                wording::not_valid(not_valid, secret, now)
            });
            Err((not_valid.reason, not_valid.moment))
        }
    }
}

/// Whether a valid key may make this request: transport, path, route, address, the key's own restrictions, client, scopes.
///
/// A step that has nothing to look at is not told.
pub(super) fn check_route(
    route: &Route<'_>,
    record: &KeyRecord,
    request: &RequestAttributes<'_>,
    path: &mut RequestPath<'_>,
    policy: &Policy,
    trace: &mut impl Trace,
) -> Result<(), Reason> {
    let mut step = |step, passed: bool, reason, seen: &dyn Fn() -> String| {
        if passed {
            trace.passed(step, seen);
            return Ok(());
        }
        trace.failed(step, seen);
        Err(reason)
    };
    if policy.require_https {
        let is_https = request.is_https();
        step(
            Step::Transport,
            is_https,
            Reason::InsecureTransport,
            &|| wording::transport(is_https, request),
        )?;
    }
    let restrictions = record.restrictions.as_deref();
    let key_paths = restrictions.and_then(|restrictions| restrictions.paths.as_deref());
    let path = key_paths.map(|_| path.plain());
    let malformed_for_rule = route.access == RouteAccess::MalformedPath;
    if malformed_for_rule || path.is_some() {
        let plain = !malformed_for_rule && !matches!(path, Some(Err(_)));
        step(Step::Path, plain, Reason::MalformedPath, &|| {
            wording::path(plain, route.rule.filter(|_| malformed_for_rule), request)
        })?;
    }
    let open = route.access != RouteAccess::Nobody;
    step(Step::Route, open, Reason::RouteDenied, &|| {
        wording::route(open, route.rule, request)
    })?;

    if let Some(restrictions) = restrictions {
        if restrictions.ips.is_some() {
            let address = policy.client_address.of(request);
            let allowed = restrictions.allow_ip(address);
            step(Step::Address, allowed, Reason::IpNotAllowed, &|| {
                wording::address(allowed, restrictions, request, policy.client_address)
            })?;
        }
        let path_allowed = match (key_paths, &path) {
            (Some(patterns), Some(Ok(path))) => {
                patterns.iter().any(|pattern| pattern.matches(path))
            }
            (Some(_), _) => false,
            (None, _) => true,
        };
        let allowed = restrictions.allow_host(request.host)
            && path_allowed
            && restrictions.allow_method(request.method);
        step(
            Step::Restrictions,
            allowed,
            Reason::RouteNotAllowed,
            &|| wording::restrictions(restrictions, path_allowed, request),
        )?;
    }

    let RouteAccess::Key(Some(Requirement { scopes, clients })) = &route.access else {
        return Ok(());
    };
    if let Some(clients) = clients.as_deref() {
        let wanted = clients
            .iter()
            .any(|client| client.as_str() == record.client());
        step(Step::Client, wanted, Reason::ClientNotAllowed, &|| {
            wording::client(wanted, record, clients)
        })?;
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let granted = |wanted: &Scope| policy.plans.grant(record, wanted);
    step(
        Step::Scopes,
        scopes.iter().all(granted),
        Reason::InsufficientScope,
        &|| wording::scopes(scopes, record, policy),
    )
}
