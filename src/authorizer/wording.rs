//! The words in which each step is told to `explain`: what was looked at, what was wanted, and what is lacking.
//!
//! Only a `Trace` that listens runs these. They name members as the configuration and the keys file do, so that the
//! operator knows where to look next, and never show a query or a header, where secrets stand.

use jiff::Timestamp;

use crate::authz::digest::KeyDigest;
use crate::authz::key::{ClientName, KeyNotValid, KeyRecord, Restrictions, Secret, Validity};
use crate::authz::method::Method;
use crate::authz::path::{PathPattern, PlainPath};
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::rule::{Access, DefaultAccess, Mismatch, Requirement, Rule, RuleSelection};
use crate::authz::scope::Scope;
use crate::authz::snapshot::{ClientAddress, Policy};

/// What a path has to be before it can be compared.
const PLAIN: &str = "a plain path begins with `/` and has no `.`, `..` or empty segment, no backslash, `;`, `#`, \
    control or non-ASCII byte, no percent-encoded `.`, `/`, `\\`, `;`, `%` or control byte, and is UTF-8 when decoded";

/// Why a rule was passed over.
pub(super) fn passed_over(
    rule: &Rule,
    mismatch: Mismatch,
    request: &RequestAttributes<'_>,
) -> String {
    let (members, wanted, part, sent) = match mismatch {
        Mismatch::Host => (
            "hosts",
            list(rule.matches.hosts.as_deref()),
            "host",
            request.host,
        ),
        Mismatch::Method => (
            "methods",
            list(rule.matches.methods.as_deref()),
            "method",
            request.method,
        ),
        Mismatch::Path => (
            "paths",
            list(rule.matches.paths.as_deref()),
            "path",
            request.path(),
        ),
    };
    let hint = match (mismatch, &rule.access) {
        (Mismatch::Host, Access::Anyone) => {
            "; a rule that lets anyone in compares the host as sent, port included"
        }
        (Mismatch::Method, _)
            if is_method_but_for_case(rule.matches.methods.as_deref(), request.method) =>
        {
            METHOD_CASE
        }
        (Mismatch::Path, _)
            if is_path_but_for_case(rule.matches.paths.as_deref(), request.path()) =>
        {
            PATH_CASE
        }
        (Mismatch::Host | Mismatch::Method | Mismatch::Path, _) => "",
    };
    format!(
        "rule {} does not match: the {part} is {}, and its {members} are {wanted}{hint}",
        rule.name,
        shown(sent)
    )
}

