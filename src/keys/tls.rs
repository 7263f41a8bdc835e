//! The files of TLS towards a remote source.
//!
//! Named here and read by whoever connects: they follow their rotation.

use std::path::PathBuf;

/// The files of a TLS client; paths are ready to be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Who may have signed the server's certificate, PEM; the system's authorities where absent.
    pub ca: Option<PathBuf>,
    /// Our certificate chain and its private key, PEM; none is shown where absent.
    pub identity: Option<ClientIdentityFiles>,
}

/// The files of our certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentityFiles {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}
