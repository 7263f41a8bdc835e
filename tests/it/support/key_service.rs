//! A key service for keyward's HTTP source: records by digest, and an event stream at `/events`.
//! HTTP/1.1 by hand, so that it can send responses that no proper server would; with TLS if a test
//! needs it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::http1::{Head, Wire};
use super::message::{Lines, values};
use super::{certs, keyfile, redis};

/// The response to a lookup.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The record, or 404.
    Record,
    /// The same with additional header lines.
    RecordWith(&'static str),
    /// This response.
    Reply {
        status: &'static str,
        headers: &'static str,
        body: Vec<u8>,
    },
    /// Half of a record, then the connection ends.
    Half,
    /// The record at the time of the request, but sent only when the hold ends.
    Held,
}

impl Answer {
    pub fn reply(status: &'static str, headers: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::Reply {
            status,
            headers,
            body: body.into(),
        }
    }
}

/// A received request.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Method, target and version.
    pub line: String,
    pub headers: Lines,
}

impl ReceivedRequest {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }
}

struct State {
    records: HashMap<String, String>,
    gets: HashMap<String, usize>,
    received: Vec<ReceivedRequest>,
    answer: Answer,
    answers: HashMap<String, Answer>,
    streaming: bool,
    compressing: bool,
}

struct Shared {
    state: Mutex<State>,
    /// How often holds were ended.
    releases: watch::Sender<usize>,
    /// Pushed events; `None` ends the streams.
    events: broadcast::Sender<Option<String>>,
}

pub struct KeyService {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

fn hex(secret: &str) -> String {
    let digest = keyfile::digest(secret);
    digest["blake3:".len()..].to_owned()
}

impl KeyService {
    pub async fn start() -> Self {
        Self::start_on(None).await
    }

    /// With the certificate of `localhost`, for clients with a certificate by the same CA.
    pub async fn start_with_tls(authority: &certs::Authority) -> Self {
        Self::start_on(Some(authority.acceptor("localhost"))).await
    }

    async fn start_on(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            records: HashMap::new(),
            gets: HashMap::new(),
            received: Vec::new(),
            answer: Answer::Record,
            answers: HashMap::new(),
            streaming: true,
            compressing: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            releases: watch::channel(0).0,
            events: broadcast::channel(1024).0,
        });
        let server = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self {
            address,
            shared,
            server,
        }
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.state.lock().unwrap())
    }

    /// Adds a key with one secret; `rest` is additional members of its record.
    pub fn put(&self, id: &str, secret: &str, rest: Value) {
        self.put_text(secret, &redis::record(id, secret, rest).to_string());
    }

    /// Stores any text as the record of a secret's digest.
    pub fn put_text(&self, secret: &str, record: &str) {
        self.state(|state| state.records.insert(hex(secret), record.to_owned()));
    }

    /// Sets the response to all lookups without one of their own.
    pub fn answer(&self, answer: Answer) {
        self.state(|state| state.answer = answer);
    }

    /// Sets the response to the lookups of one secret.
    pub fn answer_for(&self, secret: &str, answer: Answer) {
        self.state(|state| state.answers.insert(hex(secret), answer));
    }

    /// Removes the separate response of one secret.
    pub fn answer_as_others(&self, secret: &str) {
        self.state(|state| state.answers.remove(&hex(secret)));
    }

    /// Ends the current holds.
    pub fn release(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// The number of lookups of a secret's digest.
    pub fn gets(&self, secret: &str) -> usize {
        self.state(|state| state.gets.get(&hex(secret)).copied().unwrap_or(0))
    }

    /// The number of lookups.
    pub fn all_gets(&self) -> usize {
        self.state(|state| state.gets.values().sum())
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<ReceivedRequest> {
        self.state(|state| std::mem::take(&mut state.received))
    }

    /// Sends an event to all open streams.
    pub fn push(&self, event: &Value) {
        let _ = self.shared.events.send(Some(event.to_string()));
    }

    /// Ends the event streams; new ones are served or refused with 503.
    pub fn end_streams(&self, serve_new: bool) {
        self.state(|state| state.streaming = serve_new);
        let _ = self.shared.events.send(None);
    }

    /// Serves event streams again.
    pub fn serve_streams(&self) {
        self.state(|state| state.streaming = true);
    }

    /// From now on compresses event streams with gzip, whatever the request accepts.
    pub fn compress_streams(&self) {
        self.state(|state| state.compressing = true);
    }

    /// The number of open event streams.
    pub fn streams(&self) -> usize {
        self.shared.events.receiver_count()
    }
}

impl Drop for KeyService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                None => serve(stream, &shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &shared).await;
                    }
                }
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared) {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await {
        let served = if head.first.starts_with("GET /events ") {
            stream_events(&mut wire.stream, head, shared).await
        } else {
            look_up(&mut wire.stream, head, shared).await
        };
        if served.is_none() {
            let _ = wire.stream.shutdown().await;
            return;
        }
    }
}

