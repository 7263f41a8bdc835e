//! `keyward explain`: decides one request offline, by the very pipeline that serves, and prints
//! why.
//!
//! Secrets come from files or standard input and are presented at credential places; they are never
//! printed.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use self::request::ExplainedRequest;
use self::wording::Wording;
use super::command::{Explain, Format};
use super::{Error, Outcome, load_config, load_keys, print, runtime};
use crate::authorizer::trace::{Step, StepOutcome, Trace};
use crate::authorizer::{Authorizer, PresentedKey};
use crate::authz::decision::{Decision, Grant, Grounds};
use crate::authz::key::PlanName;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::clock::{Clock, SystemClock};
use crate::server;

mod hints;
mod request;
mod wording;

/// The steps of one decision, in words.
struct Explanation<'e> {
    wording: Wording<'e>,
    steps: Vec<ExplainedStep>,
}

struct ExplainedStep {
    name: &'static str,
    outcome: &'static str,
    seen: String,
}

impl Explanation<'_> {
    fn note_credential(&mut self, seen: String) {
        self.steps.push(ExplainedStep {
            name: "credential",
            outcome: "noted",
            seen,
        });
    }
}

impl Trace for Explanation<'_> {
    fn step(&mut self, outcome: StepOutcome, step: Step<'_>) {
        let (name, seen) = self.wording.of(outcome, step);
        let outcome = match outcome {
            StepOutcome::Passed => "passed",
            StepOutcome::Noted => "noted",
            StepOutcome::Failed => "failed",
        };
        self.steps.push(ExplainedStep {
            name,
            outcome,
            seen,
        });
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
    let request = ExplainedRequest::of(arguments, &policy)?;
    let snapshot = Arc::new(Snapshot {
        generation: Generation(1),
        policy: Arc::clone(&policy),
        keys: keys.map(Arc::new),
    });
    let authorizer = Authorizer::new(Arc::clone(&snapshot), cache, clock);
    let runtime = runtime()?;
    let attributes = request.attributes(arguments);
    let mut explanation = Explanation {
        wording: Wording {
            request: &attributes,
            policy: &policy,
        },
        steps: Vec::new(),
    };
    for flaw in &request.flaws {
        explanation.note_credential(format!("--key-file {flaw}"));
    }
    if let Some(hint) = hint(&attributes, &policy) {
        explanation.note_credential(hint);
    }
    let decision = runtime.block_on(async {
        if let Some(remote) = &remote {
            remote.connect().await;
        }
        let trace = &mut explanation;
        authorizer.decide(&attributes, &snapshot, trace).await
    });
    let mut text = Vec::new();
    let written = match arguments.output.output {
        Format::Text => write_text(&mut text, &explanation.steps, &decision, &policy),
        Format::Json => {
            let places = policy.credentials.filled(&attributes);
            write_json(&mut text, &explanation.steps, &decision, &policy, &places)
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

/// What is odd about how a key is presented, where that may be why it is refused.
fn hint(request: &RequestAttributes<'_>, policy: &Policy) -> Option<String> {
    let reason = match policy.credentials.find(request) {
        Ok(None) => Reason::MissingKey,
        Ok(Some(_)) => return None,
        Err(reason) => reason,
    };
    policy.credentials.hint(request, reason)
}

/// What goes upstream of a key that passed: each identity header, and its value where the key has
/// one.
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
    steps: &[ExplainedStep],
    decision: &Decision<'_, PresentedKey<()>>,
    policy: &Policy,
) -> std::io::Result<()> {
    for ExplainedStep {
        name,
        outcome,
        seen,
    } in steps
    {
        writeln!(out, "{outcome:<6} {name:<12} {seen}")?;
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
        writeln!(out, "mode is observe: the request is allowed anyway")?;
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
    steps: &[ExplainedStep],
    decision: &Decision<'_, PresentedKey<()>>,
    policy: &Policy,
    places: &[String],
) -> std::io::Result<()> {
    let step = |step: &ExplainedStep| json!({"step": step.name, "outcome": step.outcome, "seen": step.seen});
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
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    });
    writeln!(out, "{answer:#}")
}

#[cfg(test)]
mod tests;
