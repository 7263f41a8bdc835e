//! The service `envoy.service.auth.v3.Authorization`: the bytes of a check in, the bytes of its answer out.
//!
//! Written by hand in place of tonic's generated code, so that a request reaches [`view`] as it came. What a caller
//! could bring about is answered as a refusal, a panic included: a gRPC error would be one to Envoy, and an Envoy that
//! fails open (`failure_mode_allow`) lets those through. A client that goes away drops the call's future, which holds
//! nothing that would need an end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{self, BoxFuture, StdError, http};
use tonic::server::NamedService;

use super::convert::{self, Keyed};
use super::message::{self, Unreadable};
use super::view;
use crate::authorizer::trace::Untraced;
use crate::authorizer::{Authorizer, Known};
use crate::authz::clock::Clock;
use crate::authz::decision::{Decision, Refusal};
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::Policy;

/// The service's name in gRPC, for health and for reflection too.
pub const SERVICE_NAME: &str = "envoy.service.auth.v3.Authorization";
/// The path of its one method.
const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// One check, decided and answered.
#[derive(Debug)]
pub struct Checked<'c, P> {
    /// What Envoy told of the request; `None` where it sent no HTTP attributes, and where the check panicked.
    pub request: Option<&'c RequestAttributes<'c>>,
    /// The decision.
    pub decision: &'c Decision<'c, Known<P>>,
    /// The policy by which it fell.
    pub policy: &'c Policy,
    /// How long it took, from the request's bytes to the answer's.
    pub duration: Duration,
}

/// Hears of every check that was answered, for metrics and the decision log. It is called on the way of the answer, so
/// it neither blocks nor waits.
pub type Observe<P> = Box<dyn Fn(&Checked<'_, P>) + Send + Sync>;

/// Answers checks; clones share everything.
pub struct AuthorizationService<P> {
    checks: Arc<Checks<P>>,
}

/// What every check needs.
struct Checks<P> {
    authorizer: Arc<Authorizer<P>>,
    observe: Observe<P>,
    clock: Arc<dyn Clock>,
    /// Bytes of a check. A caller may bring about a larger one, by a body that Envoy sends along.
    max_message: usize,
    has_told_too_large: AtomicBool,
    /// The answer to a check that panicked: ready, so that nothing is left that could panic again. No policy changes it.
    fault: Bytes,
}

impl<P: Keyed + Send + Sync + 'static> AuthorizationService<P> {
    /// A service that asks this authorizer and tells `observe`. A check of more than `max_message` bytes is a bad request.
    pub fn new(
        authorizer: Arc<Authorizer<P>>,
        observe: Observe<P>,
        clock: Arc<dyn Clock>,
        max_message: usize,
    ) -> Self {
        let fault = convert::encode(&fault::<P>(), &authorizer.snapshot().policy, None);
        Self {
            checks: Arc::new(Checks {
                authorizer,
                observe,
                clock,
                max_message,
                has_told_too_large: AtomicBool::new(false),
                fault,
            }),
        }
    }
}

impl<P: Keyed + Send + Sync + 'static> Checks<P> {
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
            Err(Unreadable::Compressed(status)) => return (**status).clone().into_http(),
            Err(unreadable) => {
                self.tell_unreadable(unreadable);
                Err(unreadable.reason())
            }
        };
        // The body is kept up to here: it counts the check as one that is being decided.
        message::respond(&self.answer(message, begun).await)
    }

    /// Tells of the first check of a kind that could not be received, for callers can bring about any number of them.
    fn tell_unreadable(&self, unreadable: &Unreadable) {
        if matches!(unreadable, Unreadable::TooLarge { .. })
            && !self.has_told_too_large.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(error = %unreadable, "refused a check; further ones that are too large are told of at `debug`");
        } else {
            tracing::debug!(error = %unreadable, "refused a check that did not come whole");
        }
    }

    /// Answers a check's message, or refuses a check without one.
    async fn answer(&self, message: Result<&[u8], Reason>, begun: Duration) -> Bytes {
        // A panic may cost the check that met it, not the connection, over which Envoy sends everybody's. What is left in
        // the middle bears it: a check only reads, but for caches and counters that are whole between any two operations.
        let checked = AssertUnwindSafe(self.check(message, begun)).catch_unwind();
        if let Ok(answer) = checked.await {
            return answer;
        }
        // Telling of it may be what panicked.
        _ = catch_unwind(AssertUnwindSafe(|| self.tell_fault(begun)));
        self.fault.clone()
    }

    /// Answers the bytes of a `CheckRequest` with those of a `CheckResponse`.
    async fn check(&self, message: Result<&[u8], Reason>, begun: Duration) -> Bytes {
        let request = message.ok().and_then(|message| {
            view::read(message).unwrap_or_else(|malformed| {
                tracing::warn!(error = %malformed, "refused a check that is not a CheckRequest");
                None
            })
        });
        let snapshot = self.authorizer.snapshot();
        let decision = match (&request, message) {
            (Some(request), _) => {
                self.authorizer
                    .decide(request, &snapshot, &mut Untraced)
                    .await
            }
            (None, Ok(_)) => Authorizer::decide_without_request(&snapshot, Reason::BadRequest),
            (None, Err(reason)) => Authorizer::decide_without_request(&snapshot, reason),
        };
        let answer = convert::encode(&decision, &snapshot.policy, request.as_ref());
        let duration = self.clock.monotonic().saturating_sub(begun);
        (self.observe)(&Checked {
            request: request.as_ref(),
            decision: &decision,
            policy: &snapshot.policy,
            duration,
        });
        answer
    }

    /// Counts a check that panicked. The panic hook has told where.
    fn tell_fault(&self, begun: Duration) {
        let snapshot = self.authorizer.snapshot();
        (self.observe)(&Checked {
            request: None,
            decision: &fault(),
            policy: &snapshot.policy,
            duration: self.clock.monotonic().saturating_sub(begun),
        });
    }
}

/// The decision on a request at which keyward panicked. In observe mode too it is refused: what of the request an allow
/// would have to strip is not known, and a caller's secret must not go upstream.
fn fault<'r, P>() -> Decision<'r, Known<P>> {
    Decision::refuse(Refusal::new(Reason::InternalError))
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
    P: Keyed + Send + Sync + 'static,
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
