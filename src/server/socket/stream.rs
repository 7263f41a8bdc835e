//! A connected socket, plain or with TLS, as one type that reads and writes.
//!
//! A connection begins only with HTTP/2's preface, which is read here and given to the HTTP stack
//! again, so that a client of another protocol costs no HTTP connection.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connected socket, over TCP or a Unix socket.
pub(crate) type Socket = Either<TcpStream, UnixStream>;

/// A connected socket, plain or with TLS after the handshake.
pub(crate) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// How much is read of a connection in one poll. A header line of a byte or two on the wire takes a
/// hundred in memory, and the HTTP/2 stack hands out requests only when there is nothing more to
/// read.
const READ_BYTES: usize = 32 * 1024;
/// How long a peer may read nothing while responses wait.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream whose client has sent HTTP/2's preface.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    stream: Stream,
    unread: usize,
    budget: ReadBudget,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How much may still be read of a connection in this poll.
#[derive(Debug, Clone)]
pub(crate) struct ReadBudget(Arc<AtomicUsize>);

impl ReadBudget {
    /// Refills the budget, at each poll of the connection's task.
    pub(crate) fn begin(&self) {
        self.0.store(READ_BYTES, Ordering::Relaxed);
    }
}

impl Http2Stream {
    /// Waits for HTTP/2's preface.
    ///
    /// # Errors
    /// When the connection ends before, or the client sends something else.
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
            budget: ReadBudget(Arc::new(AtomicUsize::new(READ_BYTES))),
            stalled: None,
        })
    }

    /// The read budget, for the task that polls the connection.
    pub(crate) fn budget(&self) -> ReadBudget {
        self.budget.clone()
    }

    /// Fails once the peer has read nothing for `WRITE_TIMEOUT`.
    fn unless_stalled(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not read its responses",
        )))
    }
}

impl AsyncRead for Http2Stream {
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
        let left = self.budget.0.load(Ordering::Relaxed);
        if left == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        self.budget
            .0
            .store(left.saturating_sub(read), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// Not vectored, on purpose: on a vectored stream h2 keeps responses of 256 bytes or more apart
/// from their frame's head and writes the two one after the other, a second system call for each
/// allow.
impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
