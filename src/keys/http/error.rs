//! Why an HTTP source cannot be made.
//!
//! Each names the member of the configuration and the file, and nothing of what a file holds.

use std::io;

use crate::tls::TlsError;
use crate::watch::named_file::NamedFile;

/// An HTTP source cannot be made, or not made anew from changed files.
#[derive(Debug, thiserror::Error)]
pub enum HttpSourceError {
    /// The file of the bearer token cannot be read.
    #[error("source.http.bearer_token_file: {} cannot be read", path.display())]
    Read {
        /// The file.
        path: NamedFile,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// What a file holds cannot be sent as a bearer token.
    #[error("source.http.bearer_token_file: {} does not hold a bearer token, which is one word of visible ASCII", path.display())]
    Token {
        /// The file.
        path: NamedFile,
    },
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client does not come into being.
    #[error("source.http: the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl HttpSourceError {
    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Read { .. } | Self::Token { .. } => "source.http.bearer_token_file".to_owned(),
            Self::Tls(error) => error.member(),
            Self::Client(_) => "source.http".to_owned(),
        }
    }
}
