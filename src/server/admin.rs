//! The admin listener: `/metrics`, `/livez`, `/readyz`, and `/config` for peers on loopback.
//!
//! Plain HTTP/1.1 for scrapers, probes and people: one request per connection, a few seconds for
//! all of it, no request bodies, and a connection limit of its own. `/livez` depends on nothing.
//! `/readyz` is 503 while loading and draining only: a failing source does not make it so, since
//! cached keys are still served and a restart would lose them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::time::sleep;

use super::accept;
use super::connections::{Accepted, ConnectionLimit, Connections, HANDSHAKE_TIMEOUT};
use super::phase::{Phase, PhaseWatch};
use super::scrape::Scrapes;
use super::socket::Listener;
use crate::keys::cache::SourceHealth;
use crate::keys::invalidation::SubscriptionState;
use crate::observe::metrics;
use crate::tls::{CertificateState, CertificateStatus};

/// Some scrapers, a probe, a person.
pub(super) const CONNECTION_LIMIT: ConnectionLimit = ConnectionLimit {
    connections: 64,
    newcomers: 32,
};
/// For a request and its response: a slow network's time for a few megabytes of metrics.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head: several times any client's. hyper's minimum.
const MAX_HEAD_BYTES: usize = 8192;
/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// So many hexadecimal digits in a row are taken for a digest, or a part of one.
const DIGEST_HEX: usize = 32;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);

/// What the admin listener answers from.
pub(crate) struct Admin {
    pub(crate) phase: PhaseWatch,
    pub(crate) metrics: Scrapes,
    /// The effective configuration as JSON, without secrets.
    pub(crate) config: ArcSwap<String>,
    /// The source's kind, as the configuration names it.
    pub(crate) source: &'static str,
    /// The state of the keys' files.
    pub(crate) file: ArcSwap<KeyFilesState>,
    /// The state of the listener's certificates; `None` without TLS.
    pub(crate) certificates: Option<Arc<CertificateStatus>>,
    /// Gives the state of a remote source; `None` if keys are in a file, or there is none yet.
    pub(crate) remote: Box<dyn Fn() -> Option<SourceHealth> + Send + Sync>,
}

/// The state of the keys' files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyFilesState {
    pub(crate) keys: usize,
    /// Why the last reload failed; `None` if it did not.
    pub(crate) failure: Option<String>,
}

impl Admin {
    /// Serves until the phase is `Stopped`, and then finishes the responses that it has begun.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: Listener,
        connections: Connections,
        phase: PhaseWatch,
    ) {
        let serve = |accepted| Arc::clone(&self).serve(accepted);
        accept::serve(listener, connections, phase, Phase::Stopped, serve).await;
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted {
            socket,
            address,
            permit,
        } = accepted;
        let peer = permit.peer();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS);
        let answer = service_fn(|request: Request<_>| {
            peer.message_received();
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.answer(&request, address).await) }
        });
        let exchange = http.serve_connection(TokioIo::new(socket), answer);
        let late_head = async {
            sleep(HANDSHAKE_TIMEOUT).await;
            if peer.has_sent_message() {
                std::future::pending::<()>().await;
            }
        };
        // A connection that ends early gets no reason: its peer does not read, or does not ask.
        tokio::select! {
            _ = exchange => {}
            _ = peer.close_requested() => {}
            () = late_head => {}
            () = sleep(EXCHANGE_TIMEOUT) => {}
        }
    }

    async fn answer<B>(
        &self,
        request: &Request<B>,
        peer: Option<SocketAddr>,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let known = matches!(path, "/metrics" | "/livez" | "/readyz" | "/config");
        if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => response(StatusCode::OK, METRICS, self.metrics.text().await),
            "/livez" => response(
                StatusCode::OK,
                JSON,
                json!({"status": "alive"}).to_string() + "\n",
            ),
            "/readyz" => self.readyz(),
            "/config" if peer.is_some_and(is_local) => {
                response(StatusCode::OK, JSON, self.config.load().to_string())
            }
            "/config" => plain(
                StatusCode::FORBIDDEN,
                "/config is for loopback peers only\n",
            ),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there is /metrics, /livez, /readyz, and /config for loopback peers\n",
            ),
        }
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        let unready = self.phase.now().unready_reason();
        let source = match (self.remote)() {
            Some(health) => remote_source(&health),
            None if self.source == "file" => file_source(&self.file.load()),
            // There is no source yet.
            None => json!({"kind": self.source}),
        };
        let mut body = json!({
            "status": if unready.is_some() { "unavailable" } else { "ready" },
            "reason": unready,
            "source": source,
        });
        let certificates = self.certificates.as_ref().map(|status| status.state());
        add_certificates(certificates.as_deref(), &mut body);
        let status = if unready.is_some() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        response(status, JSON, body.to_string() + "\n")
    }
}

/// Whether the peer is on this machine or in this pod. Not all of 127.0.0.0/8: a mesh's sidecar
/// forwards requests from outside from such an address (Istio's 127.0.0.6).
fn is_local(peer: SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
}

fn file_source(file: &KeyFilesState) -> serde_json::Value {
    json!({
        "kind": "file",
        "keys": file.keys,
        "failure": file.failure.as_deref().map(without_digests),
    })
}

fn remote_source(health: &SourceHealth) -> serde_json::Value {
    let state = if health.breaker_open {
        "down"
    } else if health.failure.is_some() || health.pushes == Some(SubscriptionState::Unsubscribed) {
        "failing"
    } else {
        "answering"
    };
    let mut state = json!({
        "kind": health.source,
        "state": state,
        "pushes": health.pushes.map(SubscriptionState::as_str),
        "failure": health.failure.as_deref().map(without_digests),
    });
    add_certificates(health.certificates.as_deref(), &mut state);
    state
}

/// Adds the state of certificates, if there are any.
fn add_certificates(state: Option<&CertificateState>, body: &mut serde_json::Value) {
    if let (Some(state), Some(members)) = (state, body.as_object_mut()) {
        let state = json!({
            "expires_at": state.expires_at.map(|at| at.to_string()),
            "failure": state.failure,
        });
        members.insert("certificates".to_owned(), state);
    }
}

/// A failure's text without the digests that it may name, such as that of a digest that is there
/// twice. Operators who may know digests can read the log.
fn without_digests(failure: &str) -> String {
    let mut shown = String::with_capacity(failure.len());
    let mut rest = failure;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, found) = rest.split_at_checked(start).unwrap_or((rest, ""));
        let length = found.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, after) = found.split_at_checked(length).unwrap_or((found, ""));
        shown.push_str(before);
        shown.push_str(if length < DIGEST_HEX { run } else { "…" });
        rest = after;
    }
    shown + rest
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, text.to_owned())
}

fn response(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
