//! The gRPC listener: the limits on peers, TLS, and the services that answer.
//!
//! Written on hyper and not taken from tonic's server: connections are in a set that we own, the
//! drain can end each of them, and checks do not pay for layers that they do not use. Every limit
//! on a peer is a constant with its reason, and none is one that a healthy Envoy reaches.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::service::Routes;

use super::accept;
use super::bodies::{OtherCall, RequestBody, ResponseBody, ResponseGuard};
use super::connections::{
    Accepted, Closing, ConnectionLimit, Connections, HANDSHAKE_TIMEOUT, Peer,
};
use super::phase::{Phase, PhaseWatch};
use super::socket::{Http2Stream, Listener, ReadBudget, Socket, Stream};
use crate::clock::Clock;
use crate::observe::metrics::ConnectionMetrics;
use crate::tls::ServerTls;

/// An Envoy opens one connection for each worker thread, so this is a large fleet of Envoys. It
/// bounds file descriptors, of which many systems give a process 1024.
const CONNECTION_LIMIT: ConnectionLimit = ConnectionLimit {
    connections: 768,
    newcomers: 128,
};
/// How long a connection that is closed for a new one may take to finish its calls.
const GRACEFUL_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Concurrent calls of a connection that are not checks: health and reflection, of which a client
/// needs one or two.
const MAX_OTHER_CALLS: usize = 8;
/// Concurrent streams of a connection: what Envoy's circuit breaker lets through by default. Beyond
/// it Envoy opens another connection.
const MAX_STREAMS: u32 = 1024;
/// Bytes of a call's own headers, by HTTP/2's count, which is a third of what short ones take in
/// memory. The request's headers are in the message, but a tracer in Envoy may copy a caller's
/// `tracestate` into a header of the call, and a call that is refused for it is an error to Envoy.
/// So this is above the 60 KiB of request headers that Envoy accepts by default.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// HTTP/2's flow control windows, of a connection and of a stream: enough for full speed on a fast
/// network within a region.
const WINDOW_BYTES: u32 = 256 * 1024;
/// Streams that the peer may reset before they are handled (more is the "rapid reset" attack).
/// Envoy resets calls that time out, all at once if this process was starved of CPU, and must not
/// lose the connection for it: as many as there may be streams.
const MAX_RESET_STREAMS: usize = 1024;
/// How often an idle peer is pinged: well within the minutes after which firewalls drop a
/// connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a peer may take to answer a ping: many times what a busy one needs.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The only header of a check's call that is used.
const GRPC_ENCODING: &str = "grpc-encoding";

/// The gRPC server; `C` answers checks.
pub(crate) struct GrpcServer<C> {
    connections: Connections,
    connection: Arc<Connection<C>>,
}

/// What all connections share.
struct Connection<C> {
    tls: Option<Arc<ServerTls>>,
    http: http2::Builder<TokioExecutor>,
    services: Services<C>,
}

struct Services<C> {
    check_prefix: Arc<str>,
    checks: C,
    others: Routes,
}

struct Calls<C> {
    connection: Arc<Connection<C>>,
    peer: Arc<Peer>,
    others: Arc<()>,
}

pub(crate) struct CallFuture {
    answer: BoxFuture<Response<Body>, Infallible>,
    /// `None` for a check.
    other: Option<OtherCall>,
    peer: Arc<Peer>,
}

impl<C> GrpcServer<C>
where
    C: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    pub(crate) fn new(
        tls: Option<Arc<ServerTls>>,
        checks: C,
        others: Routes,
        clock: Arc<dyn Clock>,
        metrics: ConnectionMetrics,
    ) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            // gRPC does not use it.
            .auto_date_header(false);
        let services = Services {
            check_prefix: format!("/{}/", C::NAME).into(),
            checks,
            others: others.prepare(),
        };
        let connection = Arc::new(Connection {
            tls,
            http,
            services,
        });
        Self {
            connections: Connections::new("grpc", CONNECTION_LIMIT, clock, metrics),
            connection,
        }
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.connections.open()
    }

    /// Serves until the phase is `Closing`; then closes the listener and ends when every connection
    /// has.
    pub(crate) async fn run(self, listener: Listener, phase: PhaseWatch) {
        let serve = |accepted| Arc::clone(&self.connection).serve(accepted, phase.clone());
        let end = Phase::Closing;
        accept::serve(listener, self.connections, phase.clone(), end, serve).await;
    }
}

