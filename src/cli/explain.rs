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
use super::{Error, Outcome, load_config, load_keys, print, runtime};
use crate::authorizer::trace::{Step, Trace};
use crate::authorizer::{Authorizer, Known};
use crate::authz::clock::{Clock, SystemClock};
use crate::authz::credential::{Location, Place, SECRET_MAX_BYTES};
use crate::authz::decision::{Basis, Decision, Grant};
use crate::authz::key::PlanName;
use crate::authz::request::{Headers, RequestAttributes};
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::authz::token::is_token;
use crate::keys::cache::KeyCache;
use crate::keys::secret::{PREFIX, is_intact};
use crate::server::Remote;

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
    if arguments.body.is_some() {
        return Err(Error::Usage(
            "--body is for rules with `mcp`, which are not supported yet; leave it out".to_owned(),
        ));
    }
    let config = load_config(&arguments.config)?;
    let keys = load_keys(&config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let remote = Remote::of(&config, &clock)?;
    let cache = match &remote {
        Some(remote) => remote
            .cache(&config, &clock, None, Box::new(|_, _| ()))
            .map_err(|error| Error::Failed(error.to_string()))?,
        None => KeyCache::for_file(1, Box::new(|_, _| ())),
    };
    let policy = config.policy;
    let request = Request::of(arguments, &policy)?;
    let snapshot = Arc::new(Snapshot {
        generation: Generation(1),
        policy: Arc::clone(&policy),
        keys: keys.map(Arc::new),
    });
    let authorizer = Authorizer::new(Arc::clone(&snapshot), cache, clock);
    let mut steps = Steps::default();
    let runtime = runtime()?;
    if let Some(flaw) = request.flaw {
        steps.noted(Step::Credential, || format!("--key-file {flaw}"));
    }
    let attributes = request.attributes(arguments);
    let decision = runtime.block_on(async {
        if let Some(remote) = &remote {
            remote.connect().await;
        }
        authorizer.decide(&attributes, &snapshot, &mut steps).await
    });
    let mut text = Vec::new();
    let written = match arguments.output.output {
        Format::Text => write_text(&mut text, &steps, &decision, &policy),
        Format::Json => write_json(&mut text, &steps, &decision, &policy),
    };
    written.map_err(|source| Error::Io {
        what: "write the explanation".to_owned(),
        source,
    })?;
    print(out, &text)?;
    Ok(match decision {
        Decision::Allow(_) => Outcome::Success,
        Decision::Deny(_) | Decision::Unavailable(_) => Outcome::Denied,
    })
}

/// The request's lines, owned, so that the attributes can borrow them.
struct Request {
    headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    target: Zeroizing<Vec<u8>>,
    /// What is odd about the secret, before anybody looks for its key.
    flaw: Option<&'static str>,
}

impl Request {
    fn of(arguments: &Explain, policy: &Policy) -> Result<Self, Error> {
        let mut request = Self {
            headers: Vec::new(),
            target: Zeroizing::new(arguments.path.clone().into_bytes()),
            flaw: None,
        };
        for line in &arguments.headers {
            let (name, value) = header(line)?;
            request
                .headers
                .push((name.to_owned(), Zeroizing::new(value.as_bytes().to_vec())));
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
            request.flaw = flaw(&secret);
            policy
                .credentials
                .iter()
                .take(1)
                .for_each(|place| request.present(place, &secret));
        }
        Ok(request)
    }

    fn present(&mut self, place: &Place, secret: &[u8]) {
        let (name, before): (&str, String) = match &place.location {
            Location::Header { name } => (name, String::new()),
            Location::Scheme { name, scheme } => (name, format!("{scheme} ")),
            Location::Cookie { name } => ("cookie", format!("{name}=")),
            Location::Query { name, .. } => {
                let separator = if self.target.contains(&b'?') {
                    '&'
                } else {
                    '?'
                };
                let encoded = Zeroizing::new(percent_encoded(secret));
                let before = format!("{separator}{name}=");
                let parts = [&self.target, before.as_bytes(), encoded.as_bytes()];
                self.target = Zeroizing::new(parts.concat());
                return;
            }
        };
        let value = Zeroizing::new([before.as_bytes(), secret].concat());
        self.headers.push((name.to_owned(), value));
    }

    fn attributes<'a>(&'a self, arguments: &'a Explain) -> RequestAttributes<'a> {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_slice()));
        RequestAttributes {
            method: arguments.method.as_bytes(),
            host: arguments.host.as_bytes(),
            target: &self.target,
            scheme: arguments.scheme.as_bytes(),
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

/// Reads a secret from a file or, for `-`, from standard input; line breaks at its end are not part of it. What is too long for a
/// secret is not read to its end.
fn read_secret(file: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let room = SECRET_MAX_BYTES.saturating_mul(2);
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    // All of it is there from the start, or growing would leave copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(room.saturating_mul(2)));
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut secret)
    } else {
        fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut secret))
    };
    read.map_err(|source| Error::Io {
        // Nothing of its name: whoever gives the secret itself for it must not find it in a log.
        what: "read the file that --key-file names".to_owned(),
        source,
    })?;
    while matches!(secret.last(), Some(b'\r' | b'\n')) {
        secret.pop();
    }
    Ok(secret)
}

/// What an operator should know of the content of `--key-file`, whatever comes of it.
fn flaw(secret: &[u8]) -> Option<&'static str> {
    if secret.is_empty() {
        return Some("is empty: no secret is presented");
    }
    let text = std::str::from_utf8(secret).ok()?;
    (text.starts_with(PREFIX) && !is_intact(text)).then_some(
        "holds what looks like a secret of keyward's, but its last characters do not fit the others: it was cut or mistyped",
    )
}

/// Everything but the unreserved characters of RFC 3986 section 2.3, percent-encoded.
fn percent_encoded(secret: &[u8]) -> String {
    let room = String::with_capacity(secret.len().saturating_mul(3));
    secret.iter().fold(room, |mut encoded, &byte| {
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

fn write_text(
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

fn write_json(
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
