//! The upstream behind Envoy: records exactly what it receives, then responds. Speaks HTTP/1.1 by
//! hand, so that the record is exact, and HTTP/2 with prior knowledge; gRPC calls get
//! `grpc-status: 0`, websocket upgrades get 101 and an echo.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::http1::{Head, Wire};
use super::http2;
use super::message::{Lines, values};

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: Lines,
    pub body: Vec<u8>,
}

impl Received {
    /// Every value of a header, in order; names are case-insensitive.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(n, _)| n.as_str()).collect()
    }
}

type Notes = Arc<Mutex<Vec<Received>>>;

pub struct Upstream {
    pub address: SocketAddr,
    notes: Notes,
    server: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Notes::default();
        let server = tokio::spawn(accept(listener, Arc::clone(&notes)));
        Self {
            address,
            notes,
            server,
        }
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }

    /// The only request since the last call.
    pub fn take_one(&self) -> Received {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "exactly one request goes upstream: {all:#?}");
        all.remove(0)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, notes: Notes) {
    while let Ok((stream, _)) = listener.accept().await {
        let notes = Arc::clone(&notes);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut first = [0; 4];
            while matches!(stream.peek(&mut first).await, Ok(1..4)) {
                tokio::task::yield_now().await;
            }
            if &first == b"PRI " {
                serve_http2(stream, notes).await;
            } else {
                serve_http1(stream, notes).await;
            }
        });
    }
}

async fn serve_http1(stream: TcpStream, notes: Notes) {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await {
        let (body, _) = wire.body(&head.headers).await;
        let upgrade = !values(&head.headers, "upgrade").is_empty();
        let grpc = values(&head.headers, "content-type").contains(&"application/grpc");
        let answer: &[u8] = if upgrade {
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        } else if grpc {
            b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 0\r\ncontent-length: 0\r\n\r\n"
        } else if head.first.starts_with("HEAD ") || head.first.starts_with("CONNECT ") {
            b"HTTP/1.1 200 OK\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\nupstream"
        };
        notes.lock().unwrap().push(received(head, body));
        if wire.stream.write_all(answer).await.is_err() {
            return;
        }
        if upgrade {
            let (mut reader, mut writer) = split(wire.stream);
            let _ = copy(&mut reader, &mut writer).await;
            return;
        }
    }
}

fn received(head: Head, body: Vec<u8>) -> Received {
    let mut words = head.first.splitn(3, ' ').map(str::to_owned);
    Received {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: head.headers,
        body,
    }
}

async fn serve_http2(stream: TcpStream, notes: Notes) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let notes = Arc::clone(&notes);
        tokio::spawn(async move {
            let (parts, mut stream) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(chunk)) = stream.data().await {
                let _ = stream.flow_control().release_capacity(chunk.len());
                body.extend_from_slice(&chunk);
            }
            let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
            let grpc = parts
                .headers
                .get("content-type")
                .is_some_and(|kind| kind == "application/grpc");
            notes.lock().unwrap().push(Received {
                method: parts.method.to_string(),
                path: text(
                    parts
                        .uri
                        .path_and_query()
                        .map(http::uri::PathAndQuery::as_str),
                ),
                headers: http2::lines(&parts.headers),
                body,
            });
            let kind = if grpc {
                "application/grpc"
            } else {
                "text/plain"
            };
            let head = Response::builder().header("content-type", kind);
            let Ok(mut sender) = respond.send_response(head.body(()).unwrap(), false) else {
                return;
            };
            if grpc {
                let _ = sender.send_data(Bytes::from_static(&super::caller::EMPTY_MESSAGE), false);
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let _ = sender.send_trailers(trailers);
            } else {
                let _ = sender.send_data(Bytes::from_static(b"upstream"), true);
            }
        });
    }
}
