//! Why TLS cannot be used with its files.
//!
//! Each error names the member of the configuration and the file, and nothing of what a file holds.

use std::io;

use rustls::server::VerifierBuilderError;

use crate::watch::named_file::NamedFile;

/// A file of TLS cannot be used, or one is lacking. `at` is where the configuration names the
/// files, such as `source.http.tls`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{at}.{member}: {} cannot be read", path.display())]
    Read {
        /// Where the files are named.
        at: &'static str,
        /// The member that names the file.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A file is not PEM, or lacks what it is to hold.
    #[error("{at}.{member}: {} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// Where the files are named.
        at: &'static str,
        /// The member that names the file.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What it is to hold.
        wanted: &'static str,
    },
    /// A certificate of a file is broken, or cannot be the authority that it should be.
    #[error("{at}.{member}: certificate {number} in {} cannot be used", path.display())]
    Certificate {
        /// Where the files are named.
        at: &'static str,
        /// The member that names the file.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// Which one, from 1.
        number: usize,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{at}.key_file: the key of {} cannot be used with the certificate of {}", key.display(), cert.display())]
    Pair {
        /// Where the files are named.
        at: &'static str,
        /// The certificate's file.
        cert: NamedFile,
        /// The key's file.
        key: NamedFile,
        /// What the TLS library says.
        #[source]
        cause: Box<rustls::Error>,
    },
    /// The certificate authorities for clients' certificates cannot be used.
    #[error("{at}.client_ca_file: the certificate authorities of {} cannot be used", path.display())]
    ClientCa {
        /// Where the files are named.
        at: &'static str,
        /// The file.
        path: NamedFile,
        /// What the TLS library says.
        #[source]
        cause: VerifierBuilderError,
    },
    /// No certificate authority is named and the system has none.
    #[error(
        "{at}.ca_file: the system has no certificate authorities{why}, so that a file of them is needed"
    )]
    NoAuthorities {
        /// Where the files are named.
        at: &'static str,
        /// What was wrong with them, in parentheses; empty where nothing was.
        why: String,
    },
    /// The system has certificate authorities with which the client of clusters makes no
    /// connection.
    #[error(
        "{at}: the system's certificate authorities, which connections to a cluster need even beside `ca_file`, cannot all be used: {problem}"
    )]
    System {
        /// Where the files are named.
        at: &'static str,
        /// What is wrong with one of them.
        problem: String,
    },
    /// The TLS library does not do what it must.
    #[error("{at}: TLS cannot be set up")]
    Library {
        /// Where the files are named.
        at: &'static str,
        /// What the TLS library says.
        #[source]
        cause: Box<rustls::Error>,
    },
}

impl TlsError {
    pub(super) fn pair(
        at: &'static str,
        cert: &NamedFile,
        key: &NamedFile,
        cause: rustls::Error,
    ) -> Self {
        Self::Pair {
            at,
            cert: cert.clone(),
            key: key.clone(),
            cause: Box::new(cause),
        }
    }

    pub(super) fn library(at: &'static str, cause: rustls::Error) -> Self {
        let cause = Box::new(cause);
        Self::Library { at, cause }
    }

    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Read { at, member, .. }
            | Self::Pem { at, member, .. }
            | Self::Certificate { at, member, .. } => format!("{at}.{member}"),
            Self::Pair { at, .. } => format!("{at}.key_file"),
            Self::ClientCa { at, .. } => format!("{at}.client_ca_file"),
            Self::NoAuthorities { at, .. } => format!("{at}.ca_file"),
            Self::System { at, .. } | Self::Library { at, .. } => (*at).to_owned(),
        }
    }
}
