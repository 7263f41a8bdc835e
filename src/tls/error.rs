//! Why TLS cannot be used with its files.
//!
//! Each error names the member of the configuration and the file, and nothing of what a file holds.

use std::io;

use rustls::server::VerifierBuilderError;

use super::TlsFile;
use crate::watch::named_file::NamedFile;

/// A file of TLS cannot be used, or one is missing. A text in front says where the configuration
/// names the files, such as `source.http.tls`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{0} cannot be read")]
    Read(TlsFile, #[source] io::Error),
    /// The file is not PEM, or lacks what it is to hold.
    #[error("{0} holds no {1} in PEM form")]
    Pem(TlsFile, &'static str),
    /// A certificate of the file, counted from 1, is broken, or cannot be the authority that it
    /// should be.
    #[error("{}: certificate {} in {} cannot be used", .0.name(), .1, .0.path.display())]
    Certificate(TlsFile, usize),
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error(
        "{}: the key of {} cannot be used with the certificate of {}",
        .0.name(), .0.path.display(), .1.display()
    )]
    Pair(TlsFile, NamedFile, #[source] Box<rustls::Error>),
    /// The certificate authorities for clients' certificates cannot be used.
    #[error("{}: the certificate authorities of {} cannot be used", .0.name(), .0.path.display())]
    ClientCa(TlsFile, #[source] VerifierBuilderError),
    /// No certificate authority is named and the system has none; and why, in parentheses.
    #[error(
        "{0}.ca_file: the system has no certificate authorities{1}, so that a file of them is needed"
    )]
    NoAuthorities(&'static str, String),
    /// The client of Redis clusters cannot use all of the system's certificate authorities.
    #[error(
        "{0}: the system's certificate authorities, which connections to a cluster need even beside \
         `ca_file`, cannot all be used: {1}"
    )]
    System(&'static str, String),
    /// The TLS library cannot be set up.
    #[error("{0}: TLS cannot be set up")]
    Library(&'static str, #[source] Box<rustls::Error>),
}

impl TlsError {
    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Read(file, _)
            | Self::Pem(file, _)
            | Self::Certificate(file, _)
            | Self::Pair(file, ..)
            | Self::ClientCa(file, _) => file.name(),
            Self::NoAuthorities(at, _) => format!("{at}.ca_file"),
            Self::System(at, _) | Self::Library(at, _) => (*at).to_owned(),
        }
    }
}
