//! What `explain` hears of a decision: each step with what it looked at and how it went.
//!
//! The pipeline tells every step to a `Trace`. The one that serves is nothing at all, and the closures that would
//! describe a step are never run.

use std::fmt;

/// A step of a decision, in their order (the table in docs/decisions.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Which rule decides.
    Rule,
    /// The secret that the request presents.
    Credential,
    /// The key that has it.
    Key,
    /// Whether the key counts now.
    Validity,
    /// Whether the key came over HTTPS.
    Transport,
    /// Whether the path may be looked at.
    Path,
    /// Whether anybody may pass.
    Route,
    /// The client's address.
    Address,
    /// The key's hosts, paths and methods.
    Restrictions,
    /// The clients that the rule wants.
    Client,
    /// The scopes that the rule wants.
    Scopes,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "rule",
            Self::Credential => "credential",
            Self::Key => "key",
            Self::Validity => "validity",
            Self::Transport => "transport",
            Self::Path => "path",
            Self::Route => "route",
            Self::Address => "address",
            Self::Restrictions => "restrictions",
            Self::Client => "client",
            Self::Scopes => "scopes",
        })
    }
}

/// Hears of each step.
pub trait Trace: Send {
    /// A step passed; `seen` says what it looked at.
    fn passed(&mut self, step: Step, seen: impl FnOnce() -> String);

    /// Something was looked at that decides nothing by itself.
    fn noted(&mut self, step: Step, seen: impl FnOnce() -> String);

    /// A step failed; `seen` says what it looked at and what it wanted.
    fn failed(&mut self, step: Step, seen: impl FnOnce() -> String);
}

/// Hears nothing: for serving.
#[derive(Debug, Clone, Copy)]
pub struct NoTrace;

impl Trace for NoTrace {
    fn passed(&mut self, _: Step, _: impl FnOnce() -> String) {}

    fn noted(&mut self, _: Step, _: impl FnOnce() -> String) {}

    fn failed(&mut self, _: Step, _: impl FnOnce() -> String) {}
}
