//! A connected socket, plain or with TLS around it, as one type that reads and writes.
//!
//! What was read of it to see which protocol is spoken is given again to the next reader.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connected socket, over TCP or a Unix socket.
pub(crate) type Socket = Either<TcpStream, UnixStream>;

/// A connected socket, as it is or with TLS after the handshake.
pub(crate) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// A stream on which the client's first bytes have come: an HTTP/2 client's.
#[derive(Debug)]
pub(crate) struct Greeted {
    stream: Stream,
    unread: usize,
}

impl Greeted {
    /// Waits for the client's first bytes.
    ///
    /// # Errors
    /// When the connection ends before, or they are not HTTP/2's.
    pub(crate) async fn new(mut stream: Stream) -> io::Result<Self> {
        let mut first = [0; PREFACE.len()];
        stream.read_exact(&mut first).await?;
        if first != PREFACE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client does not speak HTTP/2",
            ));
        }
        Ok(Self {
            stream,
            unread: PREFACE.len(),
        })
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread > 0 {
            let start = PREFACE.len() - self.unread;
            let rest = PREFACE.get(start..).unwrap_or_default();
            let part = rest
                .get(..buffer.remaining().min(rest.len()))
                .unwrap_or_default();
            buffer.put_slice(part);
            self.unread -= part.len();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Not vectored, on purpose: on a vectored stream h2 keeps every answer of 256 bytes or more apart from its frame's head and
/// writes the two one after the other, which costs an allow a second system call.
impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
