//! `keyward check-config`: loads configuration, keys and certificates as `serve` would, and reports every problem.
//!
//! Problems of the configuration come first and alone, for it says where the others are, and keys are judged by its
//! plans and identity headers.

use std::io::Write;

use serde_json::json;

use super::command::{CheckConfig, Format};
use super::{Error, Outcome, find_config, load_config, load_keys, print};
use crate::server;

/// Loads them, and says in a line what they hold.
pub(super) fn run(arguments: &CheckConfig, out: &mut impl Write) -> Result<Outcome, Error> {
    let file = find_config(&arguments.config)?;
    let config = load_config(&arguments.config)?;
    let certificates = server::check_certificates(&config);
    let keys = match (load_keys(&config), certificates) {
        (Ok(keys), Ok(())) => keys,
        (Err(error), Ok(())) => return Err(error),
        (Ok(_), Err(error)) => return Err(error.into()),
        (Err(keys), Err(certificates)) => {
            return Err(Error::Several(vec![keys, certificates.into()]));
        }
    };
    let (rules, plans) = (config.policy.rules.list.len(), config.policy.plans.0.len());
    let source = config.source.path().display();
    let text = match arguments.output.output {
        Format::Text => format!(
            "{}: valid; {rules} rules, {plans} plans, {} keys in {source}",
            file.display(),
            keys.len()
        ),
        Format::Json => json!({
            "config": file.display().to_string(),
            "source": source.to_string(),
            "rules": rules,
            "plans": plans,
            "keys": keys.len(),
        })
        .to_string(),
    };
    print(out, format!("{text}\n").as_bytes())?;
    Ok(Outcome::Success)
}
