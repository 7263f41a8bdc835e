//! `keyward check-config`: loads configuration, keys and certificates as `serve` would, asks a remote source once, and reports
//! every problem.
//!
//! Problems of the configuration come first and alone, for it says where the others are, and keys are judged by its
//! plans and identity headers.

use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use super::command::{CheckConfig, Format};
use super::{Error, Outcome, find_config, load_config, load_keys, print, runtime};
use crate::authz::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::server::{self, Remote};

/// Loads them, and says in a line what they hold.
pub(super) fn run(arguments: &CheckConfig, out: &mut impl Write) -> Result<Outcome, Error> {
    let file = find_config(&arguments.config)?;
    let config = load_config(&arguments.config)?;
    let mut errors = Vec::new();
    let keys = load_keys(&config).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if let Err(error) = server::check_certificates(&config) {
        errors.push(error.into());
    }
    if let Err(error) = check_source(&config, arguments.offline) {
        errors.push(error);
    }
    match errors.pop() {
        None => {}
        Some(error) if errors.is_empty() => return Err(error),
        Some(error) => {
            errors.push(error);
            return Err(Error::Several(errors));
        }
    }
    let (rules, plans) = (config.policy.rules.list.len(), config.policy.plans.0.len());
    let (file, source) = (file.display().to_string(), config.source.to_string());
    let text = match arguments.output.output {
        Format::Text => {
            let keys = match (&keys, arguments.offline) {
                (Some(keys), _) => format!("{} keys in {source}", keys.len()),
                (None, true) => format!("keys at {source}, which was not asked"),
                (None, false) => format!("keys at {source}, which answers"),
            };
            format!("{file}: valid; {rules} rules, {plans} plans, {keys}")
        }
        Format::Json => json!({
            "config": file,
            "source": source,
            "rules": rules,
            "plans": plans,
            "keys": keys.map(|keys| keys.len()),
        })
        .to_string(),
    };
    print(out, format!("{text}\n").as_bytes())?;
    Ok(Outcome::Success)
}

/// Reads what a remote source needs and, unless `offline`, asks it.
fn check_source(config: &Config, offline: bool) -> Result<(), Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let Some(remote) = Remote::of(config, &clock)?.filter(|_| !offline) else {
        return Ok(());
    };
    let asked = runtime()?.block_on(remote.try_once());
    asked.map_err(|source| Error::Source {
        kind: config.source.kind(),
        source,
    })
}
