//! The oracle: what configuration, keys and a request mean for the decision, once more, slowly and
//! over strings.
//!
//! Written from what is promised to operators alone and apart from the pipeline; it shares no code
//! with it. Where the two differ, one of them is wrong.

use std::net::IpAddr;

use super::naive::{NaiveAccess, NaiveKey, NaiveRequest, NaiveRule, World};
use super::texts::{self, Held};

/// What is to come of a request.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) reason: &'static str,
    /// The id of the key that was presented, where it is known; not looked for on public requests.
    pub(crate) key: Option<String>,
    /// The rule that decides; `None` where it is the default, or open.
    pub(crate) rule: Option<String>,
}

/// What the rules say of a request.
enum Chosen<'w> {
    Rule(&'w NaiveRule),
    Default,
    OddPath,
    NoSuchName,
}

pub(crate) fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| *byte == b'?');
    &target[..end.unwrap_or(target.len())]
}

pub(crate) fn query_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| *byte == b'?');
    end.map_or(&[], |at| &target[at + 1..])
}

pub(crate) fn decide(world: &World, request: &NaiveRequest, now: i64) -> Expected {
    let chosen = choose(world, request);
    let rule = match &chosen {
        Chosen::Rule(rule) => Some(rule.name.clone()),
        Chosen::Default | Chosen::OddPath | Chosen::NoSuchName => None,
    };
    let of = |reason, key: Option<&NaiveKey>| Expected {
        reason,
        key: key.map(|key| key.id.clone()),
        rule: rule.clone(),
    };

    if is_public(world, &chosen) {
        return of("public", None);
    }
    let secret = match presented(world, request) {
        Ok(secret) => secret,
        Err(reason) => return of(reason, None),
    };
    let Some((key, from, until)) = known(world, &secret) else {
        return of("unknown_key", None);
    };
    let reason = invalid(key, from, until, now)
        .or_else(|| insecure(world, request))
        .or_else(|| odd_path(&chosen, key, request))
        .or_else(|| closed(world, &chosen))
        .or_else(|| wrong_place(world, key, request))
        .or_else(|| unmet(world, &chosen, key));
    of(reason.unwrap_or("allowed"), Some(key))
}

fn insecure(world: &World, request: &NaiveRequest) -> Option<&'static str> {
    let told = texts::joined(&request.lines, "x-forwarded-proto");
    let scheme = told.unwrap_or(request.scheme.to_owned());
    (world.https && scheme != "https").then_some("insecure_transport")
}

fn is_public(world: &World, chosen: &Chosen<'_>) -> bool {
    match chosen {
        Chosen::Rule(rule) => matches!(rule.access, NaiveAccess::Anyone),
        Chosen::Default => world.default == "allow-anyone",
        Chosen::OddPath | Chosen::NoSuchName => false,
    }
}

fn choose<'w>(world: &'w World, request: &NaiveRequest) -> Chosen<'w> {
    if let Some(name) = &request.rule {
        return match world.rules.iter().find(|rule| rule.name == *name) {
            Some(rule) => Chosen::Rule(rule),
            None => Chosen::NoSuchName,
        };
    }
    for rule in &world.rules {
        let lets_in = matches!(rule.access, NaiveAccess::Anyone);
        let host = |pattern: &String| {
            if lets_in {
                texts::host_as_sent(pattern, &request.host)
            } else {
                texts::host_at_large(pattern, &request.host)
            }
        };
        if rule
            .hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.iter().any(host))
        {
            continue;
        }
        let method = |method: &String| {
            if lets_in {
                *method == request.method
            } else {
                method.to_uppercase() == request.method.to_uppercase()
            }
        };
        let methods = rule.methods.as_ref();
        if methods.is_some_and(|methods| !methods.iter().any(method)) {
            continue;
        }
        if let Some(patterns) = &rule.paths {
            let path = path_of(&request.target);
            if !texts::is_plain(path) {
                return Chosen::OddPath;
            }
            if !patterns
                .iter()
                .any(|pattern| texts::path_matches(pattern, path))
            {
                continue;
            }
        }
        return Chosen::Rule(rule);
    }
    Chosen::Default
}

/// The one secret that the request presents.
fn presented(world: &World, request: &NaiveRequest) -> Result<Vec<u8>, &'static str> {
    let query = query_of(&request.target);
    let held: Vec<Held> = world
        .places
        .iter()
        .map(|place| texts::held(place, world.prefix, &request.lines, query))
        .collect();
    if held.iter().all(|held| *held == Held::Nothing) {
        return Err("missing_key");
    }
    let mut secrets = Vec::new();
    for held in held {
        match held {
            Held::Nothing => {}
            Held::Two => return Err("ambiguous_key"),
            Held::Secret(secret) => secrets.push(secret),
        }
    }
    if secrets.iter().any(|secret| *secret != secrets[0]) {
        return Err("ambiguous_key");
    }
    let secret = secrets.remove(0);
    if secret.len() > 512 || secret.iter().any(|byte| !(0x21..=0x7e).contains(byte)) {
        return Err("malformed_key");
    }
    Ok(secret)
}

