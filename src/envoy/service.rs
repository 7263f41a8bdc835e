//! The service `envoy.service.auth.v3.Authorization`: the bytes of a check in, the bytes of its answer out.
//!
//! Written by hand in place of tonic's generated code, so that a request reaches [`view`] as it came. What a caller
//! could bring about is answered as a refusal, a panic included: a gRPC error would be one to Envoy, and an Envoy that
//! fails open (`failure_mode_allow`) lets those through. A client that goes away drops the call's future, which holds
//! nothing that would need an end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tonic::body::Body;
use tonic::codegen::{self, BoxFuture, StdError, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};

use super::codec::BytesCodec;
use super::convert::{self, Keyed};
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

/// The most bytes that a check may have. One that is too large is an error to Envoy, and an Envoy that fails open lets
/// it through; so the line is drawn where no caller gets: an operator can allow 8 MiB of headers at most, the path
/// among them is sent twice, and a body may come as well.
const CHECK_MAX_BYTES: usize = 32 * 1024 * 1024;

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
    /// The answer to a check that panicked: ready, so that nothing is left that could panic again. No policy changes it.
    fault: Bytes,
}

impl<P: Keyed + Send + Sync + 'static> AuthorizationService<P> {
    /// A service that asks this authorizer and tells `observe`.
    pub fn new(authorizer: Arc<Authorizer<P>>, observe: Observe<P>, clock: Arc<dyn Clock>) -> Self {
        let fault = convert::encode(&fault::<P>(), &authorizer.snapshot().policy, None);
        Self {
            checks: Arc::new(Checks {
                authorizer,
                observe,
                clock,
                fault,
            }),
        }
    }
}

impl<P: Keyed + Send + Sync + 'static> Checks<P> {
    /// Answers a check, whatever comes.
    async fn answer(&self, message: &[u8]) -> Bytes {
        let begun = self.clock.monotonic();
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
    async fn check(&self, message: &[u8], begun: Duration) -> Bytes {
        let request = view::read(message).unwrap_or_else(|malformed| {
            tracing::warn!(error = %malformed, "refused a check that is not a CheckRequest");
            None
        });
        let snapshot = self.authorizer.snapshot();
        let decision = match &request {
            Some(request) => {
                self.authorizer
                    .decide(request, &snapshot, &mut Untraced)
                    .await
            }
            None => Authorizer::decide_without_request(&snapshot),
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
    B: codegen::Body + Send + 'static,
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
        let method = CheckMethod(Arc::clone(&self.checks));
        Box::pin(async {
            let grpc = Grpc::new(BytesCodec);
            Ok(grpc
                .max_decoding_message_size(CHECK_MAX_BYTES)
                .unary(method, request)
                .await)
        })
    }
}

/// The method as tonic calls it, once its message has arrived whole.
struct CheckMethod<P>(Arc<Checks<P>>);

impl<P: Keyed + Send + Sync + 'static> codegen::Service<Request<Bytes>> for CheckMethod<P> {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let checks = Arc::clone(&self.0);
        let message = request.into_inner();
        Box::pin(async move { Ok(Response::new(checks.answer(&message).await)) })
    }
}

#[cfg(test)]
mod tests;
