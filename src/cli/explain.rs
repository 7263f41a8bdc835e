//! `keyward explain`: decides one request offline, by the very pipeline that serves, and prints why.
//!
//! The secret comes from a file or standard input and is presented at the first credential place; it is never printed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use zeroize::Zeroizing;

use super::command::{Explain, Format};
use super::{Error, Outcome, load_config, load_keys, unprinted};
use crate::authorizer::trace::{Step, Trace};
use crate::authorizer::{Authorizer, Known};
use crate::authz::clock::SystemClock;
use crate::authz::credential::{Place, SECRET_MAX_BYTES};
use crate::authz::decision::{Basis, Decision, Grant};
use crate::authz::key::PlanName;
use crate::authz::request::{Headers, RequestAttributes};
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::authz::token::is_token;
use crate::keys::cache::KeyCache;

/// The steps of one decision, as they were told.
#[derive(Debug, Default)]
struct Steps(Vec<Told>);

#[derive(Debug)]
struct Told {
    step: Step,
    outcome: &'static str,
    seen: String,
}

impl Steps {
    fn tell(&mut self, step: Step, outcome: &'static str, seen: impl FnOnce() -> String) {
        self.0.push(Told {
            step,
            outcome,
            seen: seen(),
        });
    }
}

impl Trace for Steps {
    fn passed(&mut self, step: Step, seen: impl FnOnce() -> String) {
        self.tell(step, "passed", seen);
    }

    fn noted(&mut self, step: Step, seen: impl FnOnce() -> String) {
        self.tell(step, "noted", seen);
    }

    fn failed(&mut self, step: Step, seen: impl FnOnce() -> String) {
        self.tell(step, "failed", seen);
    }
}

/// Decides the request that the arguments describe, and prints each step and the decision.
pub(super) fn run(arguments: &Explain, out: &mut impl Write) -> Result<Outcome, Error> {
    let config = load_config(&arguments.config)?;
    let keys = load_keys(&config)?;
    let policy = config.policy;
    let request = Request::of(arguments, &policy)?;
    let snapshot = Arc::new(Snapshot {
        generation: Generation(1),
        policy: Arc::clone(&policy),
        keys: Some(Arc::new(keys)),
    });
    let cache = KeyCache::for_file(1, Box::new(|_, _| ()));
    let authorizer = Authorizer::new(Arc::clone(&snapshot), cache, Arc::new(SystemClock::new()));
    let mut steps = Steps::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|source| Error::Io {
        what: "start".to_owned(),
        source,
    })?;
    let attributes = request.attributes(arguments);
    let decision = runtime.block_on(authorizer.decide(&attributes, &snapshot, &mut steps));
    let printed = match arguments.output.output {
        Format::Text => print_text(out, &steps, &decision, &policy),
        Format::Json => print_json(out, &steps, &decision, &policy),
    };
    printed.map_err(unprinted)?;
    Ok(match decision {
        Decision::Allow(_) => Outcome::Success,
        Decision::Deny(_) | Decision::Unavailable(_) => Outcome::Denied,
    })
}

/// The request's lines, owned, so that the attributes can borrow them.
struct Request {
    headers: Vec<(String, Zeroizing<String>)>,
    target: Zeroizing<String>,
}

impl Request {
    fn of(arguments: &Explain, policy: &Policy) -> Result<Self, Error> {
        let mut request = Self {
            headers: Vec::new(),
            target: Zeroizing::new(arguments.path.clone()),
        };
        for line in &arguments.headers {
            let (name, value) = header(line)?;
            request
                .headers
                .push((name.to_owned(), Zeroizing::new(value.to_owned())));
        }
        // Whatever stands at a credential place now came from an argument, be it one secret or two.
        if !matches!(
            policy.credentials.find(&request.attributes(arguments)),
            Ok(None)
        ) {
            let places: Vec<String> = policy.credentials.iter().map(ToString::to_string).collect();
            return Err(Error::Usage(format!(
                "a secret is never an argument, and one stands in --header or --path at a credential place ({}); put \
                 it in a file and give --key-file, which presents it at the first place",
                places.join(", ")
            )));
        }
        if let Some(file) = &arguments.key_file {
            let secret = read_secret(file)?;
            policy
                .credentials
                .iter()
                .take(1)
                .for_each(|place| request.present(place, &secret));
        }
        Ok(request)
    }

