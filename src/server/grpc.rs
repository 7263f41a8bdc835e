//! The gRPC listener: who may connect, what a peer may send, and which service answers.
//!
//! The loop is written here, on hyper, rather than taken from tonic: connections stay in a set that is owned, the drain
//! can end each of them, and checks do not pay for layers that they do not use. Every bound on a peer is a constant with
//! its reason; none of them is one that a healthy Envoy meets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::service::Routes;

use super::accept::{Accepted, Room};
use super::phase::{Phase, PhaseWatch};
use super::socket::{Greeted, Listener, Socket, Stream};
use super::tls::Tls;

/// Connections at once. An Envoy opens one per worker thread, so this is a large Envoy fleet; what it keeps in bounds is
/// file descriptors, of which many systems give a process 1024.
const MAX_CONNECTIONS: usize = 768;
/// Connections that have not spoken HTTP/2 yet. A fleet of Envoys that reconnects at once waits a round trip for its
/// turn; peers that say nothing hold at most this many places, and for `HANDSHAKE_TIME`.
const MAX_HANDSHAKES: usize = 128;
/// From being taken in to the first bytes of HTTP/2, TLS included: several round trips to anywhere.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Checks at once on a connection: what Envoy's circuit breaker lets through by default. Beyond it Envoy opens another.
const MAX_STREAMS: u32 = 1024;
/// Bytes of a call's own headers: some forty times what Envoy sends. The request's headers are in the message.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Streams that the peer reset before they were looked at (the "rapid reset" attack). Envoy resets what times out, all at
/// once where this process was starved, and must not lose the connection for it: as many as there may be streams.
const MAX_RESET_STREAMS: usize = 1024;
/// How often an idle peer is asked whether it is there: well within the minutes after which firewalls forget a connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
/// How long it may take to answer: many times what a busy peer needs.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The gRPC listener and what answers on it. `C` answers checks.
pub(crate) struct GrpcServer<C> {
    room: Room,
    connection: Arc<Connection<C>>,
}

/// What serves a connection.
struct Connection<C> {
    tls: Option<Arc<Tls>>,
    http: http2::Builder<TokioExecutor>,
    services: Services<C>,
}

/// What answers calls: checks, and all else.
#[derive(Clone)]
struct Services<C> {
    check_prefix: Arc<str>,
    checks: C,
    others: Routes,
}

impl<C> GrpcServer<C>
where
    C: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    /// A server of these services.
    pub(crate) fn new(tls: Option<Arc<Tls>>, checks: C, others: Routes) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            // gRPC has no use for it.
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
            room: Room::new(MAX_CONNECTIONS, MAX_HANDSHAKES),
            connection,
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.room.open()
    }

    /// Serves until the phase is `Closing`; then closes the listener and ends when every connection has.
    pub(crate) async fn run(self, listener: Listener, phase: PhaseWatch) {
        let mut connections = JoinSet::new();
        let mut closing = phase.clone();
        loop {
            tokio::select! {
                () = closing.reached(Phase::Closing) => break,
                Some(ended) = connections.join_next() => tell_panic(ended),
                accepted = self.room.accept(&listener) => {
                    connections.spawn(Arc::clone(&self.connection).serve(accepted, phase.clone()));
                }
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            tell_panic(ended);
        }
    }
}

impl<C> Connection<C>
where
    C: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    async fn serve(self: Arc<Self>, accepted: Accepted, mut phase: PhaseWatch) {
        let Accepted {
            socket,
            peer,
            mut place,
        } = accepted;
        let greeting = tokio::time::timeout(HANDSHAKE_TIME, self.greet(socket));
        let greeted = tokio::select! {
            greeted = greeting => greeted,
            // Nothing of this peer's is in flight yet.
            () = phase.reached(Phase::Closing) => return,
        };
        let stream = match greeted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(?peer, %error, "a connection failed before its first call");
            }
            Err(_) => {
                return tracing::debug!(?peer, "a connection took too long to its first call");
            }
        };
        place.shook_hands();
        let mut serving = std::pin::pin!(
            self.http
                .serve_connection(TokioIo::new(stream), self.services.clone())
        );
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = phase.reached(Phase::Closing) => {
                // Sends GOAWAY; calls in flight finish.
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(?peer, %error, "a connection failed");
        }
    }

    async fn greet(&self, socket: Socket) -> std::io::Result<Greeted> {
        let stream = match &self.tls {
            None => Stream::Left(socket),
            Some(tls) => Stream::Right(Box::new(tls.acceptor().accept(socket).await?)),
        };
        Greeted::new(stream).await
    }
}

impl<C> hyper::service::Service<Request<Incoming>> for Services<C>
where
    C: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    C::Future: Into<BoxFuture<Response<Body>, Infallible>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Both are always ready: neither keeps a queue.
        if request.uri().path().starts_with(&*self.check_prefix) {
            self.checks.clone().call(request).into()
        } else {
            Box::pin(self.others.clone().call(request))
        }
    }
}

fn tell_panic(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection's task panicked; its peer will connect anew");
    }
}
