//! `keyward check-config`: loads everything as `serve` would, asks a remote source once, and
//! reports.
//!
//! Problems of the configuration come first and alone: it says where the other files are, and keys
//! are checked against its plans and identity headers. Warnings are those of `serve`. As JSON,
//! everything is one object on stdout, valid or not.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::command::{CheckConfig, Format};
use super::report::{problem, problems, warn, without_location};
use super::{Error, Outcome, find_config, load_keys, print, runtime};
use crate::authz::key_map::KeyMap;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::server;

/// A configuration that can be used, and the results of the other checks.
struct Checked {
    file: PathBuf,
    config: Config,
    keys: Option<KeyMap>,
    errors: Vec<Error>,
    /// Warnings about a remote source that can be used.
    source_warnings: Vec<String>,
}

/// Checks everything, and prints a summary or the problems.
pub(super) fn run(arguments: &CheckConfig, out: &mut impl Write) -> Result<Outcome, Error> {
    let checked = check(arguments);
    match arguments.output.output {
        Format::Text => print_summary(checked?, arguments.offline, out),
        Format::Json => {
            let (result, code) = match &checked {
                Ok(checked) => (checked.to_json(), exit_code(&checked.errors)),
                Err(error) => {
                    let problems = problems(std::slice::from_ref(error));
                    let result = json!({"valid": false, "problems": problems, "warnings": []});
                    (result, error.exit_code())
                }
            };
            print(out, format!("{result}\n").as_bytes())?;
            Ok(if code == 0 {
                Outcome::Success
            } else {
                Outcome::Reported(code)
            })
        }
    }
}

fn check(arguments: &CheckConfig) -> Result<Checked, Error> {
    let file = find_config(&arguments.config)?;
    let config = Config::load(&file, &super::environment)?;
    let mut errors = Vec::new();
    let keys = load_keys(&config).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if let Err(error) = server::check_certificates(&config) {
        errors.push(error.into());
    }
    let source_warnings = check_source(&config, arguments.offline).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    Ok(Checked {
        file,
        config,
        keys,
        errors,
        source_warnings,
    })
}

/// Reads the files of a remote source and, unless `offline`, asks it. Gives its warnings.
fn check_source(config: &Config, offline: bool) -> Result<Vec<String>, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let Some(remote) = server::remote_source(config, &clock, None)?.filter(|_| !offline) else {
        return Ok(Vec::new());
    };
    let asked = runtime()?.block_on(remote.probe());
    asked.map_err(|source| Error::Source {
        kind: config.source.kind(),
        source,
    })
}

fn exit_code(errors: &[Error]) -> u8 {
    errors.iter().map(Error::exit_code).max().unwrap_or(0)
}

fn print_summary(checked: Checked, offline: bool, out: &mut impl Write) -> Result<Outcome, Error> {
    for warning in &checked.config.warnings {
        warn(&warning.to_string());
    }
    checked.source_warnings.iter().for_each(|text| warn(text));
    if !checked.errors.is_empty() {
        return Err(Error::Several(checked.errors));
    }
    let (file, source) = (checked.file.display(), checked.config.source_place());
    let (rules, plans) = checked.counts();
    let keys = match (&checked.keys, offline) {
        (Some(keys), _) => format!("{} keys in {source}", keys.len()),
        (None, true) => format!("keys at {source}, which was not asked"),
        (None, false) => format!("keys at {source}, which answers"),
    };
    let text = format!("{file}: valid; {rules} rules, {plans} plans, {keys}\n");
    print(out, text.as_bytes())?;
    Ok(Outcome::Success)
}

impl Checked {
    fn counts(&self) -> (usize, usize) {
        let policy = &self.config.policy;
        (policy.rules.list.len(), policy.plans.0.len())
    }

    fn to_json(&self) -> Value {
        let (rules, plans) = self.counts();
        let of_source = self
            .source_warnings
            .iter()
            .map(|text| without_location(text));
        let warnings = self.config.warnings.iter().map(problem).chain(of_source);
        let warnings: Vec<Value> = warnings.collect();
        json!({
            "valid": self.errors.is_empty(),
            "problems": problems(&self.errors),
            "warnings": warnings,
            "config": self.file.display().to_string(),
            "source": self.config.source_place(),
            "rules": rules,
            "plans": plans,
            "keys": self.keys.as_ref().map(KeyMap::len),
        })
    }
}
