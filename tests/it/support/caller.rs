//! Callers: the same request from an HTTP/1.1, an HTTP/2 and a gRPC caller.

use std::net::SocketAddr;

use super::message::{Ask, Reply};
use super::{http1, http2};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Http1,
    Http2,
    Grpc,
}

pub const CALLERS: [Caller; 3] = [Caller::Http1, Caller::Http2, Caller::Grpc];

/// An empty message in gRPC's framing: not compressed, no bytes.
pub const EMPTY_MESSAGE: [u8; 5] = [0; 5];

impl Caller {
    pub async fn send(self, to: SocketAddr, ask: &Ask) -> Reply {
        match self {
            Self::Http1 => http1::send(to, ask).await,
            Self::Http2 => http2::send(to, ask).await,
            Self::Grpc => http2::send(to, &as_grpc(ask)).await,
        }
    }
}

/// The request from a gRPC client: a POST with gRPC's content type and one empty message.
pub fn as_grpc(ask: &Ask) -> Ask {
    let mut ask = ask
        .clone()
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(EMPTY_MESSAGE);
    ask.method = "POST".into();
    ask
}
