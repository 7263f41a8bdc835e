//! What the rules say of a request, and whether a valid key may make it.
//!
//! The steps of section 5 of the contract that look at the route, in its order. Each is told to the trace with what it
//! looked at; nothing is described where nobody listens.

use jiff::Timestamp;

use super::trace::{Step, Trace};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{ClientName, KeyRecord};
use crate::authz::path::PlainPath;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::rule::{Access, Choice, DefaultAccess, Mismatch, Requirement, Rule};
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
    pub(super) fn choose(
        request: &RequestAttributes<'_>,
        policy: &'r Policy,
        trace: &mut impl Trace,
    ) -> Self {
        let choice = policy.rules.choose(request, |rule, mismatch| {
            trace.noted(Step::Rule, || {
                format!("rule {} does not match the {}", rule.name, part(mismatch))
            });
        });
        trace.passed(Step::Rule, || describe(choice));
        Self::of(choice)
    }

    fn of(choice: Choice<'r>) -> Self {
        match choice {
            Choice::Rule(rule) => Self {
                rule: Some(rule),
                access: match &rule.access {
                    Access::Anyone => RouteAccess::Anyone,
                    Access::Nobody => RouteAccess::Nobody,
                    Access::Key(requirement) => RouteAccess::Key(Some(requirement)),
                },
            },
            Choice::Default(default) => Self {
                rule: None,
                access: match default {
                    DefaultAccess::RequireKey => RouteAccess::Key(None),
                    DefaultAccess::AllowAnyone => RouteAccess::Anyone,
                    DefaultAccess::Deny => RouteAccess::Nobody,
                },
            },
            Choice::MalformedPath(rule) => Self {
                rule: Some(rule),
                access: RouteAccess::MalformedPath,
            },
            Choice::UnknownName => Self {
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
pub(super) fn judge_key(
    record: &KeyRecord,
    digest: &KeyDigest,
    now: Timestamp,
    trace: &mut impl Trace,
) -> Result<(), (Reason, Option<Timestamp>)> {
    match record.judge(digest, now) {
        Ok(()) => {
            trace.passed(Step::Validity, || {
                format!("key and secret are valid at {now}")
            });
            Ok(())
        }
        Err(not_valid) => {
            trace.failed(Step::Validity, || match not_valid.moment {
                Some(moment) => {
                    format!("{} since or until {moment}; it is {now}", not_valid.reason)
                }
                None => not_valid.reason.to_string(),
            });
            Err((not_valid.reason, not_valid.moment))
        }
    }
}

/// Whether a valid key may make this request: path, route, address, the key's own restrictions, client, scopes.
pub(super) fn judge_route(
    route: &Route<'_>,
    record: &KeyRecord,
    request: &RequestAttributes<'_>,
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
    let restrictions = record.restrictions.as_deref();
    let key_paths = restrictions.and_then(|restrictions| restrictions.paths.as_deref());
    let path = key_paths.map(|_| PlainPath::judge(request.path()));
    let plain = route.access != RouteAccess::MalformedPath && !matches!(path, Some(Err(_)));
    step(Step::Path, plain, Reason::MalformedPath, &|| {
        let path = request.path().escape_ascii();
        format!(
            "{path} {}",
            if plain {
                "may be compared"
            } else {
                "is not plain"
            }
        )
    })?;
    step(
        Step::Route,
        route.access != RouteAccess::Nobody,
        Reason::RouteDenied,
        &|| match route.access {
            RouteAccess::Nobody => "nobody may pass".to_owned(),
            RouteAccess::Anyone | RouteAccess::Key(_) | RouteAccess::MalformedPath => {
                "open to keys".to_owned()
            }
        },
    )?;

    if let Some(restrictions) = restrictions {
        let address = policy.client_address.of(request);
        step(
            Step::Address,
            restrictions.allow_ip(address),
            Reason::IpNotAllowed,
            &|| {
                let address =
                    address.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
                format!(
                    "{address}; the key allows {}",
                    list(restrictions.ips.as_deref())
                )
            },
        )?;
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
            &|| {
                format!(
                    "{} {}{}; the key allows hosts {}, paths {}, methods {}",
                    request.method.escape_ascii(),
                    request.host.escape_ascii(),
                    request.path().escape_ascii(),
                    list(restrictions.hosts.as_deref()),
                    list(key_paths),
                    list(restrictions.methods.as_deref())
                )
            },
        )?;
    }

    let RouteAccess::Key(Some(Requirement { scopes, clients })) = &route.access else {
        return Ok(());
    };
    let is_wanted = |clients: &[ClientName]| {
        clients
            .iter()
            .any(|client| client.as_str() == record.client())
    };
    step(
        Step::Client,
        clients.as_deref().is_none_or(is_wanted),
        Reason::ClientNotAllowed,
        &|| {
            format!(
                "the key stands for {}; the rule wants {}",
                record.client(),
                list(clients.as_deref())
            )
        },
    )?;
    let granted = |wanted: &Scope| policy.plans.scopes_of(record).any(|scope| scope == wanted);
    step(
        Step::Scopes,
        scopes.iter().all(granted),
        Reason::InsufficientScope,
        &|| {
            let granted: Vec<_> = policy.plans.scopes_of(record).map(Scope::as_str).collect();
            format!(
                "the key has [{}]; the rule wants {}",
                granted.join(", "),
                list(Some(scopes))
            )
        },
    )
}

fn list<T: ToString>(items: Option<&[T]>) -> String {
    items.map_or_else(
        || "any".to_owned(),
        |items| {
            format!(
                "[{}]",
                items
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        },
    )
}

fn part(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Host => "host",
        Mismatch::Method => "method",
        Mismatch::Path => "path",
    }
}

fn describe(choice: Choice<'_>) -> String {
    match choice {
        Choice::Rule(rule) => format!("rule {} decides", rule.name),
        Choice::Default(DefaultAccess::RequireKey) => {
            "no rule matches, the default is require-key".to_owned()
        }
        Choice::Default(DefaultAccess::AllowAnyone) => {
            "no rule matches, the default is allow-anyone".to_owned()
        }
        Choice::Default(DefaultAccess::Deny) => "no rule matches, the default is deny".to_owned(),
        Choice::MalformedPath(rule) => {
            format!("rule {} has paths, and the path is not plain", rule.name)
        }
        Choice::UnknownName => "the Envoy route names a rule that does not exist".to_owned(),
    }
}
