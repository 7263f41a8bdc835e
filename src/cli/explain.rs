//! `keyward explain`: decides one request offline, by the very pipeline that serves, and prints why.
//!
//! Secrets come from files or standard input and are presented at credential places; they are never printed.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use self::presenting::Request;
use super::command::{Explain, Format};
use super::{Error, Outcome, load_config, load_keys, print, runtime};
use crate::authorizer::trace::{Step, Trace};
use crate::authorizer::{Authorizer, PresentedKey};
use crate::authz::decision::{Decision, Grant, Grounds};
use crate::authz::key::PlanName;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::clock::{Clock, SystemClock};
use crate::server;

mod presenting;

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
    let remote = server::remote_source(&config, &clock, None)?;
    let cache = server::key_cache(&config, remote.as_ref(), &clock, None, Box::new(|_, _| ()))
        .map_err(|error| Error::Failed(error.to_string()))?;
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
    for flaw in &request.flaws {
        steps.noted(Step::Credential, || format!("--key-file {flaw}"));
    }
    let attributes = request.attributes(arguments);
    note_hint(&attributes, &policy, &mut steps);
    let decision = runtime.block_on(async {
        if let Some(remote) = &remote {
            remote.connect().await;
        }
        authorizer.decide(&attributes, &snapshot, &mut steps).await
    });
    let mut text = Vec::new();
    let written = match arguments.output.output {
        Format::Text => write_text(&mut text, &steps, &decision, &policy),
        Format::Json => {
            let places = policy.credentials.filled(&attributes);
            write_json(&mut text, &steps, &decision, &policy, &places)
        }
    };
    written.map_err(|source| Error::Io {
        what: "write the explanation".to_owned(),
        source,
    })?;
    print(out, &text)?;
    Ok(match decision {
        Decision::Allow(_) => Outcome::Success,
        Decision::Deny(_) => Outcome::Denied,
    })
}

/// Notes what is odd about how a key is presented, where that may be why it is refused.
fn note_hint(request: &RequestAttributes<'_>, policy: &Policy, steps: &mut Steps) {
    let reason = match policy.credentials.find(request) {
        Ok(None) => Reason::MissingKey,
        Ok(Some(_)) => return,
        Err(reason) => reason,
    };
    if let Some(hint) = policy.credentials.hint(request, reason) {
        steps.noted(Step::Credential, || hint);
    }
}

/// What goes upstream of a key that passed: each identity header, and its value where the key has one.
fn identity(
    decision: &Decision<'_, PresentedKey<()>>,
    policy: &Policy,
) -> Vec<(String, Option<String>)> {
    let Decision::Allow(Grant { grounds, .. }) = decision else {
        return Vec::new();
    };
    match grounds {
        Grounds::Key(key) => {
            let values = policy.identity.values(&key.record, &policy.plans);
            values
                .map(|(name, value)| (name.as_str().to_owned(), value.map(Into::into)))
                .collect()
        }
        Grounds::Public | Grounds::Observed(_) => policy
            .identity
            .names()
            .map(|name| (name.as_str().to_owned(), None))
            .collect(),
    }
}

fn write_text(
    out: &mut impl Write,
    steps: &Steps,
    decision: &Decision<'_, PresentedKey<()>>,
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
        decision.kind(),
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
    decision: &Decision<'_, PresentedKey<()>>,
    policy: &Policy,
    places: &[String],
) -> std::io::Result<()> {
    let told = |told: &Told| json!({"step": told.step.to_string(), "outcome": told.outcome, "seen": told.seen});
    let (key, reason) = (decision.key(), decision.reason());
    let answer = json!({
        "decision": decision.kind().as_str(),
        "reason": reason.as_str(),
        "status": reason.http_status(),
        "enforced": policy.mode == Mode::Enforce,
        "key_id": key.map(|key| key.record.id.as_str()),
        "client": key.map(|key| key.record.client()),
        "plan": key.and_then(|key| key.record.plan.as_ref()).map(PlanName::as_str),
        "secret": key.and_then(PresentedKey::secret_id),
        "rule": decision.rule().map(|rule| &*rule.name),
        "places": places,
        "identity": identity(decision, policy).into_iter().collect::<BTreeMap<_, _>>(),
        "steps": steps.0.iter().map(told).collect::<Vec<_>>(),
    });
    writeln!(out, "{answer:#}")
}
