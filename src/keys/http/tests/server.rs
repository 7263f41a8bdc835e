//! Servers that tests ask: one that speaks HTTP as it should, with or without TLS, and one that
//! writes any bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(super) type Reply = Full<Bytes>;

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

/// A server that ends with its test.
pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

pub(super) fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Reply> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

impl Server {
    /// Answers by that function.
    pub(super) async fn start(
        answer: impl Fn(&Request<Incoming>) -> Response<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, answer).await
    }

    /// The same within TLS, on `localhost`.
    pub(super) async fn start_tls(
        tls: ServerConfig,
        answer: impl Fn(&Request<Incoming>) -> Response<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(TlsAcceptor::from(Arc::new(tls))), answer).await
    }

    async fn start_with(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Request<Incoming>) -> Response<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let answer = Arc::new(answer);
        let mut tasks = JoinSet::new();
        let (log, count) = (Arc::clone(&asked), Arc::clone(&connections));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (log, answer, tls) = (Arc::clone(&log), Arc::clone(&answer), tls.clone());
                let on_request = move |request| {
                    log.lock().unwrap().push(Asked::from(&request));
                    answer(&request)
                };
                open.spawn(async move {
                    match tls {
                        None => converse(tcp, on_request).await,
                        Some(tls) => {
                            if let Ok(tls) = tls.accept(tcp).await {
                                converse(tls, on_request).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            scheme,
            asked,
            connections,
            _tasks: tasks,
        }
    }

    pub(super) fn url(&self) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}", self.address.port()),
            scheme => format!("{scheme}://{}", self.address),
        }
    }

    /// The requests that came.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl From<&Request<Incoming>> for Asked {
    fn from(request: &Request<Incoming>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        }
    }
}

async fn converse(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    on_request: impl Fn(Request<Incoming>) -> Response<Reply> + Send + Sync + 'static,
) {
    let on_request = Arc::new(on_request);
    let service = service_fn(move |request| {
        let on_request = Arc::clone(&on_request);
        async move { Ok::<_, Infallible>(on_request(request)) }
    });
    // How a connection ends is the client's affair.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), service)
        .await;
}

/// A listener whose connections the test serves itself, byte by byte.
pub(super) struct Raw {
    listener: TcpListener,
}

impl Raw {
    pub(super) async fn bind() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection, and the head of its first request.
    pub(super) async fn accept(&self) -> (TcpStream, String) {
        let accepted = async {
            let (mut tcp, _) = self.listener.accept().await.unwrap();
            let head = read_head(&mut tcp).await;
            (tcp, head)
        };
        let accepted = tokio::time::timeout(super::PATIENCE, accepted).await;
        accepted.expect("no connection comes")
    }
}

/// The head of the next request.
pub(super) async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
