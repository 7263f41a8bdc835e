//! The service `envoy.service.auth.v3.Authorization`: the bytes of a check in, the bytes of its answer out.
//!
//! Written by hand in place of tonic's generated code, so that a request reaches [`view`] as it came. Whatever goes
//! wrong here is a gRPC error, which Envoy counts as one and which its `failure_mode_allow` governs: never an answer,
//! for a wrong one may be an allow. A client that goes away drops the call's future, which holds nothing that would
//! need an end.

mod unwind;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
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
use crate::authz::decision::Decision;
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
    /// What Envoy told of the request; `None` where it sent no HTTP attributes.
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
}

impl<P: Keyed + Send + Sync + 'static> AuthorizationService<P> {
    /// A service that asks this authorizer and tells `observe`.
    pub fn new(authorizer: Arc<Authorizer<P>>, observe: Observe<P>, clock: Arc<dyn Clock>) -> Self {
        Self {
            checks: Arc::new(Checks {
                authorizer,
                observe,
                clock,
            }),
        }
    }
}

impl<P: Keyed + Send + Sync + 'static> Checks<P> {
    /// Answers the bytes of a `CheckRequest` with those of a `CheckResponse`.
    async fn check(&self, message: &[u8]) -> Result<Bytes, Status> {
        let begun = self.clock.monotonic();
        let request = view::read(message).map_err(|malformed| {
            tracing::warn!(error = %malformed, "refused a check that is not a CheckRequest");
            Status::invalid_argument("the message is not a CheckRequest")
        })?;
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
        Ok(answer)
    }
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
        Box::pin(async move {
            let outcome = unwind::caught(async { checks.check(&message).await }).await;
            outcome
                .unwrap_or_else(|unwind::Panicked| Err(Status::internal("the check failed")))
                .map(Response::new)
        })
    }
}

#[cfg(test)]
mod tests;
