//! HTTP/1.1 written and read by hand, so that a test controls every byte: the request line, the
//! case and order of headers, repeated and odd ones. The upstream uses the parser too.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::{Ask, Lines, Reply, values};

/// The head of a message: its first line and its header lines, as received.
pub struct Head {
    pub first: String,
    pub headers: Lines,
}

/// A byte stream with the bytes read beyond the last message.
pub struct Wire<S> {
    pub stream: S,
    ahead: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.ahead).await, Ok(n) if n > 0)
    }

    /// The next head; `None` at the end of the stream.
    pub async fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let raw: Vec<u8> = self.ahead.drain(..end).collect();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Some(Head { first, headers })
    }

    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        while self.ahead.len() < len && self.more().await {}
        let len = len.min(self.ahead.len());
        self.ahead.drain(..len).collect()
    }

    async fn line(&mut self) -> String {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                break at + 2;
            }
            if !self.more().await {
                break self.ahead.len();
            }
        };
        let line: Vec<u8> = self.ahead.drain(..end).collect();
        String::from_utf8_lossy(&line).trim().to_owned()
    }

    /// The body that follows a head with these headers, and the trailers of a chunked one.
    pub async fn body(&mut self, headers: &Lines) -> (Vec<u8>, Lines) {
        let chunked = values(headers, "transfer-encoding").contains(&"chunked");
        if !chunked {
            let length = values(headers, "content-length").first().copied();
            let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            return (self.exactly(length).await, Lines::new());
        }
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).unwrap_or(0);
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await);
            self.line().await;
        }
        let mut trailers = Lines::new();
        while let Some((name, value)) = self.line().await.split_once(':') {
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
        (body, trailers)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The bytes of a request with its headers as given; `content-length` only if there is a body.
pub fn request_bytes(ask: &Ask) -> Vec<u8> {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        ask.method, ask.path, ask.host
    );
    for (name, value) in &ask.headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if !ask.body.is_empty() {
        text.extend(["Content-Length: ", &ask.body.len().to_string(), "\r\n"]);
    }
    text += "\r\n";
    // One byte per character, so that a test can write bytes that are not UTF-8.
    let mut bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    bytes.extend_from_slice(&ask.body);
    bytes
}

/// A caller's connection, kept open from request to request.
pub struct Connection {
    wire: Wire<TcpStream>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            wire: Wire::new(stream),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.wire.stream.write_all(bytes).await.unwrap();
    }

    /// The next response; `None` if the peer closed first. Responses to HEAD and 101 have no body.
    pub async fn read(&mut self, method: &str) -> Option<Reply> {
        let head = self.wire.head().await?;
        let status = head.first.split(' ').nth(1)?.parse().ok()?;
        let bodiless = method == "HEAD" || status == 101 || (method == "CONNECT" && status == 200);
        let (body, trailers) = if bodiless {
            (Vec::new(), Lines::new())
        } else {
            self.wire.body(&head.headers).await
        };
        Some(Reply {
            status,
            headers: head.headers,
            body,
            trailers,
        })
    }

    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        self.wire.exactly(len).await
    }

    pub async fn send(&mut self, ask: &Ask) -> Option<Reply> {
        self.write(&request_bytes(ask)).await;
        self.read(&ask.method).await
    }
}

/// One request on a new connection.
pub async fn send(to: SocketAddr, ask: &Ask) -> Reply {
    let mut connection = Connection::open(to).await;
    let reply = connection.send(ask).await;
    reply.unwrap_or_else(|| panic!("connection closed without an answer to {ask:?}"))
}

/// GET of a plain path, as for admin listeners.
pub async fn fetch(from: SocketAddr, path: &str) -> Reply {
    send(from, &Ask::get(path).header("connection", "close")).await
}
