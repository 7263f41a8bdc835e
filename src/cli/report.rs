//! Errors and notes on stderr, and problems as JSON for programs.
//!
//! A problem is one line: text, in colour on a terminal, or an event in the form of the JSON log.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use tracing::Level;

use super::Error;
use crate::clock::{Clock as _, SystemClock};
use crate::config::ConfigError;
use crate::error_chain::chain;
use crate::keys::file::LoadError;
use crate::observe::log::json_line;
use crate::yaml::{Problem, Problems};

/// Prints an error with its causes on stderr, each problem on a line of its own.
pub(super) fn report(error: &Error) {
    if let Error::Several(errors) = error {
        return errors.iter().for_each(report);
    }
    if let Error::AsLog(error) = error {
        return log(error);
    }
    for line in chain(error).lines() {
        print_line("error", AnsiColor::Red.on_default().bold(), line);
    }
}

/// Prints a note on stderr; the command goes on.
pub(super) fn note(text: &str) {
    print_line("note", Style::new().bold(), text);
}

/// Prints a warning on stderr.
pub(super) fn warn(text: &str) {
    print_line("warning", AnsiColor::Yellow.on_default().bold(), text);
}

fn print_line(kind: &str, style: Style, text: &str) {
    _ = writeln!(anstream::stderr().lock(), "{style}{kind}:{style:#} {text}");
}

fn log(error: &Error) {
    let now = SystemClock::new().now();
    let mut stderr = std::io::stderr().lock();
    for line in chain(error).lines() {
        _ = writeln!(stderr, "{}", json_line(now, Level::ERROR, line.to_owned()));
    }
}

/// All problems, a JSON object each.
pub(super) fn problems(errors: &[Error]) -> Vec<Value> {
    errors.iter().flat_map(problems_of).collect()
}

fn problems_of(error: &Error) -> Vec<Value> {
    if let Error::Several(errors) = error {
        return problems(errors);
    }
    if let Error::Config(ConfigError::Invalid(found)) | Error::Keys(LoadError::Problems(found)) =
        error
    {
        return listed(found);
    }
    chain(error).lines().map(without_location).collect()
}

fn listed(found: &Problems) -> Vec<Value> {
    let more = found.omitted();
    let more = (more > 0).then(|| without_location(&format!("and {more} more")));
    found.iter().map(problem).chain(more).collect()
}

/// A problem or a warning as JSON; unknown parts of its location are null.
pub(super) fn problem(problem: &Problem) -> Value {
    let path = problem.path.to_string();
    json!({
        "file": problem.file.display().to_string(),
        "line": problem.position.map(|position| position.line),
        "column": problem.position.map(|position| position.column),
        "path": (!path.is_empty()).then_some(path),
        "message": problem.message,
        "help": problem.help,
    })
}

/// The same for a problem without a location in a file.
pub(super) fn without_location(message: &str) -> Value {
    json!({"file": null, "line": null, "column": null, "path": null, "message": message, "help": null})
}
