//! The pipeline: one function that decides a request, in the order of the table in
//! docs/decisions.md.
//!
//! Takes the request's attributes and a snapshot of the configuration, asks the cache for the key,
//! and returns a `Decision`. The first step that fails decides. Where keyward cannot find out, that
//! is a refusal whose reason says so, never an allow. Observe mode turns refusals into grants in
//! one place, at the end.

mod route;
pub mod trace;

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;

use self::route::{Route, RouteAccess};
use self::trace::{Step, StepOutcome, Trace};
use crate::authz::credential::Credential;
use crate::authz::decision::{Decision, Grant, Grounds, Refusal};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyNotValid, Secret, SecretId};
use crate::authz::path::RequestPath;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::{Mode, Policy, Snapshot};
use crate::clock::Clock;
use crate::keys::cache::{CachedKey, KeyCache, Lookup, LookupError};

/// A known key as a request presented it: the cached key, and which of its secrets it was.
#[derive(Debug)]
pub struct PresentedKey<P> {
    key: Arc<CachedKey<P>>,
    secret: Option<usize>,
}

impl<P> PresentedKey<P> {
    fn new(key: Arc<CachedKey<P>>, digest: &KeyDigest) -> Self {
        let secret = key.record.secret_with(digest);
        Self { key, secret }
    }

    /// The index of the presented secret among the key's.
    pub fn secret_index(&self) -> Option<usize> {
        self.secret
    }

    /// The presented secret.
    pub fn secret(&self) -> Option<&Secret> {
        self.record.secrets.get(self.secret?)
    }

    /// The presented secret's id, where it has one.
    pub fn secret_id(&self) -> Option<&str> {
        self.secret()?.id.as_deref().map(SecretId::as_str)
    }
}

impl<P> Deref for PresentedKey<P> {
    type Target = CachedKey<P>;

    fn deref(&self) -> &CachedKey<P> {
        &self.key
    }
}

/// Decides requests. `P` is what is prepared for each key in use.
pub struct Authorizer<P> {
    snapshot: ArcSwap<Snapshot>,
    cache: KeyCache<P>,
    clock: Arc<dyn Clock>,
}

