//! Why the service did not answer, in words for its operator.
//!
//! Takes a status or an error of the HTTP library, and gives what kind of failure it is and whether
//! asking once more may help. No text holds a URL, a secret, or anything that the peer chose:
//! HTTP/2 lets it send a text with its GOAWAY.

use std::{fmt, io};

use reqwest::StatusCode;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    text: String,
    /// It may be over a moment later, and nothing was answered yet.
    pub(crate) is_transient: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It did not answer in time.
    Timeout,
    /// No connection can be made.
    Unreachable,
    /// It answers with an error, or not with what an answer is.
    Failed,
}

impl Failure {
    fn new(kind: FailureKind, text: String, is_transient: bool) -> Self {
        Self {
            kind,
            text,
            is_transient,
        }
    }

    pub(crate) fn timeout() -> Self {
        Self::new(
            FailureKind::Timeout,
            "it did not answer in time".to_owned(),
            false,
        )
    }

    /// A failure that a retry would not fix.
    pub(crate) fn permanent(text: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, text.into(), false)
    }

    /// A status that is no answer.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let name = status.canonical_reason().unwrap_or_default();
        let text = format!("it answered {} {name}", status.as_str());
        let is_transient = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        Self::new(
            FailureKind::Failed,
            text.trim_end().to_owned(),
            is_transient,
        )
    }

    /// An error after the answer had begun.
    pub(crate) fn of_answer(error: reqwest::Error) -> Self {
        let failure = Self::from(error);
        match failure.kind {
            FailureKind::Timeout => failure,
            FailureKind::Unreachable | FailureKind::Failed => {
                Self::permanent(format!("its answer broke off: {failure}"))
            }
        }
    }
}

/// An error before anything was answered.
impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // A connection timeout too: made-up keys can keep a service busy, and its
        // queue of connections full.
        if error.is_timeout() {
            return Self::timeout();
        }
        let error = error.without_url();
        let io = causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>());
        let io = io.map(innermost);
        let http = causes(&error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
        // TLS errors arrive in this form, and hardly anything else does; HTTP/2 hands on no more of
        // it than kind and text.
        let is_tls = io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData);
        let cause = match (io, http) {
            (Some(io), _) if is_tls => format!("TLS: {io}"),
            (Some(io), _) if error.is_dns() => format!("dns error: {io}"),
            (Some(io), _) => io_text(io),
            (None, Some(http)) => http.to_string(),
            (None, None) => error.to_string(),
        };
        // Not HTTP, and a certificate: neither gets better in a moment.
        let is_permanent = is_tls || http.is_some_and(hyper::Error::is_parse) || error.is_builder();
        if error.is_connect() {
            let is_outage = is_permanent || io.is_none_or(is_outage);
            let kind = if is_outage {
                FailureKind::Unreachable
            } else {
                FailureKind::Failed
            };
            return Self::new(kind, format!("no connection: {cause}"), !is_permanent);
        }
        // A TLS 1.3 server refuses a client's certificate only after the client's handshake is
        // done.
        let kind = if is_tls {
            FailureKind::Unreachable
        } else {
            FailureKind::Failed
        };
        Self::new(kind, cause, !is_permanent)
    }
}

/// Whether an attempt to connect that failed so shows that the service cannot be reached. An
/// attacker with made-up keys can use up this machine's file descriptors, ports and memory, or have
/// a service close connections that it has no room for: none of that may count as an outage.
fn is_outage(error: &io::Error) -> bool {
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
        f.write_str(&self.text)
    }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// The error that others of its type wrap without giving it as their source.
fn innermost(error: &io::Error) -> &io::Error {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    inside.map_or(error, innermost)
}

/// The system's error, by its kind where that says all.
fn io_text(error: &io::Error) -> String {
    let kind = error.kind();
    let says_all = matches!(
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
    if says_all {
        kind.to_string()
    } else {
        error.to_string()
    }
}
