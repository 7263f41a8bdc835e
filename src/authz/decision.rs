//! What the pipeline decides, before `answer` makes it into an answer.
//!
//! A `Grant` is the permit and its own proof: it says why the request is allowed.
//! Everything else is a `Refusal`, whose reason says whether keyward refused by what it knows or
//! could not decide. No function turns a refusal into an allow but observe mode's, in the
//! authorizer.

use std::borrow::Cow;

use jiff::Timestamp;

use super::reason::{DecisionKind, Reason};
use super::rule::Rule;
use super::scope::Scope;

/// The decision on one request. `K` is a known key with what was prepared for it.
#[derive(Debug)]
pub enum Decision<'r, K> {
    /// The request is allowed.
    Allow(Grant<'r, K>),
    /// The request is refused, by what keyward knows or because it could not decide.
    Deny(Refusal<'r, K>),
}

/// Why a request is allowed, and by which rule.
#[derive(Debug)]
pub struct Grant<'r, K> {
    /// The grounds.
    pub grounds: Grounds<'r, K>,
    /// The rule that decided; `None` where `default` did.
    pub rule: Option<&'r Rule>,
}

/// Why a request is allowed.
#[derive(Debug)]
pub enum Grounds<'r, K> {
    /// No key is needed.
    Public,
    /// This key passed every step.
    Key(K),
    /// Observe mode: enforce mode would have refused it. It carries no key's identity.
    Observed(Refusal<'r, K>),
}

/// Why a request is refused, with what was known when it failed.
#[derive(Debug)]
pub struct Refusal<'r, K> {
    /// Never `allowed` or `public`.
    pub reason: Reason,
    /// The key that was presented, where it is known.
    pub key: Option<K>,
    /// The rule that was to decide, or the name that the Envoy route gave; `None` where `default`
    /// was.
    pub rule: Option<&'r Rule>,
    /// The moment that decided, for reasons of validity.
    pub moment: Option<Timestamp>,
    /// All the scopes that the rule wants, for `insufficient_scope`.
    pub scopes: &'r [Scope],
}

impl<K> Refusal<'_, K> {
    /// A refusal without a key or a rule.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            key: None,
            rule: None,
            moment: None,
            scopes: &[],
        }
    }

    /// A sentence for the caller.
    pub fn sentence(&self) -> Cow<'static, str> {
        match (self.reason, self.moment) {
            (Reason::KeyExpired, Some(at)) => format!("The API key expired at {at}.").into(),
            (Reason::KeyNotYetValid, Some(at)) => {
                format!("The API key is not valid before {at}.").into()
            }
            (reason, _) => reason.sentence().into(),
        }
    }
}

impl<'r, K> Decision<'r, K> {
    /// The refusal; in observe mode the one that enforce mode would have answered with.
    pub fn refusal(&self) -> Option<&Refusal<'r, K>> {
        match self {
            Self::Allow(grant) => match &grant.grounds {
                Grounds::Observed(refusal) => Some(refusal),
                Grounds::Public | Grounds::Key(_) => None,
            },
            Self::Deny(refusal) => Some(refusal),
        }
    }

    /// Why; in observe mode, why it would have been refused.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Allow(grant) => match &grant.grounds {
                Grounds::Public => Reason::Public,
                Grounds::Key(_) => Reason::Allowed,
                Grounds::Observed(refusal) => refusal.reason,
            },
            Self::Deny(refusal) => refusal.reason,
        }
    }

    /// Allow, deny or error; in observe mode, what it would have been.
    pub fn kind(&self) -> DecisionKind {
        self.reason().kind()
    }

    /// The key that was presented, where it is known, whether it passed or not.
    pub fn key(&self) -> Option<&K> {
        match self {
            Self::Allow(grant) => match &grant.grounds {
                Grounds::Public => None,
                Grounds::Key(key) => Some(key),
                Grounds::Observed(refusal) => refusal.key.as_ref(),
            },
            Self::Deny(refusal) => refusal.key.as_ref(),
        }
    }

    /// The rule that decided or was to decide.
    pub fn rule(&self) -> Option<&'r Rule> {
        match self {
            Self::Allow(grant) => grant.rule,
            Self::Deny(refusal) => refusal.rule,
        }
    }
}
