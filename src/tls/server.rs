//! Certificates of a server, which may be rotated while it runs.
//!
//! A handshake uses the configuration that is current when it begins. Files that cannot be read as
//! a whole, because they are broken or a rotation is half-way, change nothing.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::file::Identity;
use super::{CLIENT_CA, CertificateFacts, KEY, TlsError, TlsFile, content_hash};
use crate::watch::named_file::NamedFile;

/// The protocol inside TLS: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// The files of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate chain, PEM.
    pub cert: NamedFile,
    /// Its private key, PEM.
    pub key: NamedFile,
    /// The authorities that clients' certificates are checked against; `None` asks for none.
    pub client_ca: Option<NamedFile>,
}

/// TLS of a server, with the certificates that its files held when they were last usable.
#[derive(Debug)]
pub(crate) struct ServerTls(ArcSwap<ServerConfig>);

/// The content of the files, checked.
#[derive(Debug)]
pub(crate) struct ServerCertificates {
    config: Arc<ServerConfig>,
    /// For metrics and `/readyz`.
    pub(crate) facts: CertificateFacts,
}

impl ServerTls {
    pub(crate) fn new(certificates: ServerCertificates) -> Self {
        Self(ArcSwap::new(certificates.config))
    }

    /// Uses these certificates for handshakes from now on.
    pub(crate) fn replace(&self, certificates: ServerCertificates) {
        self.0.store(certificates.config);
    }

    /// An acceptor for one handshake, with the current certificates.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

impl ServerTlsFiles {
    /// All the files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let pair = [&self.cert, &self.key].into_iter();
        pair.chain(&self.client_ca).map(AsRef::as_ref)
    }

    /// Reads the files and checks that they can be used. `at` is where the configuration names
    /// them. Blocks.
    pub(crate) fn read(&self, at: &'static str) -> Result<ServerCertificates, TlsError> {
        let Self {
            cert,
            key,
            client_ca,
        } = self;
        let identity = Identity::read(at, cert, key)?;
        let expires_at = identity.expires_at();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsError::Library(at, Box::new(cause)))?;
        let (builder, ca_pem) = match client_ca {
            None => (builder.with_no_client_auth(), None),
            Some(path) => {
                let file = TlsFile::new(at, CLIENT_CA, path);
                let pem = file.read()?;
                let roots = Arc::new(file.authorities(&pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier.build();
                let verifier = verifier.map_err(|cause| TlsError::ClientCa(file, cause))?;
                (builder.with_client_cert_verifier(verifier), Some(pem))
            }
        };
        let facts = CertificateFacts {
            content_hash: content_hash([
                Some(&identity.cert_pem),
                Some(&identity.key_pem),
                ca_pem.as_deref(),
            ]),
            expires_at,
        };
        let config = builder.with_single_cert(identity.chain, identity.key);
        let mut config = config.map_err(|cause| {
            let key = TlsFile::new(at, KEY, key);
            TlsError::Pair(key, cert.clone(), Box::new(cause))
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let config = Arc::new(config);
        Ok(ServerCertificates { config, facts })
    }
}

#[cfg(test)]
mod tests;