impl<C> Connection<C>
where
    C: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    async fn serve(self: Arc<Self>, accepted: Accepted, mut phase: PhaseWatch) {
        let Accepted {
            socket,
            address,
            permit,
        } = accepted;
        let peer = permit.peer();
        let handshake = timeout(HANDSHAKE_TIMEOUT, self.handshake(socket));
        let connected = tokio::select! {
            connected = handshake => connected,
            // No call of this peer is in flight yet.
            _ = peer.close_requested() => return,
            () = phase.reached(Phase::Closing) => return,
        };
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(?address, %error, "a connection failed before its first call");
                return;
            }
            Err(_) => {
                tracing::debug!(?address, "a connection took too long to its first call");
                return;
            }
        };
        let budget = stream.budget();
        let calls = Calls {
            connection: Arc::clone(&self),
            peer: Arc::clone(peer),
            others: Arc::default(),
        };
        let mut serving = pin!(self.http.serve_connection(TokioIo::new(stream), calls));
        let ended = tokio::select! {
            ended = drive(serving.as_mut(), &budget) => Some(ended),
            closing = peer.close_requested() => {
                if closing == Closing::Immediately || !peer.has_sent_message() {
                    return;
                }
                serving.as_mut().graceful_shutdown();
                timeout(GRACEFUL_CLOSE_TIMEOUT, drive(serving.as_mut(), &budget)).await.ok()
            }
            () = phase.reached(Phase::Closing) => {
                // Sends GOAWAY; calls in flight finish.
                serving.as_mut().graceful_shutdown();
                Some(drive(serving.as_mut(), &budget).await)
            }
        };
        if let Some(Err(error)) = ended {
            tracing::debug!(?address, %error, "a connection failed");
        }
    }

    async fn handshake(&self, socket: Socket) -> std::io::Result<Http2Stream> {
        let stream = match &self.tls {
            None => Stream::Left(socket),
            Some(tls) => Stream::Right(Box::new(tls.acceptor().accept(socket).await?)),
        };
        Http2Stream::new(stream).await
    }
}

impl<C> hyper::service::Service<Request<Incoming>> for Calls<C>
where
    C: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = CallFuture;

    fn call(&self, request: Request<Incoming>) -> CallFuture {
        let services = &self.connection.services;
        let mut request = request.map(|body| RequestBody::new(body, &self.peer));
        // Called without `poll_ready`: both are always ready.
        if request.uri().path().starts_with(&*services.check_prefix) {
            keep_what_checks_need(request.headers_mut());
            return CallFuture {
                answer: services.checks.clone().call(request).into(),
                other: None,
                peer: Arc::clone(&self.peer),
            };
        }
        let other = OtherCall::one_of(&self.others, MAX_OTHER_CALLS);
        let answer: BoxFuture<_, _> = if other.is_some() {
            Box::pin(services.others.clone().call(request))
        } else {
            let message = "too many calls at once that are not checks";
            Box::pin(async move { Ok(Status::resource_exhausted(message).into_http()) })
        };
        CallFuture {
            answer,
            other,
            peer: Arc::clone(&self.peer),
        }
    }
}

/// Drops the other headers: while the messages of many checks arrive, they would take most of the
/// memory.
fn keep_what_checks_need(headers: &mut HeaderMap) {
    let encoding = headers.remove(GRPC_ENCODING);
    *headers = HeaderMap::new();
    if let Some(encoding) = encoding {
        headers.insert(GRPC_ENCODING, encoding);
    }
}

impl Future for CallFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        let other = self.other.take();
        let call = ResponseGuard::new(&self.peer, other);
        Poll::Ready(answer.map(|answer| answer.map(|body| ResponseBody::new(body, call))))
    }
}

/// Polls a connection, with a new read budget at each poll.
async fn drive<F: Future>(mut serving: Pin<&mut F>, budget: &ReadBudget) -> F::Output {
    poll_fn(|cx| {
        budget.begin();
        serving.as_mut().poll(cx)
    })
    .await
}
