//! Rules: what a request must present, by host, path and method. The first that matches decides.
//!
//! Hosts and methods are compared first and paths only if those match, so that a path that is not
//! plain is refused only where the decision depends on it. A rule that opens compares hosts and
//! methods strictly, one that restricts compares them broadly.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::HostPattern;
use super::key::ClientName;
use super::method::Method;
use super::path::{NotPlain, PathPattern, RequestPath};
use super::request::RequestAttributes;
use super::scope::Scope;

/// What a rule requires of the requests that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// No key is needed.
    Anyone,
    /// Every request is refused.
    Nobody,
    /// A key that satisfies the requirement.
    Key(Requirement),
}

/// What a rule requires of a key; empty accepts any valid key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirement {
    /// All of them must be granted to the key.
    pub scopes: Box<[Scope]>,
    /// The key's client must be one of them; `None` accepts any client.
    pub clients: Option<Box<[ClientName]>>,
}

/// Which requests a rule is for; an absent list is any, and a list is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestMatch {
    /// Hosts.
    pub hosts: Option<Box<[HostPattern]>>,
    /// Paths.
    pub paths: Option<Box<[PathPattern]>>,
    /// Methods; a rule that opens compares case too, one that restricts does not.
    pub methods: Option<Box<[Method]>>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name in logs and metadata, and for `keyward.rule`; unique.
    pub name: Box<str>,
    /// Which requests it is for.
    pub matches: RequestMatch,
    /// What it requires of them.
    pub access: Access,
}

/// Decides requests that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultAccess {
    /// Any valid key passes.
    #[default]
    RequireKey,
    /// No key is needed.
    AllowAnyone,
    /// Every request is refused.
    Deny,
}

/// The rule that decides a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSelection<'r> {
    /// This one.
    Rule(&'r Rule),
    /// None matches.
    Default(DefaultAccess),
    /// A rule with paths was reached and the request's path is not plain.
    MalformedPath(&'r Rule),
    /// The Envoy route names a rule that does not exist.
    UnknownName,
}

/// Why a rule does not match; for `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The host is none of the rule's.
    Host,
    /// The method is none of the rule's.
    Method,
    /// The path is none of the rule's.
    Path,
}

/// The rules in order, and what holds when none matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// In the order in which they are tried; names are unique.
    pub list: Box<[Rule]>,
    /// For requests that none matches.
    pub default: DefaultAccess,
}

impl Rules {
    /// The rule that decides. `path` is the request's; `skipped` is called with each rule that does
    /// not match, and why.
    pub fn select(
        &self,
        request: &RequestAttributes<'_>,
        path: &mut RequestPath<'_>,
        mut skipped: impl FnMut(&Rule, Mismatch),
    ) -> RuleSelection<'_> {
        if let Some(name) = request.rule {
            let named = self.list.iter().find(|rule| rule.name.as_bytes() == name);
            return named.map_or(RuleSelection::UnknownName, RuleSelection::Rule);
        }
        for rule in &self.list {
            if let Some(mismatch) = rule.mismatch_but_for_path(request) {
                skipped(rule, mismatch);
                continue;
            }
            let Some(patterns) = &rule.matches.paths else {
                return RuleSelection::Rule(rule);
            };
            match path.plain() {
                Err(NotPlain) => return RuleSelection::MalformedPath(rule),
                Ok(plain) if patterns.iter().any(|pattern| pattern.matches(plain)) => {
                    return RuleSelection::Rule(rule);
                }
                Ok(_) => skipped(rule, Mismatch::Path),
            }
        }
        RuleSelection::Default(self.default)
    }
}