impl<P: Send + Sync + 'static> Authorizer<P> {
    /// An authorizer that begins with this snapshot.
    pub fn new(snapshot: Arc<Snapshot>, cache: KeyCache<P>, clock: Arc<dyn Clock>) -> Self {
        Self {
            snapshot: ArcSwap::new(snapshot),
            cache,
            clock,
        }
    }

    /// The active snapshot. A check takes it once, and decides and answers by it.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces the active snapshot: the next check is decided by it.
    pub fn install(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// The cache in front of the source.
    pub fn cache(&self) -> &KeyCache<P> {
        &self.cache
    }

    /// Decides a request. In observe mode every request is allowed, and the grant holds the refusal
    /// that it would have got.
    pub async fn decide<'r, T: Trace>(
        &self,
        request: &RequestAttributes<'r>,
        snapshot: &'r Snapshot,
        trace: &mut T,
    ) -> Decision<'r, PresentedKey<P>> {
        match self.evaluate(request, snapshot, trace).await {
            Ok(grant) => Decision::Allow(grant),
            Err(refusal) => refuse(refusal, snapshot),
        }
    }

    /// The decision where Envoy sent no HTTP attributes: there is nothing to evaluate and nothing
    /// to strip.
    pub fn decide_without_request(snapshot: &Snapshot) -> Decision<'_, PresentedKey<P>> {
        refuse(Refusal::new(Reason::BadRequest), snapshot)
    }

    /// Why a request is allowed, or the first step that fails.
    async fn evaluate<'r, T: Trace>(
        &self,
        request: &RequestAttributes<'r>,
        snapshot: &'r Snapshot,
        trace: &mut T,
    ) -> Result<Grant<'r, PresentedKey<P>>, Refusal<'r, PresentedKey<P>>> {
        let policy = &*snapshot.policy;
        let mut path = RequestPath::of(request);
        let route = Route::select(request, &mut path, policy, trace);
        let rule = route.rule;
        let grant = |grounds| Grant { grounds, rule };
        let refuse = |reason| Refusal {
            rule,
            ..Refusal::new(reason)
        };
        if route.access == RouteAccess::Anyone {
            return Ok(grant(Grounds::Public));
        }
        let credential = present(request, policy, trace).map_err(refuse)?;
        let found = self.resolve(&credential, snapshot, trace).await;
        let key = found.map_err(refuse)?;
        let checked = check_validity(&key, self.clock.now(), trace).and_then(|()| {
            let checked = route.check(&key.record, request, &mut path, policy, trace);
            checked.map_err(|reason| (reason, None))
        });
        match checked {
            Ok(()) => Ok(grant(Grounds::Key(key))),
            Err((reason, moment)) => Err(Refusal {
                key: Some(key),
                moment,
                scopes: route.scopes_wanted(),
                ..refuse(reason)
            }),
        }
    }

    /// The key that has the presented secret, under whichever of the accepted kinds of digest.
    async fn resolve<T: Trace>(
        &self,
        credential: &Credential<'_>,
        snapshot: &Snapshot,
        trace: &mut T,
    ) -> Result<PresentedKey<P>, Reason> {
        for digest in snapshot.policy.digester.digests(credential) {
            match self.cache.find(&digest, snapshot).await {
                Ok(Lookup::Known(key)) => {
                    let key = PresentedKey::new(key, &digest);
                    let step = Step::KeyFound(&digest, &key.record, key.secret_id());
                    trace.step(StepOutcome::Passed, step);
                    return Ok(key);
                }
                Ok(Lookup::Unknown) => {
                    trace.step(StepOutcome::Noted, Step::DigestUnknown(&digest));
                }
                Ok(Lookup::Invalid(invalid)) => {
                    trace.step(StepOutcome::Failed, Step::RecordInvalid(&digest, &invalid));
                    return Err(Reason::InvalidRecord);
                }
                Err(error) => {
                    trace.step(StepOutcome::Failed, Step::LookupFailed(&digest, &error));
                    return Err(match error {
                        LookupError::Unavailable(_) => Reason::SourceUnavailable,
                        LookupError::Overloaded(_) => Reason::Overloaded,
                    });
                }
            }
        }
        trace.step(StepOutcome::Failed, Step::KeyUnknown);
        Err(Reason::UnknownKey)
    }
}

/// The decision for a refusal. Here and nowhere else, observe mode allows the request.
fn refuse<'r, K>(refusal: Refusal<'r, K>, snapshot: &Snapshot) -> Decision<'r, K> {
    match snapshot.policy.mode {
        Mode::Enforce => Decision::Deny(refusal),
        Mode::Observe => Decision::Allow(Grant {
            rule: refusal.rule,
            grounds: Grounds::Observed(refusal),
        }),
    }
}

/// The one secret that the request presents.
fn present<'r>(
    request: &RequestAttributes<'r>,
    policy: &Policy,
    trace: &mut impl Trace,
) -> Result<Credential<'r>, Reason> {
    let found = policy.credentials.find(request);
    let found = found.and_then(|found| found.ok_or(Reason::MissingKey));
    let result = found.as_ref().map(|_| ()).map_err(|reason| *reason);
    trace.step(StepOutcome::of(result.is_ok()), Step::Credential(result));
    found
}

/// Whether the key is valid now; else the reason, and the moment that decided.
fn check_validity<P>(
    key: &PresentedKey<P>,
    now: Timestamp,
    trace: &mut impl Trace,
) -> Result<(), (Reason, Option<Timestamp>)> {
    let (record, secret) = (&*key.record, key.secret());
    let result = record.check(secret, now);
    let step = Step::Validity {
        record,
        secret,
        now,
        result,
    };
    trace.step(StepOutcome::of(result.is_ok()), step);
    result.map_err(|KeyNotValid { reason, moment }| (reason, moment))
}

#[cfg(test)]
pub(crate) mod tests;
