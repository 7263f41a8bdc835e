//! The bodies of calls: a request's message and its response, in bounded time and memory.
//!
//! Both wrap the bodies of the HTTP stack. They parse gRPC's framing only to know where a message
//! ends. A service keeps the request's body until it has its response, and so the body's lifetime
//! shows that the call is being decided.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::connections::{MemoryUse, Peer, StageGuard};

/// How long a message may take to arrive. Envoy sends a check at once, and its default timeout is
/// 200 ms.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// gRPC's prefix of a message: a flag, and the length.
const PREFIX_BYTES: usize = 5;

/// A message was not received as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the message took longer than {} s to arrive", RECEIVE_TIMEOUT.as_secs())]
    Late,
    /// Other calls hold all the memory that calls may hold.
    #[error("calls hold too much memory")]
    OverMemoryLimit,
    /// The connection or the stream failed.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

pub(crate) struct RequestBody {
    body: Incoming,
    peer: Arc<Peer>,
    message: Message,
    /// While a message is incomplete.
    receiving: Option<StageGuard>,
    /// From the end of the message on.
    deciding: Option<StageGuard>,
    held: MemoryUse,
    /// Whether there was memory for the call. If not, it is refused as soon as it would have to
    /// wait for its message.
    has_memory: bool,
    deadline: Option<Pin<Box<Sleep>>>,
}

pub(crate) struct ResponseBody {
    body: tonic::body::Body,
    _call: ResponseGuard,
}

/// Counts a response until its peer has read it or is gone.
pub(crate) struct ResponseGuard {
    _held: MemoryUse,
    /// Of a check's response, which the peer must read soon.
    _unread: Option<StageGuard>,
    /// Of another call's, which may be a stream without an end.
    _other: Option<OtherCall>,
}

/// The permit of a call that is not a check.
pub(crate) struct OtherCall {
    _one: Arc<()>,
}

impl OtherCall {
    /// A permit if fewer than `max` clones of `all` are held.
    pub(crate) fn one_of(all: &Arc<()>, max: usize) -> Option<Self> {
        (Arc::strong_count(all) <= max).then(|| Self {
            _one: Arc::clone(all),
        })
    }
}

impl ResponseGuard {
    /// Counts the response to a check, or to another call.
    pub(crate) fn new(peer: &Arc<Peer>, other: Option<OtherCall>) -> Self {
        Self {
            _held: peer.track_memory(),
            _unread: other.is_none().then(|| peer.start_sending()),
            _other: other,
        }
    }
}

/// How much of a message has been received.
#[derive(Debug, Default)]
struct Message {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    missing: usize,
}

impl Message {
    /// Whether these bytes end a message.
    fn advance(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let taken = self.missing.min(bytes.len());
            self.missing -= taken;
            bytes.advance(taken);
            if self.missing > 0 {
                return false;
            }
            if bytes.is_empty() {
                return self.prefix_bytes == 0;
            }
            for slot in self.prefix.iter_mut().skip(self.prefix_bytes) {
                let Some((first, rest)) = bytes.split_first() else {
                    return false;
                };
                (*slot, bytes) = (*first, rest);
                self.prefix_bytes += 1;
            }
            let [_, length @ ..] = self.prefix;
            self.prefix_bytes = 0;
            self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        }
    }
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, peer: &Arc<Peer>) -> Self {
        let held = peer.track_memory();
        Self {
            body,
            peer: Arc::clone(peer),
            message: Message::default(),
            receiving: Some(peer.start_receiving()),
            deciding: None,
            has_memory: held.call_fits(),
            held,
            deadline: None,
        }
    }

    fn came(&mut self, data: &Bytes) -> Result<(), RequestBodyError> {
        if self.receiving.is_none() {
            self.held.message_released();
        }
        self.peer.bytes_received();
        let has_memory = self.held.message_grows(data.len());
        if self.message.advance(data) {
            self.receiving = None;
            self.deadline = None;
            self.deciding
                .get_or_insert_with(|| self.peer.start_deciding());
            self.peer.message_received();
            // A complete message is decided: refusing it would save no memory any more.
            return Ok(());
        }
        self.receiving
            .get_or_insert_with(|| self.peer.start_receiving());
        if has_memory {
            Ok(())
        } else {
            Err(RequestBodyError::OverMemoryLimit)
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let came = frame.data_ref().map_or(Ok(()), |data| self.came(data));
                Poll::Ready(Some(came.map(|()| frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.receiving = None;
                Poll::Ready(None)
            }
            // Between two messages of a stream there is no deadline.
            Poll::Pending if self.receiving.is_none() => Poll::Pending,
            Poll::Pending if !self.has_memory => {
                Poll::Ready(Some(Err(RequestBodyError::OverMemoryLimit)))
            }
            Poll::Pending => {
                let deadline = self
                    .deadline
                    .get_or_insert_with(|| Box::pin(sleep(RECEIVE_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Some(Err(RequestBodyError::Late)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ResponseBody {
    pub(crate) fn new(body: tonic::body::Body, call: ResponseGuard) -> Self {
        Self { body, _call: call }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_grpc_ends_it_however_it_is_cut() {
        let stream = b"\0\0\0\0\x02ab\0\0\0\0\0\x01\0\0\0\x01c";
        let ends = [7, 12, 18];
        for part_bytes in 1..=stream.len() {
            let mut message = Message::default();
            let mut sent = 0;
            for part in stream.chunks(part_bytes) {
                sent += part.len();
                let is_end = ends.contains(&sent);
                assert_eq!(message.advance(part), is_end, "{part_bytes} {sent}");
            }
        }
    }
}