    fn present(&mut self, place: &Place, secret: &str) {
        let (name, value) = match place {
            Place::Header { name } => (name, secret.to_owned()),
            Place::Scheme { name, scheme } => (name, format!("{scheme} {secret}")),
            Place::Query { name } => {
                let separator = if self.target.contains('?') { '&' } else { '?' };
                let encoded = Zeroizing::new(percent_encoded(secret));
                self.target =
                    Zeroizing::new(format!("{}{separator}{name}={}", *self.target, *encoded));
                return;
            }
            Place::Cookie { name } => (&Box::from("cookie"), format!("{name}={secret}")),
        };
        self.headers.push((name.to_string(), Zeroizing::new(value)));
    }

    fn attributes<'a>(&'a self, arguments: &'a Explain) -> RequestAttributes<'a> {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        RequestAttributes {
            method: arguments.method.as_bytes(),
            host: arguments.host.as_bytes(),
            target: self.target.as_bytes(),
            headers: lines.collect::<Headers<'_>>(),
            peer: arguments.source_ip,
            rule: arguments.rule.as_deref().map(str::as_bytes),
        }
    }
}

/// Splits `N: V`.
fn header(line: &str) -> Result<(&str, &str), Error> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    if !is_token(name) || !line.contains(':') {
        return Err(Error::Usage(
            "--header takes a name, a colon and a value, as in 'accept: text/plain'".to_owned(),
        ));
    }
    Ok((name, value.trim()))
}

/// Reads a secret from a file or, for `-`, from standard input; one final newline is not part of it.
fn read_secret(file: &Path) -> Result<Zeroizing<String>, Error> {
    let limit = u64::try_from(SECRET_MAX_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_mul(2);
    let mut secret = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut secret)
    } else {
        fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut secret))
    };
    read.map_err(|source| Error::Io {
        what: format!("read the secret from {}", file.display()),
        source,
    })?;
    let kept = secret.trim_end_matches(['\r', '\n']).len();
    secret.truncate(kept);
    Ok(secret)
}

/// Everything but the unreserved characters of RFC 3986 section 2.3, percent-encoded.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = std::fmt::Write::write_fmt(&mut encoded, format_args!("%{byte:02X}"));
        }
        encoded
    })
}

/// What goes upstream of a key that passed: each identity header, and its value where the key has one.
fn identity(decision: &Decision<'_, Known<()>>, policy: &Policy) -> Vec<(String, Option<String>)> {
    let Decision::Allow(Grant { basis, .. }) = decision else {
        return Vec::new();
    };
    match basis {
        Basis::Key(key) => {
            let values = policy.identity.values(&key.record, &policy.plans);
            values
                .map(|(name, value)| (name.as_str().to_owned(), value.map(Into::into)))
                .collect()
        }
        Basis::Public | Basis::Observed(_) => policy
            .identity
            .names()
            .map(|name| (name.as_str().to_owned(), None))
            .collect(),
    }
}

fn print_text(
    out: &mut impl Write,
    steps: &Steps,
    decision: &Decision<'_, Known<()>>,
    policy: &Policy,
) -> std::io::Result<()> {
    for told in &steps.0 {
        writeln!(
            out,
            "{:<6} {:<12} {}",
            told.outcome,
            told.step.to_string(),
            told.seen
        )?;
    }
    let reason = decision.reason();
    writeln!(
        out,
        "{} {} (HTTP {})",
        decision.verdict(),
        reason,
        reason.http_status()
    )?;
    if policy.mode == Mode::Observe && decision.refusal().is_some() {
        writeln!(out, "mode is observe: the request goes on all the same")?;
    }
    for (name, value) in identity(decision, policy) {
        match value {
            Some(value) => writeln!(out, "upstream {name}: {value}")?,
            None => writeln!(out, "upstream {name} is removed")?,
        }
    }
    Ok(())
}

fn print_json(
    out: &mut impl Write,
    steps: &Steps,
    decision: &Decision<'_, Known<()>>,
    policy: &Policy,
) -> std::io::Result<()> {
    let told = |told: &Told| json!({"step": told.step.to_string(), "outcome": told.outcome, "seen": told.seen});
    let (key, reason) = (decision.key(), decision.reason());
    let answer = json!({
        "decision": decision.verdict().as_str(),
        "reason": reason.as_str(),
        "status": reason.http_status(),
        "enforced": policy.mode == Mode::Enforce,
        "key_id": key.map(|key| key.record.id.as_str()),
        "client": key.map(|key| key.record.client()),
        "plan": key.and_then(|key| key.record.plan.as_ref()).map(PlanName::as_str),
        "rule": decision.rule().map(|rule| &*rule.name),
        "identity": identity(decision, policy).into_iter().collect::<BTreeMap<_, _>>(),
        "steps": steps.0.iter().map(told).collect::<Vec<_>>(),
    });
    writeln!(out, "{answer:#}")
}