/// Which rule decides, and what it wants.
pub(super) fn selection(selection: RuleSelection<'_>, request: &RequestAttributes<'_>) -> String {
    match selection {
        RuleSelection::Rule(rule) => {
            let how = if request.rule.is_some() {
                "is named by the Envoy route, so that its match is not looked at"
            } else {
                "matches and decides"
            };
            format!("rule {} {how}: {}", rule.name, wanted(&rule.access))
        }
        RuleSelection::Default(default) => {
            let wanted = match default {
                DefaultAccess::RequireKey => "require-key: any valid key may pass",
                DefaultAccess::AllowAnyone => "allow-anyone: anyone may pass, no key is asked for",
                DefaultAccess::Deny => "deny: nobody may pass",
            };
            format!("no rule matches; the default decides, {wanted}")
        }
        RuleSelection::MalformedPath(rule) => format!(
            "rule {} has paths, and the path {} is not plain, so that no pattern may be compared with it; the request \
             is refused once its key has proved valid",
            rule.name,
            shown(request.path())
        ),
        RuleSelection::UnknownName => format!(
            "the Envoy route names rule {}, and there is none; the request is refused once its key has proved valid",
            shown(request.rule.unwrap_or_default())
        ),
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

/// How the search for a secret ended.
pub(super) fn presented(
    outcome: Result<(), Reason>,
    request: &RequestAttributes<'_>,
    policy: &Policy,
) -> String {
    let found = match outcome {
        Ok(()) => "one secret is presented",
        Err(Reason::MissingKey) => "no secret is presented",
        Err(Reason::AmbiguousKey) => {
            let told = policy.credentials.ambiguity(request);
            return format!("more than one secret is presented: {told}");
        }
        Err(Reason::MalformedKey) => {
            "what is presented cannot be a secret: it is longer than 512 bytes or holds a space, a line break or \
             another byte that is not visible ASCII"
        }
        Err(other) => other.as_str(),
    };
    let places: Vec<String> = policy.credentials.iter().map(ToString::to_string).collect();
    format!("{found}; looked at {}", places.join(", "))
}

/// Whose secret was presented.
pub(super) fn known(digest: &KeyDigest, record: &KeyRecord, secret: Option<&str>) -> String {
    let named = secret.map(|id| format!(", with the id {id}"));
    format!(
        "{digest} is a secret of key {}{}",
        record.id,
        named.unwrap_or_default()
    )
}

/// Until when a key that counts now does so.
pub(super) fn valid(record: &KeyRecord, secret: Option<&Secret>, now: Timestamp) -> String {
    let secret = validity_of(secret).expires_at;
    let end = match (record.validity.expires_at, secret) {
        (None, None) => "neither the key nor this secret expires".to_owned(),
        (Some(key), Some(secret)) if secret < key => format!("this secret expires at {secret}"),
        (Some(key), _) => format!("the key expires at {key}"),
        (None, Some(secret)) => format!("this secret expires at {secret}"),
    };
    format!("enabled, not revoked and valid at {now:.0}; {end}")
}

/// Why a key does not count now.
pub(super) fn not_valid(not_valid: KeyNotValid, secret: Option<&Secret>, now: Timestamp) -> String {
    let KeyNotValid { reason, moment } = not_valid;
    let secret = validity_of(secret);
    let whose = |of_secret: Option<Timestamp>| {
        if moment == of_secret {
            "this secret"
        } else {
            "the key"
        }
    };
    match (reason, moment) {
        (Reason::KeyRevoked, Some(at)) => {
            format!("the key was revoked at {at} (revoked_at), for ever")
        }
        (Reason::KeyDisabled, _) => "the key is switched off (enabled: false)".to_owned(),
        (Reason::KeyNotYetValid, Some(at)) => format!(
            "{} is not valid before {at} (not_before); it is {now:.0}",
            whose(secret.not_before.map(Into::into))
        ),
        (Reason::KeyExpired, Some(at)) => {
            format!(
                "{} expired at {at} (expires_at); it is {now:.0}",
                whose(secret.expires_at.map(Into::into))
            )
        }
        (other, _) => format!("{other}; it is {now:.0}"),
    }
}

fn validity_of(secret: Option<&Secret>) -> Validity {
    secret.map_or_else(Validity::default, |secret| secret.validity)
}

/// Whether the key came over HTTPS, and what says so.
pub(super) fn transport(is_https: bool, request: &RequestAttributes<'_>) -> String {
    let seen = match request.headers.values("x-forwarded-proto").next() {
        Some(told) => format!("x-forwarded-proto is {}", shown(told)),
        None => format!(
            "no x-forwarded-proto came, and the scheme is {}",
            shown(request.scheme)
        ),
    };
    let so = if is_https {
        "the key came over HTTPS"
    } else {
        "require_https asks for https"
    };
    format!("{seen}: {so}")
}

/// Whether the path may be compared; `rule` is the one that wants to, else the key does.
pub(super) fn path(is_plain: bool, rule: Option<&Rule>, request: &RequestAttributes<'_>) -> String {
    let path = shown(request.path());
    match (is_plain, rule) {
        (true, _) => {
            format!("{path} is plain, so that the key's allow_paths may be compared with it")
        }
        (false, Some(rule)) => {
            format!(
                "{path} is not plain, and rule {} would have to compare it; {PLAIN}",
                rule.name
            )
        }
        (false, None) => {
            format!(
                "{path} is not plain, and the key's allow_paths would have to be compared with it; {PLAIN}"
            )
        }
    }
}

/// Whether the route is open to keys at all.
pub(super) fn route(is_open: bool, rule: Option<&Rule>, request: &RequestAttributes<'_>) -> String {
    match (is_open, rule, request.rule) {
        (true, Some(rule), _) => format!("rule {} is open to keys", rule.name),
        (true, None, _) => "the default is open to keys".to_owned(),
        (false, Some(rule), _) => format!("rule {} has allow: nobody", rule.name),
        (false, None, Some(name)) => {
            format!(
                "the Envoy route names rule {}, and there is none",
                shown(name)
            )
        }
        (false, None, None) => "no rule matches, and the default is deny".to_owned(),
    }
}

/// Whether the client's address is one of the key's.
pub(super) fn address(
    is_allowed: bool,
    restrictions: &Restrictions,
    request: &RequestAttributes<'_>,
    from: ClientAddress,
) -> String {
    let source = match from {
        ClientAddress::Peer => "Envoy's peer",
        ClientAddress::XEnvoyExternalAddress => "the header x-envoy-external-address",
    };
    let seen = match from.of(request) {
        Some(address) => format!("the client's address, by {source}, is {address}"),
        None => format!("the client's address is not known: {source} does not tell it"),
    };
    let verb = if is_allowed {
        "has it in"
    } else {
        "does not have it in"
    };
    format!(
        "{seen}; the key {verb} its allow_ips {}",
        list(restrictions.ips.as_deref())
    )
}

/// Which of host, path and method are not the key's.
pub(super) fn restrictions(
    of_key: &Restrictions,
    is_path_allowed: bool,
    request: &RequestAttributes<'_>,
) -> String {
    let parts = [
        (
            of_key.allow_host(request.host),
            "host",
            request.host,
            list(of_key.hosts.as_deref()),
        ),
        (
            is_path_allowed,
            "path",
            request.path(),
            list(of_key.paths.as_deref()),
        ),
        (
            of_key.allow_method(request.method),
            "method",
            request.method,
            list(of_key.methods.as_deref()),
        ),
    ];
    let told = parts.map(|(is_allowed, part, sent, wanted)| {
        let verb = if is_allowed { "is in" } else { "is NOT in" };
        let hint = match part {
            _ if is_allowed => "",
            "path" if is_path_but_for_case(of_key.paths.as_deref(), sent) => PATH_CASE,
            "method" if is_method_but_for_case(of_key.methods.as_deref(), sent) => METHOD_CASE,
            _ => "",
        };
        format!(
            "{part} {} {verb} the key's allow_{part}s {wanted}{hint}",
            shown(sent)
        )
    });
    told.join("; ")
}

const PATH_CASE: &str = ": it differs in case alone, and paths are compared to the letter";

const METHOD_CASE: &str =
    ": it differs in case alone, and what lets in compares methods to the letter";

fn is_method_but_for_case(methods: Option<&[Method]>, sent: &[u8]) -> bool {
    let mut methods = methods.unwrap_or_default().iter();
    methods.any(|method| method.as_bytes().eq_ignore_ascii_case(sent))
}

fn is_path_but_for_case(patterns: Option<&[PathPattern]>, sent: &[u8]) -> bool {
    let sent = sent.to_ascii_lowercase();
    let Ok(path) = PlainPath::parse(&sent) else {
        return false;
    };
    let lower = |pattern: &PathPattern| pattern.to_string().to_ascii_lowercase().parse().ok();
    let mut patterns = patterns.unwrap_or_default().iter().filter_map(lower);
    patterns.any(|pattern: PathPattern| pattern.matches(&path))
}

/// Whether the key's client is one of the rule's.
pub(super) fn client(is_wanted: bool, record: &KeyRecord, clients: &[ClientName]) -> String {
    let verb = if is_wanted { "is" } else { "is not" };
    format!(
        "the key stands for client {}, which {verb} one of the rule's clients {}",
        record.client(),
        list(Some(clients))
    )
}

/// Which of the rule's scopes the key has, from itself or its plan, and which it lacks.
pub(super) fn scopes(wanted: &[Scope], record: &KeyRecord, policy: &Policy) -> String {
    let granted: Vec<&Scope> = policy.plans.scopes_of(record).collect();
    let lacking: Vec<&Scope> = wanted
        .iter()
        .filter(|scope| !policy.plans.grant(record, scope))
        .collect();
    let from = match &record.plan {
        Some(plan) => format!("itself and through plan {plan}"),
        None => "itself, without a plan".to_owned(),
    };
    let verdict = if lacking.is_empty() {
        "has them all".to_owned()
    } else {
        format!("lacks {}", list(Some(&lacking)))
    };
    format!(
        "the rule wants the scopes {}; the key {verdict}: it has {} by {from}",
        list(Some(wanted)),
        list(Some(&granted))
    )
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