impl Rule {
    fn mismatch_but_for_path(&self, request: &RequestAttributes<'_>) -> Option<Mismatch> {
        let host_fits = |host: &HostPattern| match self.access {
            Access::Anyone => host.matches_strictly(request.host),
            Access::Nobody | Access::Key(_) => host.matches_broadly(request.host),
        };
        let RequestMatch { hosts, methods, .. } = &self.matches;
        if hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.iter().any(host_fits))
        {
            return Some(Mismatch::Host);
        }
        // Methods are case-sensitive (RFC 9110 section 9.1), but over HTTP/2 Envoy forwards `post`,
        // and some upstreams treat it as `POST`.
        let method_fits = |method: &Method| match self.access {
            Access::Anyone => method.as_bytes() == request.method,
            Access::Nobody | Access::Key(_) => {
                method.as_bytes().eq_ignore_ascii_case(request.method)
            }
        };
        methods
            .as_deref()
            .is_some_and(|methods| !methods.iter().any(method_fits))
            .then_some(Mismatch::Method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::request::Headers;

    fn rule(name: &str, access: Access, hosts: &[&str], paths: &[&str], methods: &[&str]) -> Rule {
        fn list<T>(items: &[&str], parse: impl Fn(&str) -> T) -> Option<Box<[T]>> {
            (!items.is_empty()).then(|| items.iter().map(|item| parse(item)).collect())
        }
        let matches = RequestMatch {
            hosts: list(hosts, |host| host.parse().unwrap()),
            paths: list(paths, |path| path.parse().unwrap()),
            methods: list(methods, |method| method.parse().unwrap()),
        };
        Rule {
            name: name.into(),
            matches,
            access,
        }
    }

    fn chosen(rules: &Rules, method: &str, host: &str, target: &str, name: Option<&str>) -> String {
        let request = RequestAttributes {
            method: method.as_bytes(),
            host: host.as_bytes(),
            target: target.as_bytes(),
            scheme: b"https",
            headers: Headers::default(),
            peer: None,
            rule: name.map(str::as_bytes),
        };
        match rules.select(&request, &mut RequestPath::of(&request), |_, _| {}) {
            RuleSelection::Rule(rule) => rule.name.to_string(),
            RuleSelection::Default(access) => format!("{access:?}"),
            RuleSelection::MalformedPath(rule) => format!("malformed at {}", rule.name),
            RuleSelection::UnknownName => "unknown".to_owned(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let any_key = || Access::Key(Requirement::default());
        let rules = Rules {
            list: [
                rule("post", any_key(), &[], &[], &["POST"]),
                rule(
                    "public",
                    Access::Anyone,
                    &["www.example.com"],
                    &["/public/**"],
                    &[],
                ),
                rule(
                    "internal",
                    Access::Nobody,
                    &["www.example.com"],
                    &[],
                    &["TRACE"],
                ),
                rule("read", Access::Anyone, &["read"], &[], &["GET"]),
                rule("admin", any_key(), &[], &["/admin/**"], &["GET"]),
            ]
            .into(),
            default: DefaultAccess::RequireKey,
        };
        for (method, host, target, name, expected) in [
            ("POST", "h", "/public/../x", None, "post"),
            ("GET", "www.example.com", "/public/a?q=1", None, "public"),
            ("GET", "www.example.com:80", "/public/a", None, "RequireKey"),
            (
                "GET",
                "www.example.com",
                "/public/%2e%2e/a",
                None,
                "malformed at public",
            ),
            ("GET", "h", "/public/../a", None, "malformed at admin"),
            ("PUT", "h", "/public/../a", None, "RequireKey"),
            ("TRACE", "www.example.com.:80", "/x", None, "internal"),
            ("GET", "h", "/admin", None, "admin"),
            ("get", "h", "/admin", None, "admin"),
            ("pOst", "h", "/", None, "post"),
            ("trace", "www.example.com", "/x", None, "internal"),
            ("GET", "read", "/x", None, "read"),
            ("get", "read", "/x", None, "RequireKey"),
            ("CONNECT", "h:443", "", None, "RequireKey"),
            ("GET", "h", "/x", Some("internal"), "internal"),
            ("GET", "h", "/../x", Some("admin"), "admin"),
            ("POST", "h", "/x", Some("nope"), "unknown"),
            ("POST", "h", "/x", Some(""), "unknown"),
        ] {
            assert_eq!(
                chosen(&rules, method, host, target, name),
                expected,
                "{method} {host} {target} {name:?}"
            );
        }
    }
}