type Bounds = Option<i64>;

/// The key that has a secret, under the first accepted kind that finds one, and that secret's own
/// validity.
fn known<'w>(world: &'w World, presented: &[u8]) -> Option<(&'w NaiveKey, Bounds, Bounds)> {
    for keyed in &world.accept {
        for key in &world.keys {
            for secret in &key.secrets {
                if secret.keyed == *keyed && secret.text.as_bytes() == presented {
                    return Some((key, secret.from, secret.until));
                }
            }
        }
    }
    None
}

fn invalid(key: &NaiveKey, from: Bounds, until: Bounds, now: i64) -> Option<&'static str> {
    if key.revoked.is_some_and(|at| now >= at) {
        return Some("key_revoked");
    }
    if !key.enabled {
        return Some("key_disabled");
    }
    if [key.from, from].iter().flatten().any(|from| now < *from) {
        return Some("key_not_yet_valid");
    }
    if [key.until, until]
        .iter()
        .flatten()
        .any(|until| now >= *until)
    {
        return Some("key_expired");
    }
    None
}

fn odd_path(chosen: &Chosen<'_>, key: &NaiveKey, request: &NaiveRequest) -> Option<&'static str> {
    let odd = !texts::is_plain(path_of(&request.target));
    let looked_at = matches!(chosen, Chosen::OddPath) || key.paths.is_some();
    (odd && looked_at).then_some("malformed_path")
}

fn closed(world: &World, chosen: &Chosen<'_>) -> Option<&'static str> {
    let closed = match chosen {
        Chosen::Rule(rule) => matches!(rule.access, NaiveAccess::Nobody),
        Chosen::Default => world.default == "deny",
        Chosen::NoSuchName => true,
        Chosen::OddPath => false,
    };
    closed.then_some("route_denied")
}

pub(crate) fn client_address(world: &World, request: &NaiveRequest) -> Option<IpAddr> {
    if !world.external_address {
        return request.peer;
    }
    let mut values = request
        .lines
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-envoy-external-address"));
    match (values.next(), values.next()) {
        (Some((_, value)), None) => value.parse().ok(),
        _ => None,
    }
}

fn wrong_place(world: &World, key: &NaiveKey, request: &NaiveRequest) -> Option<&'static str> {
    if let Some(nets) = &key.ips {
        let address = client_address(world, request);
        if !address.is_some_and(|address| nets.iter().any(|net| texts::is_in(net, address))) {
            return Some("ip_not_allowed");
        }
    }
    let hosts = key.hosts.as_ref();
    let host = |pattern: &String| texts::host_as_sent(pattern, &request.host);
    let paths = key.paths.as_ref();
    let path = |pattern: &String| texts::path_matches(pattern, path_of(&request.target));
    let methods = key.methods.as_ref();
    if hosts.is_some_and(|hosts| !hosts.iter().any(host))
        || paths.is_some_and(|paths| !paths.iter().any(path))
        || methods.is_some_and(|methods| !methods.contains(&request.method))
    {
        return Some("route_not_allowed");
    }
    None
}

pub(crate) fn client_of(key: &NaiveKey) -> &str {
    key.client.as_ref().unwrap_or(&key.id)
}

/// The plan's scopes, then the key's own, each once.
pub(crate) fn scopes_of(world: &World, key: &NaiveKey) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for (name, list) in &world.plans {
        if key.plan.as_ref() == Some(name) {
            scopes.extend(list.iter().cloned());
        }
    }
    for scope in &key.scopes {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}

fn unmet(world: &World, chosen: &Chosen<'_>, key: &NaiveKey) -> Option<&'static str> {
    let Chosen::Rule(rule) = chosen else {
        return None;
    };
    let NaiveAccess::Require { scopes, clients } = &rule.access else {
        return None;
    };
    if clients
        .as_ref()
        .is_some_and(|clients| !clients.iter().any(|name| name == client_of(key)))
    {
        return Some("client_not_allowed");
    }
    let granted = scopes_of(world, key);
    if scopes.iter().any(|scope| !granted.contains(scope)) {
        return Some("insufficient_scope");
    }
    None
}

/// The identity headers that a key's requests carry upstream, in lower case.
pub(crate) fn identity(world: &World, key: &NaiveKey) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, field) in &world.identity {
        let value = match *field {
            "key.id" => Some(key.id.clone()),
            "key.client" => Some(client_of(key).to_owned()),
            "key.plan" => key.plan.clone(),
            "key.scopes" => Some(scopes_of(world, key).join(" ")).filter(|text| !text.is_empty()),
            "key.metadata.org" => key.org.clone(),
            other => panic!("{other}"),
        };
        if let Some(value) = value {
            headers.push((name.to_ascii_lowercase(), value));
        }
    }
    headers
}
