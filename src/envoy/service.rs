//! The service `envoy.service.auth.v3.Authorization`: the bytes of a check in, the bytes of its answer out.
//!
//! Written by hand in place of tonic's generated code, so that a request reaches [`decode`] as it came. What a caller
//! could bring about is answered as a refusal, a panic included: a gRPC error would be one to Envoy, and an Envoy that
//! fails open (`failure_mode_allow`) lets those through. A client that goes away drops the call's future, which holds
//! nothing that would need an end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{self, BoxFuture, StdError, http};
use tonic::server::NamedService;
use uuid::Uuid;

use super::decode::decode_request;
use super::encode::{HasEncodedKey, encode_response};
use super::message::{self, ReceiveError};
use crate::authorizer::trace::NoTrace;
use crate::authorizer::{Authorizer, PresentedKey};
use crate::authz::decision::{Decision, Refusal};
use crate::authz::decision_id::DecisionIds;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::Policy;
use crate::clock::Clock;

/// The service's name in gRPC, for health and for reflection too.
pub const SERVICE_NAME: &str = "envoy.service.auth.v3.Authorization";
/// The path of its one method.
const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How often the log tells of checks that cannot be read, of each kind; of others at `debug`.
const TELL_INTERVAL: Duration = Duration::from_mins(1);

/// One check, decided and answered.
#[derive(Debug)]
pub struct CompletedCheck<'c, P> {
    /// What Envoy told of the request; `None` where it sent no HTTP attributes, and where the check panicked.
    pub request: Option<&'c RequestAttributes<'c>>,
    /// The decision.
    pub decision: &'c Decision<'c, PresentedKey<P>>,
    /// The policy by which it fell.
    pub policy: &'c Policy,
    /// The decision's name, in the answer's metadata too.
    pub decision_id: &'c str,
    /// When the check came.
    pub now: Timestamp,
    /// How long it took, from the request's bytes to the answer's.
    pub duration: Duration,
}