/// Returns `None` when the connection ends.
async fn stream_events<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    head: Head,
    shared: &Shared,
) -> Option<()> {
    let (streaming, compressing) = {
        let mut state = shared.state.lock().unwrap();
        state.received.push(received(head));
        (state.streaming, state.compressing)
    };
    if !streaming {
        return write(stream, &reply("503 Service Unavailable", "", b"")).await;
    }
    let mut events = shared.events.subscribe();
    let encoding = if compressing {
        "content-encoding: gzip\r\n"
    } else {
        ""
    };
    let mut open = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n{encoding}\r\n"
    )
    .into_bytes();
    if compressing {
        open.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
    }
    let written = |text: &str| {
        if compressing {
            stored_block(text)
        } else {
            text.as_bytes().to_vec()
        }
    };
    open.extend(written(": here\n\n"));
    write(stream, &open).await?;
    let mut gone = [0];
    loop {
        tokio::select! {
            event = events.recv() => {
                let event = event.ok()??;
                write(stream, &written(&format!("data: {event}\n\n"))).await?;
            }
            _ = tokio::io::AsyncReadExt::read(stream, &mut gone) => return None,
        }
    }
}

/// A stored (uncompressed) deflate block of a text (RFC 1951 section 3.2.4).
fn stored_block(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    [&[0][..], &lengths, text.as_bytes()].concat()
}

fn received(head: Head) -> ReceivedRequest {
    ReceivedRequest {
        line: head.first,
        headers: head.headers,
    }
}

async fn look_up<S: AsyncWrite + Unpin>(stream: &mut S, head: Head, shared: &Shared) -> Option<()> {
    let target = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let digest = target.rsplit('/').next().unwrap_or_default();
    // A hold that ends from here on is for this lookup.
    let mut releases = shared.releases.subscribe();
    let (answer, record) = {
        let mut state = shared.state.lock().unwrap();
        *state.gets.entry(digest.to_owned()).or_default() += 1;
        state.received.push(received(head));
        let answer = state.answers.get(digest).unwrap_or(&state.answer).clone();
        (answer, state.records.get(digest).cloned())
    };
    let found = |headers: &str| match &record {
        Some(record) => reply(
            "200 OK",
            &format!("content-type: application/json\r\n{headers}"),
            record.as_bytes(),
        ),
        None => reply("404 Not Found", headers, b""),
    };
    match answer {
        Answer::Record => write(stream, &found("")).await,
        Answer::RecordWith(headers) => write(stream, &found(headers)).await,
        Answer::Reply {
            status,
            headers,
            body,
        } => write(stream, &reply(status, headers, &body)).await,
        Answer::Half => {
            let whole = found("");
            let half = whole.len() - record.map_or(0, |record| record.len() / 2);
            write(stream, &whole[..half]).await;
            None
        }
        Answer::Held => {
            releases.changed().await.ok()?;
            write(stream, &found("")).await
        }
    }
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()
}
