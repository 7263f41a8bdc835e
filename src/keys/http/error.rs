//! Why an HTTP source cannot be made.
//!
//! Each names the member of the configuration and the file, and nothing of what a file holds.

use std::io;
use std::path::PathBuf;

/// An HTTP source cannot be made, or not made anew from changed files.
#[derive(Debug, thiserror::Error)]
pub enum HttpSourceError {
    /// A file cannot be read.
    #[error("source.http.{member}: {} cannot be read", path.display())]
    Read {
        /// Who names it.
        member: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// What a file holds cannot be sent as a bearer token.
    #[error("source.http.bearer_token_file: {} does not hold a bearer token, which is one word of visible ASCII", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM, or lacks what it is to hold.
    #[error("source.http.{member}: {} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// Who names it.
        member: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is to hold.
        wanted: &'static str,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("source.http.tls.key_file: the key of {} cannot be used with the certificate of {}", key.display(), cert.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        #[source]
        cause: rustls::Error,
    },
    /// No certificate authority is named and the system has none.
    #[error(
        "source.http.tls.ca_file: the system has no certificate authorities, so that a file of them is needed"
    )]
    NoAuthorities,
    /// The TLS library does not do what it must.
    #[error("source.http: TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client does not come into being.
    #[error("source.http: the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}
