//! What `explain` learns of a decision: each step, with what it looked at and how it went.
//!
//! The pipeline reports every step to a `Trace`, as values that it has at hand anyway: it puts
//! nothing into words. The trace that serves does nothing, and the compiler leaves nothing of it.

use jiff::Timestamp;

use crate::authz::digest::KeyDigest;
use crate::authz::key::{ClientName, KeyNotValid, KeyRecord, Restrictions, Secret};
use crate::authz::reason::Reason;
use crate::authz::rule::{Mismatch, Rule, RuleSelection};
use crate::authz::scope::Scope;
use crate::keys::cache::LookupError;
use crate::keys::source::InvalidRecord;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// It passed.
    Passed,
    /// It decides nothing by itself.
    Noted,
    /// It failed, and the request is refused for it.
    Failed,
}

impl StepOutcome {
    /// Passed or failed.
    pub const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// A step of a decision, in their order (the table in docs/decisions.md), and what it looked at
/// besides request and policy.
#[derive(Debug, Clone, Copy)]
pub enum Step<'t> {
    /// A rule that does not match.
    RuleSkipped(&'t Rule, Mismatch),
    /// The rule that decides.
    RuleSelected(RuleSelection<'t>),
    /// The search for the one secret that the request presents.
    Credential(Result<(), Reason>),
    /// No key has this digest, one of those that are looked up.
    DigestUnknown(&'t KeyDigest),
    /// No key has any of the secret's digests.
    KeyUnknown,
    /// The key that has this digest, and the id of the secret.
    KeyFound(&'t KeyDigest, &'t KeyRecord, Option<&'t str>),
    /// The record with this digest is not valid.
    RecordInvalid(&'t KeyDigest, &'t InvalidRecord),
    /// This digest could not be looked up.
    LookupFailed(&'t KeyDigest, &'t LookupError),
    /// Whether the key, presented as that one of its secrets, is valid now.
    Validity {
        /// The key.
        record: &'t KeyRecord,
        /// The presented one of its secrets.
        secret: Option<&'t Secret>,
        /// The moment at which it was checked.
        now: Timestamp,
        /// Why it is not valid.
        result: Result<(), KeyNotValid>,
    },
    /// Whether the key came over HTTPS.
    Transport,
    /// Whether the path may be compared: with the paths of that rule, else with the key's.
    Path(Option<&'t Rule>),
    /// Whether the route is open to keys, by that rule, else by the default.
    Route(Option<&'t Rule>),
    /// Whether the client's address is one of the key's.
    Address(&'t Restrictions),
    /// Whether host, path and method are the key's; of the path it is known already.
    Restrictions(&'t Restrictions, bool),
    /// Whether the key's client is one that the rule wants.
    Client(&'t KeyRecord, &'t [ClientName]),
    /// Whether the key has all the scopes that the rule wants.
    Scopes(&'t KeyRecord, &'t [Scope]),
}

/// Receives each step.
pub trait Trace: Send {
    /// Takes note of a step.
    fn step(&mut self, outcome: StepOutcome, step: Step<'_>);
}

/// Takes note of nothing: for serving.
#[derive(Debug, Clone, Copy)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline]
    fn step(&mut self, _: StepOutcome, _: Step<'_>) {}
}
