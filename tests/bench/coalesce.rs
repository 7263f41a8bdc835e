//! A TCP stream that sends gathered writes together.
//!
//! The `h2` crate makes one system call for each DATA frame of more than 256 bytes, which would
//! make the client slower than the servers. Envoy writes once per turn of its event loop; this
//! stream writes when the connection has nothing more to do.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream and its pending bytes; cloned, so that the driver of the connection can flush it.
#[derive(Clone)]
pub(crate) struct Coalesced(Rc<RefCell<Inner>>);

struct Inner {
    tcp: TcpStream,
    waiting: BytesMut,
}

impl Coalesced {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        let waiting = BytesMut::new();
        Self(Rc::new(RefCell::new(Inner { tcp, waiting })))
    }

    /// Polls the connection on this stream, then writes what it has gathered.
    pub(crate) fn drive<F: Future>(
        &self,
        connection: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let ended = connection.poll(context).is_ready();
        let written = self.0.borrow_mut().write(context);
        // Bytes that could not be written yet wake the connection's task again.
        if ended || matches!(written, Poll::Ready(Err(_))) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Inner {
    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(context, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.write(context))?;
        Pin::new(&mut inner.tcp).poll_shutdown(context)
    }
}
