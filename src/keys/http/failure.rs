//! Why the service did not answer, in words for its operator.
//!
//! Takes a status or an error of the HTTP library and gives a short text, and whether asking once more may help. A text holds
//! no URL, no secret, and nothing that the peer chose: HTTP/2 lets it send a text with its goodbye.

use std::{fmt, io};

use reqwest::StatusCode;

use super::super::source::SourceError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It took too long.
    Timeout,
    /// No connection could be made, for a reason that may have passed a moment later.
    Refused(String),
    /// No connection could be made, for a reason that does not pass by itself.
    Unreachable(String),
    /// Something that may have passed a moment later, before anything was answered.
    Passing(String),
    /// Something that asking again would not mend.
    Lasting(String),
}

impl Failure {
    /// A failure that asking again would not mend.
    pub(super) fn lasting(text: impl Into<String>) -> Self {
        Self::Lasting(text.into())
    }

    /// A status that is no answer.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let name = status.canonical_reason().unwrap_or_default();
        let text = format!("it answered {} {name}", status.as_str());
        let text = text.trim_end().to_owned();
        match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Passing(text),
            _ => Self::Lasting(text),
        }
    }

    /// An error after the answer had begun.
    pub(super) fn of_answer(error: reqwest::Error) -> Self {
        match Self::from(error) {
            Self::Timeout => Self::Timeout,
            Self::Refused(text)
            | Self::Unreachable(text)
            | Self::Passing(text)
            | Self::Lasting(text) => Self::Lasting(format!("its answer broke off: {text}")),
        }
    }
}

/// An error before anything was answered.
impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // So is a connection that took too long: a service that made-up keys keep busy has its queue full, too.
        if error.is_timeout() {
            return Self::Timeout;
        }
        let error = error.without_url();
        let io = causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>());
        let io = io.map(innermost);
        let http = causes(&error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
        // So every objection of TLS comes, and hardly anything else; HTTP/2 hands on no more of it than kind and text.
        let is_tls = io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData);
        let cause = match (io, http) {
            (Some(io), _) if is_tls => format!("TLS: {io}"),
            (Some(io), _) if error.is_dns() => format!("dns error: {io}"),
            (Some(io), _) => io_text(io),
            (None, Some(http)) => http.to_string(),
            (None, None) => error.to_string(),
        };
        // What came was an answer, though none in HTTP; and a certificate does not get better in a moment.
        let is_final = is_tls || http.is_some_and(hyper::Error::is_parse) || error.is_builder();
        let is_telling = io.is_none_or(tells_that_nobody_is_there);
        match (error.is_connect(), is_final) {
            (true, false) if !is_telling => Self::Passing(format!("no connection: {cause}")),
            (true, false) => Self::Refused(format!("no connection: {cause}")),
            (true, true) => Self::Unreachable(format!("no connection: {cause}")),
            // A server of TLS 1.3 refuses a client's certificate only after the client's side of the handshake is done.
            (false, _) if is_tls => Self::Unreachable(cause),
            (false, false) => Self::Passing(cause),
            (false, true) => Self::Lasting(cause),
        }
    }
}

/// Whether an attempt to connect that failed so tells that there is nobody to connect to. A flood of made-up keys can use up this
/// machine's file descriptors, ports and memory, or have a service hang up on whom it has no room for: neither may be told as an
/// outage.
fn tells_that_nobody_is_there(error: &io::Error) -> bool {
    // The standard library has no kind for them.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let is_of_a_flood = matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::OutOfMemory
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    );
    !is_of_a_flood && !matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "it did not answer in time",
            Self::Refused(text)
            | Self::Unreachable(text)
            | Self::Passing(text)
            | Self::Lasting(text) => text,
        })
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Refused(text) | Failure::Unreachable(text) => Self::Unreachable(text.into()),
            Failure::Passing(text) | Failure::Lasting(text) => Self::Failed(text.into()),
        }
    }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// The error that others of its type were put around, which do not tell it as their source.
fn innermost(error: &io::Error) -> &io::Error {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    inside.map_or(error, innermost)
}

/// The system's error, by its kind where that says all.
fn io_text(error: &io::Error) -> String {
    let kind = error.kind();
    let is_telling = matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    );
    if is_telling {
        kind.to_string()
    } else {
        error.to_string()
    }
}
