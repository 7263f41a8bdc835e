//! gRPC's framing of one call with one message each way: the bytes of a check in, those of its
//! answer out.
//!
//! Written by hand for two reasons. tonic's framing answers a message that is too large with a gRPC
//! error, which opens an Envoy that fails open. And it decodes into message types, which is most of
//! the cost of a check, while `decode` borrows from the bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header};

use crate::authz::reason::Reason;

/// A message's prefix: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The header that names the compression of a call's messages, and the one that lists the supported
/// ones.
const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It is larger than allowed.
    #[error("it has {bytes} bytes, and `server.grpc.max_message` allows {max_bytes}")]
    TooLarge {
        /// The announced size.
        bytes: usize,
        /// The largest size allowed.
        max_bytes: usize,
    },
    /// It ended before it was whole.
    #[error("it ended before it was whole")]
    Truncated,
    /// It did not arrive, in time or at all: the transport says why.
    #[error("{0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// It is compressed, for which gRPC has an error. No caller of Envoy's can cause that.
    #[error("it is compressed")]
    Compressed(Box<Status>),
}

impl ReceiveError {
    /// The reason for which such a check is refused.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } | Self::Truncated | Self::Compressed(_) => Reason::BadRequest,
            Self::Failed(_) => Reason::Overloaded,
        }
    }
}

/// Receives a call's message of at most so many bytes. Bytes after it are not read, and no memory
/// is reserved by the announced size.
pub async fn receive<B>(
    headers: &HeaderMap,
    body: &mut B,
    max_bytes: usize,
) -> Result<Bytes, ReceiveError>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let end = |bytes: &[u8]| end_of_message(bytes, headers, max_bytes);
    let first = next(body).await?;
    if let Some(end) = end(&first)?
        && end <= first.len()
    {
        return Ok(first.slice(PREFIX_BYTES..end));
    }
    // Copied, since many small frames would hold more memory than their bytes.
    let mut gathered = BytesMut::from(&*first);
    loop {
        gathered.extend_from_slice(&next(body).await?);
        if let Some(end) = end(&gathered)?
            && end <= gathered.len()
        {
            gathered.truncate(end);
            return Ok(gathered.freeze().slice(PREFIX_BYTES..));
        }
    }
}

/// The end of the message that begins here; `None` while its prefix is incomplete.
fn end_of_message(
    bytes: &[u8],
    headers: &HeaderMap,
    max_bytes: usize,
) -> Result<Option<usize>, ReceiveError> {
    let Some([flag, length @ ..]) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    if *flag != 0 {
        return Err(ReceiveError::Compressed(Box::new(compressed(
            *flag, headers,
        ))));
    }
    let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if bytes > max_bytes {
        return Err(ReceiveError::TooLarge { bytes, max_bytes });
    }
    Ok(Some(PREFIX_BYTES.saturating_add(bytes)))
}

/// The next data frame of the body that is not empty.
async fn next<B>(body: &mut B) -> Result<Bytes, ReceiveError>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReceiveError::Failed(error.into()))?;
        if let Ok(mut data) = frame.into_data()
            && data.has_remaining()
        {
            return Ok(data.copy_to_bytes(data.remaining()));
        }
    }
    Err(ReceiveError::Truncated)
}

/// The gRPC status for a compressed message that cannot be read.
fn compressed(flag: u8, headers: &HeaderMap) -> Status {
    let encoding = headers.get(ENCODING).filter(|value| **value != IDENTITY);
    if flag != 1 || encoding.is_none() {
        return Status::internal(
            "the message's compressed flag is set, and no compression is named",
        );
    }
    let mut status = Status::unimplemented("compressed messages are not supported");
    let accepted = tonic::metadata::MetadataValue::from_static("identity");
    status.metadata_mut().insert(ACCEPT_ENCODING, accepted);
    status
}

/// The HTTP response of a call with this message as its answer.
pub fn respond(message: &Bytes) -> Response<tonic::body::Body> {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    let body = Unary {
        message: Some(framed.freeze()),
        is_over: false,
    };
    let mut response = Response::new(tonic::body::Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// One message, and trailers with the status OK.
struct Unary {
    message: Option<Bytes>,
    is_over: bool,
}

impl Body for Unary {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        let status = HeaderValue::from_static("0");
        let trailers =
            HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), status)]);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.message.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
