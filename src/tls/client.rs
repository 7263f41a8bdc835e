//! Certificates of a client, which a remote source is reached with.
//!
//! Gives a rustls configuration for handshakes, and the same as PEM for the client of Redis
//! clusters, which makes its connections by itself.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::file::Identity;
use super::{
    CA, CertificateFacts, CertificateStatus, KEY, TlsError, TlsFile, content_hash, system,
};
use crate::watch::named_file::NamedFile;

/// The files of a TLS client; paths are ready to be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The authorities that the server's certificate is checked against, PEM; the system's if
    /// absent.
    pub ca: Option<NamedFile>,
    /// Our certificate chain and its private key, PEM; no certificate is presented if absent.
    pub identity: Option<ClientIdentityFiles>,
}

/// The files of our certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentityFiles {
    /// The certificate chain, PEM.
    pub cert: NamedFile,
    /// Its private key, PEM.
    pub key: NamedFile,
}

/// The content of the files, checked.
pub(crate) struct ClientTls {
    /// For handshakes.
    pub(crate) config: ClientConfig,
    /// The authorities that a file names, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Our certificate chain and its private key, as PEM.
    pub(crate) identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// For metrics and `/readyz`.
    pub(crate) facts: CertificateFacts,
}

impl ClientTlsFiles {
    /// All the files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|ClientIdentityFiles { cert, key }| [cert, key]);
        self.ca.iter().chain(identity).map(NamedFile::as_path_buf)
    }

    /// The state of the certificates that were read just now; `None` if no file is named.
    pub(crate) fn status(
        &self,
        at: &'static str,
        read: CertificateFacts,
    ) -> Option<CertificateStatus> {
        self.paths().next()?;
        Some(CertificateStatus::new(at, read))
    }

    /// The authorities where no file names them: the system's, or none if TLS is not used. Blocks.
    pub(crate) fn default_authorities(
        &self,
        at: &'static str,
        uses_tls: bool,
    ) -> Result<Arc<RootCertStore>, TlsError> {
        if uses_tls && self.ca.is_none() {
            system::authorities(at)
        } else {
            Ok(Arc::new(RootCertStore::empty()))
        }
    }

    /// Reads the files and checks that they can be used. `authorities` apply where no file names
    /// them; `at` is where the configuration names the files. Blocks.
    pub(crate) fn read(
        &self,
        at: &'static str,
        authorities: &Arc<RootCertStore>,
    ) -> Result<ClientTls, TlsError> {
        let (ca, roots) = match &self.ca {
            Some(path) => {
                let file = TlsFile::new(at, CA, path);
                let pem = file.read()?;
                let roots = file.authorities(&pem)?;
                (Some(pem), Arc::new(roots))
            }
            None => (None, Arc::clone(authorities)),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsError::Library(at, Box::new(cause)))?
            .with_root_certificates(roots);
        let Some(ClientIdentityFiles { cert, key }) = &self.identity else {
            return Ok(ClientTls {
                config: builder.with_no_client_auth(),
                facts: CertificateFacts {
                    content_hash: content_hash([ca.as_deref(), None, None]),
                    expires_at: None,
                },
                ca,
                identity: None,
            });
        };
        let identity = Identity::read(at, cert, key)?;
        let facts = CertificateFacts {
            content_hash: content_hash([
                ca.as_deref(),
                Some(&identity.cert_pem),
                Some(&identity.key_pem),
            ]),
            expires_at: identity.expires_at(),
        };
        let config = builder.with_client_auth_cert(identity.chain, identity.key);
        Ok(ClientTls {
            config: config.map_err(|cause| {
                let key = TlsFile::new(at, KEY, key);
                TlsError::Pair(key, cert.clone(), Box::new(cause))
            })?,
            ca,
            identity: Some((identity.cert_pem, identity.key_pem)),
            facts,
        })
    }
}
