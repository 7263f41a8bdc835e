//! `keyward check-config`: loads configuration and keys as `serve` would, and reports every problem.
//!
//! Problems of the configuration come first and alone, for keys are judged by its plans and identity headers.

use std::io::Write;

use serde_json::json;

use super::command::{CheckConfig, Format};
use super::{Error, Outcome, find_config, key_file, load_config, load_keys, unprinted};

/// Loads both, and says in a line what they hold.
pub(super) fn run(arguments: &CheckConfig, out: &mut impl Write) -> Result<Outcome, Error> {
    let file = find_config(&arguments.config)?;
    let config = load_config(&arguments.config)?;
    let keys = load_keys(&config)?;
    let (rules, plans) = (config.policy.rules.list.len(), config.policy.plans.0.len());
    let source = key_file(&config).display();
    let printed = match arguments.output.output {
        Format::Text => {
            writeln!(
                out,
                "{}: valid; {rules} rules, {plans} plans, {} keys in {source}",
                file.display(),
                keys.len()
            )
        }
        Format::Json => {
            let found = json!({
                "config": file.display().to_string(),
                "source": source.to_string(),
                "rules": rules,
                "plans": plans,
                "keys": keys.len(),
            });
            writeln!(out, "{found}")
        }
    };
    printed.map_err(unprinted)?;
    Ok(Outcome::Success)
}
