//! The texts of `explain`'s steps: what was compared, what was wanted, what is lacking.
//!
//! They name members as the configuration and the keys file do, so that the operator knows where to
//! look next, and never show a query or a credential header, which hold secrets.

use jiff::Timestamp;

use super::hints;
use crate::authorizer::trace::{Step, StepOutcome};
use crate::authz::key::{ClientName, KeyNotValid, KeyRecord, Restrictions, Secret, Validity};
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::rule::{Access, DefaultAccess, Mismatch, Requirement, Rule, RuleSelection};
use crate::authz::scope::Scope;
use crate::authz::snapshot::{ClientAddress, Policy};

/// What a path has to be before it can be compared.
const PLAIN: &str = "a plain path begins with `/` and has no `.`, `..` or empty segment, no backslash, `;`, `#`, \
    control or non-ASCII byte, no percent-encoded `.`, `/`, `\\`, `;`, `%` or control byte, and is UTF-8 when decoded";

/// Puts the steps of one decision into words.
#[derive(Debug)]
pub(super) struct Wording<'e> {
    pub(super) request: &'e RequestAttributes<'e>,
    pub(super) policy: &'e Policy,
}

impl Wording<'_> {
    /// The step's name, and what it looked at.
    pub(super) fn of(&self, outcome: StepOutcome, step: Step<'_>) -> (&'static str, String) {
        let passed = outcome == StepOutcome::Passed;
        match step {
            Step::RuleSkipped(rule, mismatch) => ("rule", self.rule_skipped(rule, mismatch)),
            Step::RuleSelected(selection) => ("rule", self.rule_selected(selection)),
            Step::Credential(result) => ("credential", self.credential(result)),
            Step::DigestUnknown(digest) => ("key", format!("no key has the digest {digest}")),
            Step::KeyUnknown => {
                let text = "no key has this secret: it is mistyped, removed, or of another environment or pepper";
                ("key", text.to_owned())
            }
            Step::KeyFound(digest, record, secret) => {
                let id = secret.map(|id| format!(", with the id {id}"));
                let id = id.unwrap_or_default();
                (
                    "key",
                    format!("{digest} is a secret of key {}{id}", record.id),
                )
            }
            Step::RecordInvalid(digest, invalid) => ("key", format!("{digest}: {invalid}")),
            Step::LookupFailed(digest, error) => ("key", format!("{digest}: {error}")),
            Step::Validity {
                record,
                secret,
                now,
                result,
            } => {
                let secret =
                    secret.map_or_else(Validity::default, |secret: &Secret| secret.validity);
                let text = match result {
                    Ok(()) => valid(record, secret, now),
                    Err(why) => not_valid(why, secret, now),
                };
                ("validity", text)
            }
            Step::Transport => ("transport", self.transport(passed)),
            Step::Path(rule) => ("path", self.path(passed, rule)),
            Step::Route(rule) => ("route", self.route(passed, rule)),
            Step::Address(restrictions) => ("address", self.address(passed, restrictions)),
            Step::Restrictions(restrictions, is_path_allowed) => (
                "restrictions",
                self.restrictions(restrictions, is_path_allowed),
            ),
            Step::Client(record, clients) => ("client", client(passed, record, clients)),
            Step::Scopes(record, wanted) => ("scopes", self.scopes(record, wanted)),
        }
    }

    fn rule_skipped(&self, rule: &Rule, mismatch: Mismatch) -> String {
        let (matches, request) = (&rule.matches, self.request);
        let (members, wanted, part, sent, hint) = match mismatch {
            Mismatch::Host => {
                let hint = match rule.access {
                    Access::Anyone => {
                        "; a rule with `allow: anyone` compares the host as sent, port included"
                    }
                    Access::Nobody | Access::Key(_) => "",
                };
                (
                    "hosts",
                    list(matches.hosts.as_deref()),
                    "host",
                    request.host,
                    hint,
                )
            }
            Mismatch::Method => {
                let hint = hints::method_case(matches.methods.as_deref(), request.method);
                (
                    "methods",
                    list(matches.methods.as_deref()),
                    "method",
                    request.method,
                    hint,
                )
            }
            Mismatch::Path => {
                let hint = hints::path_case(matches.paths.as_deref(), request.path());
                (
                    "paths",
                    list(matches.paths.as_deref()),
                    "path",
                    request.path(),
                    hint,
                )
            }
        };
        let (name, sent) = (&rule.name, shown(sent));
        format!(
            "rule {name} does not match: the {part} is {sent}, and its {members} are {wanted}{hint}"
        )
    }

    fn rule_selected(&self, selection: RuleSelection<'_>) -> String {
        match selection {
            RuleSelection::Rule(rule) => {
                let how = match self.request.rule {
                    Some(_) => "is named by the Envoy route, so that its match is not looked at",
                    None => "matches and decides",
                };
                format!("rule {} {how}: {}", rule.name, wanted(&rule.access))
            }
            RuleSelection::Default(default) => {
                let wanted = match default {
                    DefaultAccess::RequireKey => "require-key: any valid key may pass",
                    DefaultAccess::AllowAnyone => {
                        "allow-anyone: anyone may pass, no key is asked for"
                    }
                    DefaultAccess::Deny => "deny: nobody may pass",
                };
                format!("no rule matches; the default decides, {wanted}")
            }
            RuleSelection::MalformedPath(rule) => format!(
                "rule {} has paths, and the path {} is not plain, so that no pattern may be compared with it; the \
                 request is refused once its key has proved valid",
                rule.name,
                shown(self.request.path())
            ),
            RuleSelection::UnknownName => format!(
                "the Envoy route names rule {}, which does not exist; the request is refused once its key has proved valid",
                shown(self.request.rule.unwrap_or_default())
            ),
        }
    }

    fn credential(&self, result: Result<(), Reason>) -> String {
        let found = match result {
            Ok(()) => "one secret is presented",
            Err(Reason::MissingKey) => "no secret is presented",
            Err(Reason::AmbiguousKey) => {
                let why = hints::ambiguity(&self.policy.credentials, self.request);
                return format!("more than one secret is presented: {why}");
            }
            Err(Reason::MalformedKey) => {
                "what is presented cannot be a secret: it is longer than 512 bytes or holds a space, a line break or \
                 another byte that is not visible ASCII"
            }
            Err(other) => other.as_str(),
        };
        let places = self.policy.credentials.iter();
        let places: Vec<String> = places.map(ToString::to_string).collect();
        format!("{found}; looked at {}", places.join(", "))
    }

    fn transport(&self, is_https: bool) -> String {
        let seen = match self.request.headers.values("x-forwarded-proto").next() {
            Some(told) => format!("x-forwarded-proto is {}", shown(told)),
            None => format!(
                "no x-forwarded-proto came, and the scheme is {}",
                shown(self.request.scheme)
            ),
        };
        let so = if is_https {
            "the key came over HTTPS"
        } else {
            "require_https asks for https"
        };
        format!("{seen}: {so}")
    }

    /// `rule` is the one that would compare the path, else the key does.
    fn path(&self, is_plain: bool, rule: Option<&Rule>) -> String {
        let path = shown(self.request.path());
        match (is_plain, rule) {
            (true, _) => {
                format!("{path} is plain, so that the key's allow_paths may be compared with it")
            }
            (false, Some(rule)) => format!(
                "{path} is not plain, and rule {} would have to compare it; {PLAIN}",
                rule.name
            ),
            (false, None) => format!(
                "{path} is not plain, and the key's allow_paths would have to be compared with it; {PLAIN}"
            ),
        }
    }

    fn route(&self, is_open: bool, rule: Option<&Rule>) -> String {
        match (is_open, rule, self.request.rule) {
            (true, Some(rule), _) => format!("rule {} is open to keys", rule.name),
            (true, None, _) => "the default is open to keys".to_owned(),
            (false, Some(rule), _) => format!("rule {} has allow: nobody", rule.name),
            (false, None, Some(name)) => {
                format!(
                    "the Envoy route names rule {}, which does not exist",
                    shown(name)
                )
            }
            (false, None, None) => "no rule matches, and the default is deny".to_owned(),
        }
    }

    fn address(&self, is_allowed: bool, restrictions: &Restrictions) -> String {
        let source = match self.policy.client_address {
            ClientAddress::Peer => "Envoy's peer",
            ClientAddress::XEnvoyExternalAddress => "the header x-envoy-external-address",
        };
        let seen = match self.policy.client_address.of(self.request) {
            Some(address) => format!("the client's address, by {source}, is {address}"),
            None => format!("the client's address is not known: {source} does not tell it"),
        };
        let verb = if is_allowed {
            "has it in"
        } else {
            "does not have it in"
        };
        let networks = list(restrictions.ips.as_deref());
        format!("{seen}; the key {verb} its allow_ips {networks}")
    }

    fn restrictions(&self, of_key: &Restrictions, is_path_allowed: bool) -> String {
        let (host, path, method) = (self.request.host, self.request.path(), self.request.method);
        let parts = [
            (
                "host",
                host,
                of_key.allow_host(host),
                list(of_key.hosts.as_deref()),
                "",
            ),
            (
                "path",
                path,
                is_path_allowed,
                list(of_key.paths.as_deref()),
                hints::path_case(of_key.paths.as_deref(), path),
            ),
            (
                "method",
                method,
                of_key.allow_method(method),
                list(of_key.methods.as_deref()),
                hints::method_case(of_key.methods.as_deref(), method),
            ),
        ];
        let parts = parts.map(|(part, sent, is_allowed, wanted, hint)| {
            let (verb, hint) = if is_allowed {
                ("is in", "")
            } else {
                ("is NOT in", hint)
            };
            let sent = shown(sent);
            format!("{part} {sent} {verb} the key's allow_{part}s {wanted}{hint}")
        });
        parts.join("; ")
    }

    fn scopes(&self, record: &KeyRecord, wanted: &[Scope]) -> String {
        let plans = &self.policy.plans;
        let granted: Vec<&Scope> = plans.scopes_of(record).collect();
        let lacking = wanted.iter().filter(|scope| !plans.grant(record, scope));
        let lacking: Vec<&Scope> = lacking.collect();
        let from = match &record.plan {
            Some(plan) => format!("itself and through plan {plan}"),
            None => "itself, without a plan".to_owned(),
        };
        let has = if lacking.is_empty() {
            "has them all".to_owned()
        } else {
            format!("lacks {}", list(Some(&lacking)))
        };
        let (wanted, granted) = (list(Some(wanted)), list(Some(&granted)));
        format!("the rule wants the scopes {wanted}; the key {has}: it has {granted} by {from}")
    }
}

