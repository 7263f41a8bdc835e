//! A key service as keyward's HTTP source asks it: records by digest, and `/events` that stays open. HTTP/1.1 by hand, so
//! that it can answer what no decent server would; over TLS where a test wants it.

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

/// What a lookup is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The record, or 404.
    Record,
    /// The same with further header lines.
    RecordWith(&'static str),
    /// This.
    Reply {
        status: &'static str,
        headers: &'static str,
        body: Vec<u8>,
    },
    /// A record of which only the first half comes before the connection ends.
    Half,
    /// What stands for the record when it is asked for, but only when the hold ends.
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

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method, target and version.
    pub line: String,
    pub headers: Lines,
}

impl Asked {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }
}

struct State {
    records: HashMap<String, String>,
    gets: HashMap<String, usize>,
    asked: Vec<Asked>,
    answer: Answer,
    answers: HashMap<String, Answer>,
    streaming: bool,
    compressing: bool,
}

struct Shared {
    state: Mutex<State>,
    /// How often holds were ended.
    releases: watch::Sender<usize>,
    /// What is pushed; none ends the streams.
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

    /// With the certificate of `localhost`, to clients that show one by the same authority.
    pub async fn start_with_tls(authority: &certs::Authority) -> Self {
        Self::start_on(Some(authority.acceptor("localhost"))).await
    }

    async fn start_on(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            records: HashMap::new(),
            gets: HashMap::new(),
            asked: Vec::new(),
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

    /// Has a key with one secret; `rest` is further members of its record.
    pub fn put(&self, id: &str, secret: &str, rest: Value) {
        self.put_text(secret, &redis::record(id, secret, rest).to_string());
    }

    /// Has this for a secret's digest, whatever it is.
    pub fn put_text(&self, secret: &str, record: &str) {
        self.state(|state| state.records.insert(hex(secret), record.to_owned()));
    }

    /// How every lookup is answered that has no answer of its own.
    pub fn answer(&self, answer: Answer) {
        self.state(|state| state.answer = answer);
    }

    /// How the lookups of one secret are answered.
    pub fn answer_for(&self, secret: &str, answer: Answer) {
        self.state(|state| state.answers.insert(hex(secret), answer));
    }

    /// Has the lookups of one secret answered as all others.
    pub fn answer_as_others(&self, secret: &str) {
        self.state(|state| state.answers.remove(&hex(secret)));
    }

    /// Ends the holds that there are.
    pub fn release(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// How often a secret's digest was asked for.
    pub fn gets(&self, secret: &str) -> usize {
        self.state(|state| state.gets.get(&hex(secret)).copied().unwrap_or(0))
    }

    /// How many lookups there were.
    pub fn all_gets(&self) -> usize {
        self.state(|state| state.gets.values().sum())
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Asked> {
        self.state(|state| std::mem::take(&mut state.asked))
    }

    /// Sends an event to whoever listens.
    pub fn push(&self, event: &Value) {
        let _ = self.shared.events.send(Some(event.to_string()));
    }

    /// Ends the streams of events, and serves new ones or refuses them with 503.
    pub fn end_streams(&self, serve_new: bool) {
        self.state(|state| state.streaming = serve_new);
        let _ = self.shared.events.send(None);
    }

    /// Serves streams of events again.
    pub fn serve_streams(&self) {
        self.state(|state| state.streaming = true);
    }

    /// From now on streams of events are compressed with gzip, whatever was asked for.
    pub fn compress_streams(&self) {
        self.state(|state| state.compressing = true);
    }

    /// How many streams of events are open.
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

/// `None` where the connection ends.
async fn stream_events<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    head: Head,
    shared: &Shared,
) -> Option<()> {
    let (streaming, compressing) = {
        let mut state = shared.state.lock().unwrap();
        state.asked.push(asked(head));
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

/// A block of deflate that holds a text as it is (RFC 1951 section 3.2.4).
fn stored_block(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    [&[0][..], &lengths, text.as_bytes()].concat()
}

fn asked(head: Head) -> Asked {
    Asked {
        line: head.first,
        headers: head.headers,
    }
}

async fn look_up<S: AsyncWrite + Unpin>(stream: &mut S, head: Head, shared: &Shared) -> Option<()> {
    let target = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let digest = target.rsplit('/').next().unwrap_or_default();
    // A hold that ends from here on is this lookup's.
    let mut releases = shared.releases.subscribe();
    let (answer, record) = {
        let mut state = shared.state.lock().unwrap();
        *state.gets.entry(digest.to_owned()).or_default() += 1;
        state.asked.push(asked(head));
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
