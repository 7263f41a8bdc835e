//! The service `envoy.service.auth.v3.Authorization`: the bytes of a check in, the bytes of its
//! answer out.
//!
//! Written by hand in place of tonic's generated code, so that `decode` gets a request's bytes as
//! they were sent. Errors that a caller can trigger are answered as denials, panics included: Envoy
//! treats a gRPC error as its own, and with `failure_mode_allow` it lets the request through. A
//! client that disconnects drops the call's future, which needs no cleanup.

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

/// How often the log reports unreadable checks of each kind; others are logged at `debug`.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// One check, decided and answered.
#[derive(Debug)]
pub struct CompletedCheck<'c, P> {
    /// The request's attributes; `None` where Envoy sent none of HTTP, and where the check
    /// panicked.
    pub request: Option<&'c RequestAttributes<'c>>,
    /// The decision.
    pub decision: &'c Decision<'c, PresentedKey<P>>,
    /// The policy that it was made by.
    pub policy: &'c Policy,
    /// The decision's id, also in the answer's metadata.
    pub decision_id: &'c str,
    /// When the check arrived.
    pub now: Timestamp,
    /// How long it took, from the request's bytes to the answer's.
    pub duration: Duration,
}

/// Is called with every check that was answered, for metrics and the decision log. It runs before
/// the answer is sent, so it must not block.
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
    /// The largest check in bytes. A caller can cause a larger one, by a body that Envoy includes.
    max_message: usize,
    too_large_log: LogThrottle,
    malformed_log: LogThrottle,
    failed_log: LogThrottle,
    ids: DecisionIds,
    /// The answer to a check that panicked, built in advance, so that building it cannot panic
    /// again. It is the same under every policy.
    panic_response: PanicResponse,
}

/// When checks of one kind were last logged, since callers can cause any number of them.
#[derive(Default)]
struct LogThrottle(AtomicU64);

impl LogThrottle {
    /// Whether it is time to log again.
    fn is_due(&self, now: Duration) -> bool {
        // Plus one, for 0 means never.
        let now = now.as_secs().saturating_add(1);
        let last = self.0.load(Ordering::Relaxed);
        (last == 0 || now.saturating_sub(last) >= LOG_INTERVAL.as_secs())
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// When a check arrived, by both clocks, and its decision's id.
#[derive(Clone, Copy)]
struct CheckStart<'i> {
    at: Duration,
    now: Timestamp,
    decision_id: &'i str,
}

/// An encoded answer without the decision's id.
struct PanicResponse {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl PanicResponse {
    fn new<P: HasEncodedKey>(policy: &Policy) -> Self {
        let mut text = Uuid::encode_buffer();
        let placeholder = Uuid::nil().hyphenated().encode_lower(&mut text).as_bytes();
        let answer = encode_response(&panicked::<P>(), policy, None, &Uuid::nil().to_string());
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
    /// A service that asks this authorizer and calls `observe`. A check of more than `max_message`
    /// bytes is a bad request.
    pub fn new(
        authorizer: Arc<Authorizer<P>>,
        observe: CheckObserver<P>,
        clock: Arc<dyn Clock>,
        max_message: usize,
    ) -> Self {
        let panic_response = PanicResponse::new::<P>(&authorizer.snapshot().policy);
        Self {
            checks: Arc::new(Checks {
                authorizer,
                observe,
                clock,
                max_message,
                too_large_log: LogThrottle::default(),
                malformed_log: LogThrottle::default(),
                failed_log: LogThrottle::default(),
                ids: DecisionIds::default(),
                panic_response,
            }),
        }
    }
}

impl<P: HasEncodedKey + Send + Sync + 'static> Checks<P> {
    /// Receives a check and answers it; every failure has an answer too.
    async fn serve<B>(&self, request: http::Request<B>) -> http::Response<Body>
    where
        B: codegen::Body + Send + Unpin,
        B::Error: Into<StdError> + Send,
    {
        let begun = self.clock.monotonic();
        let (head, mut body) = request.into_parts();
        let received = message::receive(&head.headers, &mut body, self.max_message).await;
        // Frees the headers, of which a peer may have sent many.
        drop(head);
        let message = match &received {
            Ok(message) => Ok(&**message),
            Err(ReceiveError::Compressed(status)) => return (**status).clone().into_http(),
            Err(unreadable) => {
                self.log_unreceived(unreadable, begun);
                Err(unreadable.reason())
            }
        };
        // The body lives until here: it counts the check as one in progress.
        message::respond(&self.answer(message, begun).await)
    }

    /// Logs that a check could not be received.
    fn log_unreceived(&self, unreadable: &ReceiveError, now: Duration) {
        let throttle = match unreadable {
            ReceiveError::TooLarge { .. } => &self.too_large_log,
            ReceiveError::Failed(_) => &self.failed_log,
            ReceiveError::Truncated | ReceiveError::Compressed(_) => &self.malformed_log,
        };
        Self::log_unreadable(unreadable, throttle, now);
    }

    fn log_unreadable(error: &dyn std::error::Error, throttle: &LogThrottle, now: Duration) {
        if throttle.is_due(now) {
            tracing::warn!(error = %error, "refused a check that cannot be read; for a minute further ones are logged at `debug`");
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
        // A panic may cost its own check, but not the connection, which carries the checks of all
        // callers. Unwinding is safe here: a check only reads, but for caches and counters, which
        // are consistent between any two operations.
        let checked = AssertUnwindSafe(self.check(message, begun)).catch_unwind();
        if let Ok(answer) = checked.await {
            return answer;
        }
        // The observer may be what panicked.
        _ = catch_unwind(AssertUnwindSafe(|| self.record_panic(begun)));
        self.panic_response.named(decision_id)
    }

    /// Answers the bytes of a `CheckRequest` with those of a `CheckResponse`.
    async fn check(&self, message: Result<&[u8], Reason>, begun: CheckStart<'_>) -> Bytes {
        let request = message.and_then(|message| {
            decode_request(message).map_err(|malformed| {
                Self::log_unreadable(&malformed, &self.malformed_log, begun.at);
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
            Err(reason) => undecided(*reason),
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

    /// Records a check that panicked. The panic hook has logged where.
    fn record_panic(&self, begun: CheckStart<'_>) {
        let snapshot = self.authorizer.snapshot();
        (self.observe)(&CompletedCheck {
            request: None,
            decision: &panicked(),
            policy: &snapshot.policy,
            decision_id: begun.decision_id,
            now: begun.now,
            duration: self.clock.monotonic().saturating_sub(begun.at),
        });
    }
}

/// The decision on a check that panicked.
fn panicked<'r, P>() -> Decision<'r, PresentedKey<P>> {
    undecided(Reason::InternalError)
}

/// The decision on a request that keyward could not read to its end. Observe mode refuses it too:
/// keyward does not know what an allow would have to strip, and a caller's secret must not go
/// upstream.
fn undecided<'r, P>(reason: Reason) -> Decision<'r, PresentedKey<P>> {
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