fn wanted(access: &Access) -> String {
    match access {
        Access::Anyone => "anyone may pass, no key is asked for".to_owned(),
        Access::Nobody => "nobody may pass".to_owned(),
        Access::Key(Requirement { scopes, clients }) => {
            let mut text = "any valid key".to_owned();
            if let Some(clients) = clients {
                text.push_str(" of the clients ");
                text.push_str(&list(Some(clients)));
            }
            if !scopes.is_empty() {
                text.push_str(" with all the scopes ");
                text.push_str(&list(Some(scopes)));
            }
            text.push_str(" may pass");
            text
        }
    }
}

/// Until when a valid key stays valid.
fn valid(record: &KeyRecord, secret: Validity, now: Timestamp) -> String {
    let end = match (record.validity.expires_at, secret.expires_at) {
        (None, None) => "neither the key nor this secret expires".to_owned(),
        (Some(key), Some(secret)) if secret < key => format!("this secret expires at {secret}"),
        (Some(key), _) => format!("the key expires at {key}"),
        (None, Some(secret)) => format!("this secret expires at {secret}"),
    };
    format!("enabled, not revoked and valid at {now:.0}; {end}")
}

fn not_valid(why: KeyNotValid, secret: Validity, now: Timestamp) -> String {
    let KeyNotValid { reason, moment } = why;
    let whose = |of_secret: Option<Timestamp>| {
        if moment == of_secret {
            "this secret"
        } else {
            "the key"
        }
    };
    match (reason, moment) {
        (Reason::KeyRevoked, Some(at)) => {
            format!("the key was revoked at {at} (revoked_at), permanently")
        }
        (Reason::KeyDisabled, _) => "the key is disabled (enabled: false)".to_owned(),
        (Reason::KeyNotYetValid, Some(at)) => {
            let whose = whose(secret.not_before.map(Into::into));
            format!("{whose} is not valid before {at} (not_before); it is {now:.0}")
        }
        (Reason::KeyExpired, Some(at)) => {
            let whose = whose(secret.expires_at.map(Into::into));
            format!("{whose} expired at {at} (expires_at); it is {now:.0}")
        }
        (other, _) => format!("{other}; it is {now:.0}"),
    }
}

fn client(is_wanted: bool, record: &KeyRecord, clients: &[ClientName]) -> String {
    let verb = if is_wanted { "is" } else { "is not" };
    let (client, clients) = (record.client(), list(Some(clients)));
    format!("the key's client is {client}, which {verb} one of the rule's clients {clients}")
}

fn list<T: ToString>(items: Option<&[T]>) -> String {
    items.map_or_else(
        || "(any)".to_owned(),
        |items| {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            format!("[{}]", items.join(", "))
        },
    )
}

/// What a client sent, fit for a terminal.
fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(empty)".to_owned();
    }
    bytes.escape_ascii().to_string()
}