/// Hears of every check that was answered, for metrics and the decision log. It is called on the way of the answer, so
/// it neither blocks nor waits.
pub type CheckObserver<P> = Box<dyn Fn(&CompletedCheck<'_, P>) + Send + Sync>;

/// Answers checks; clones share everything.
pub struct AuthorizationService<P> {
    checks: Arc<Checks<P>>,
}

/// What every check needs.
struct Checks<P> {
    authorizer: Arc<Authorizer<P>>,
    observe: CheckObserver<P>,
    clock: Arc<dyn Clock>,
    /// Bytes of a check. A caller may bring about a larger one, by a body that Envoy sends along.
    max_message: usize,
    told_too_large: LogThrottle,
    told_malformed: LogThrottle,
    told_failed: LogThrottle,
    ids: DecisionIds,
    /// The answer to a check that panicked: ready, so that nothing is left that could panic again. No policy changes it.
    fault: PanicResponse,
}

/// When the log last told of checks of one kind, which callers can bring about in any number.
#[derive(Default)]
struct LogThrottle(AtomicU64);

impl LogThrottle {
    /// Whether it is time to tell again.
    fn is_due(&self, now: Duration) -> bool {
        // One more, for 0 is never.
        let now = now.as_secs().saturating_add(1);
        let last = self.0.load(Ordering::Relaxed);
        (last == 0 || now.saturating_sub(last) >= TELL_INTERVAL.as_secs())
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// When a check came, by both clocks, and what its decision is called.
#[derive(Clone, Copy)]
struct CheckStart<'i> {
    at: Duration,
    now: Timestamp,
    decision_id: &'i str,
}

/// An answer that is ready but for the decision's id.
struct PanicResponse {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl PanicResponse {
    fn new<P: HasEncodedKey>(policy: &Policy) -> Self {
        let mut text = Uuid::encode_buffer();
        let placeholder = Uuid::nil().hyphenated().encode_lower(&mut text).as_bytes();
        let answer = encode_response(&fault::<P>(), policy, None, &Uuid::nil().to_string());
        let mut places = answer.windows(placeholder.len());
        let at = places.position(|bytes| bytes == placeholder);
        let (before, rest) = answer.split_at(at.unwrap_or(answer.len()));
        Self {
            before: before.into(),
            after: rest.get(placeholder.len()..).unwrap_or_default().into(),
        }
    }

    fn named(&self, decision_id: &str) -> Bytes {
        [&self.before, decision_id.as_bytes(), &self.after]
            .concat()
            .into()
    }
}

impl<P: HasEncodedKey + Send + Sync + 'static> AuthorizationService<P> {
    /// A service that asks this authorizer and tells `observe`. A check of more than `max_message` bytes is a bad request.
    pub fn new(
        authorizer: Arc<Authorizer<P>>,
        observe: CheckObserver<P>,
        clock: Arc<dyn Clock>,
        max_message: usize,
    ) -> Self {
        let fault = PanicResponse::new::<P>(&authorizer.snapshot().policy);
        Self {
            checks: Arc::new(Checks {
                authorizer,
                observe,
                clock,
                max_message,
                told_too_large: LogThrottle::default(),
                told_malformed: LogThrottle::default(),
                told_failed: LogThrottle::default(),
                ids: DecisionIds::default(),
                fault,
            }),
        }
    }
}

impl<P: HasEncodedKey + Send + Sync + 'static> Checks<P> {
    /// Receives a check and answers it, whatever comes.
    async fn serve<B>(&self, request: http::Request<B>) -> http::Response<Body>
    where
        B: codegen::Body + Send + Unpin,
        B::Error: Into<StdError> + Send,
    {
        let begun = self.clock.monotonic();
        let (head, mut body) = request.into_parts();
        let received = message::receive(&head.headers, &mut body, self.max_message).await;
        // Not needed any more, and a peer may have sent many.
        drop(head);
        let message = match &received {
            Ok(message) => Ok(&**message),
            Err(ReceiveError::Compressed(status)) => return (**status).clone().into_http(),
            Err(unreadable) => {
                self.tell_unreadable(unreadable, begun);
                Err(unreadable.reason())
            }
        };
        // The body is kept up to here: it counts the check as one that is being decided.
        message::respond(&self.answer(message, begun).await)
    }

    /// Tells of a check that could not be received.
    fn tell_unreadable(&self, unreadable: &ReceiveError, now: Duration) {
        let told = match unreadable {
            ReceiveError::TooLarge { .. } => &self.told_too_large,
            ReceiveError::Failed(_) => &self.told_failed,
            ReceiveError::Truncated | ReceiveError::Compressed(_) => &self.told_malformed,
        };
        Self::tell_refused(unreadable, told, now);
    }

    fn tell_refused(error: &dyn std::error::Error, told: &LogThrottle, now: Duration) {
        if told.is_due(now) {
            tracing::warn!(error = %error, "refused a check that cannot be read; for a minute further ones are told of at `debug`");
        } else {
            tracing::debug!(error = %error, "refused a check that cannot be read");
        }
    }

    /// Answers a check's message, or refuses a check without one.
    async fn answer(&self, message: Result<&[u8], Reason>, begun: Duration) -> Bytes {
        let now = self.clock.now();
        let mut text = Uuid::encode_buffer();
        let decision_id = &*self.ids.next(now).hyphenated().encode_lower(&mut text);
        let begun = CheckStart {
            at: begun,
            now,
            decision_id,
        };
        // A panic may cost the check that met it, not the connection, over which Envoy sends everybody's. What is left in
        // the middle bears it: a check only reads, but for caches and counters that are whole between any two operations.
        let checked = AssertUnwindSafe(self.check(message, begun)).catch_unwind();
        if let Ok(answer) = checked.await {
            return answer;
        }
        // Telling of it may be what panicked.
        _ = catch_unwind(AssertUnwindSafe(|| self.tell_fault(begun)));
        self.fault.named(decision_id)
    }

    /// Answers the bytes of a `CheckRequest` with those of a `CheckResponse`.
    async fn check(&self, message: Result<&[u8], Reason>, begun: CheckStart<'_>) -> Bytes {
        let request = message.and_then(|message| {
            decode_request(message).map_err(|malformed| {
                Self::tell_refused(&malformed, &self.told_malformed, begun.at);
                Reason::BadRequest
            })
        });
        let snapshot = self.authorizer.snapshot();
        let decision = match &request {
            Ok(Some(request)) => {
                self.authorizer
                    .decide(request, &snapshot, &mut NoTrace)
                    .await
            }
            Ok(None) => Authorizer::decide_without_request(&snapshot),
            Err(reason) => unread(*reason),
        };
        let request = request.ok().flatten();
        let answer = encode_response(
            &decision,
            &snapshot.policy,
            request.as_ref(),
            begun.decision_id,
        );
        let duration = self.clock.monotonic().saturating_sub(begun.at);
        (self.observe)(&CompletedCheck {
            request: request.as_ref(),
            decision: &decision,
            policy: &snapshot.policy,
            decision_id: begun.decision_id,
            now: begun.now,
            duration,
        });
        answer
    }

    /// Counts a check that panicked. The panic hook has told where.
    fn tell_fault(&self, begun: CheckStart<'_>) {
        let snapshot = self.authorizer.snapshot();
        (self.observe)(&CompletedCheck {
            request: None,
            decision: &fault(),
            policy: &snapshot.policy,
            decision_id: begun.decision_id,
            now: begun.now,
            duration: self.clock.monotonic().saturating_sub(begun.at),
        });
    }
}

/// The decision on a request at which keyward panicked.
fn fault<'r, P>() -> Decision<'r, PresentedKey<P>> {
    unread(Reason::InternalError)
}

/// The decision on a request that keyward did not read, or not to its end. In observe mode too it is refused: what of it an
/// allow would have to strip is not known, and a caller's secret must not go upstream.
fn unread<'r, P>(reason: Reason) -> Decision<'r, PresentedKey<P>> {
    Decision::Deny(Refusal::new(reason))
}

impl<P> Clone for AuthorizationService<P> {
    fn clone(&self) -> Self {
        Self {
            checks: Arc::clone(&self.checks),
        }
    }
}

impl<P> NamedService for AuthorizationService<P> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<P, B> codegen::Service<http::Request<B>> for AuthorizationService<P>
where
    P: HasEncodedKey + Send + Sync + 'static,
    B: codegen::Body + Send + Unpin + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != CHECK_PATH {
            return Box::pin(async {
                Ok(Status::unimplemented("there is only Check").into_http())
            });
        }
        let checks = Arc::clone(&self.checks);
        Box::pin(async move { Ok(checks.serve(request).await) })
    }
}

#[cfg(test)]
mod tests;
