//! TLS towards a remote source: its files, read and proved.
//!
//! Takes the files that a configuration names and gives what handshakes are made with, or says what is wrong with which file.
//! Both sources prove their files here when they are made, and whenever they read them anew, so that what they have in force is
//! known to be whole. The cryptography is handed over with it, so that nothing depends on what the process has installed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::watch::named_file::NamedFile;

mod error;
pub(crate) mod loopback;
mod status;
pub(crate) mod system;
pub mod validity;

#[cfg(test)]
pub(crate) mod tests;

pub use error::TlsFilesError;
pub use status::CertificateState;
pub(crate) use status::{CertificateStatus, Contents};

/// The members that name files.
const CA: &str = "ca_file";
const CERT: &str = "cert_file";
const KEY: &str = "key_file";

/// The files of a TLS client; paths are ready to be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Who may have signed the server's certificate, PEM; the system's authorities where absent.
    pub ca: Option<NamedFile>,
    /// Our certificate chain and its private key, PEM; none is shown where absent.
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

/// The files' content, proved.
pub(crate) struct ClientTls {
    /// What handshakes are made with.
    pub(crate) config: ClientConfig,
    /// The authorities that are named, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Our certificate chain and its private key, as PEM.
    pub(crate) identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// What is told of it.
    pub(crate) contents: Contents,
}

impl ClientTlsFiles {
    /// All the files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|ClientIdentityFiles { cert, key }| [cert, key]);
        self.ca.iter().chain(identity).map(NamedFile::as_path_buf)
    }

    /// Whom to trust where no file says so: the system's authorities, or nobody where TLS is not spoken. Blocks.
    pub(crate) fn default_authorities(
        &self,
        at: &'static str,
        is_spoken: bool,
    ) -> Result<Arc<RootCertStore>, TlsFilesError> {
        if is_spoken && self.ca.is_none() {
            system::authorities(at)
        } else {
            Ok(Arc::new(RootCertStore::empty()))
        }
    }

    /// Reads the files and proves that they can be used. `authorities` are trusted where no file of them is named, and `at` is where
    /// the configuration names the files. Blocks.
    pub(crate) fn read(
        &self,
        at: &'static str,
        authorities: &Arc<RootCertStore>,
    ) -> Result<ClientTls, TlsFilesError> {
        let file = |member, path| File { at, member, path };
        let ca = self.ca.as_ref().map(|path| file(CA, path));
        let (ca, roots) = match ca {
            Some(file) => {
                let pem = file.read()?;
                let roots = file.authorities(&pem)?;
                (Some(pem), Arc::new(roots))
            }
            None => (None, Arc::clone(authorities)),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsFilesError::Library {
                at,
                cause: Box::new(cause),
            })?
            .with_root_certificates(roots);
        let Some(ClientIdentityFiles { cert, key }) = &self.identity else {
            return Ok(ClientTls {
                config: builder.with_no_client_auth(),
                contents: Contents {
                    mark: mark([ca.as_deref(), None, None]),
                    expires_at: None,
                },
                ca,
                identity: None,
            });
        };
        let (cert_file, key_file) = (file(CERT, cert), file(KEY, key));
        let cert_pem = cert_file.read()?;
        let key_pem = Zeroizing::new(key_file.read()?);
        let chain = cert_file.certificates(&cert_pem)?;
        let expires_at = validity::earliest_end(&chain);
        let private = builder.with_client_auth_cert(chain, key_file.private_key(&key_pem)?);
        Ok(ClientTls {
            config: private.map_err(|cause| TlsFilesError::Pair {
                at,
                cert: cert.clone(),
                key: key.clone(),
                cause: Box::new(cause),
            })?,
            contents: Contents {
                mark: mark([ca.as_deref(), Some(&cert_pem), Some(&key_pem)]),
                expires_at,
            },
            ca,
            identity: Some((cert_pem, key_pem)),
        })
    }
}

/// A hash of contents that differs where any of them does.
pub fn mark<const N: usize>(contents: [Option<&[u8]>; N]) -> blake3::Hash {
    let mut mark = blake3::Hasher::new();
    for content in contents {
        mark.update(blake3::hash(content.unwrap_or_default()).as_bytes());
    }
    mark.finalize()
}

/// A file, and who names it.
#[derive(Clone, Copy)]
struct File<'a> {
    at: &'static str,
    member: &'static str,
    path: &'a NamedFile,
}

impl File<'_> {
    fn read(self) -> Result<Vec<u8>, TlsFilesError> {
        std::fs::read(self.path).map_err(|cause| TlsFilesError::Read {
            at: self.at,
            member: self.member,
            path: self.path.clone(),
            cause,
        })
    }

    /// All of them can be used, or none: one that is broken may be the one that is needed.
    fn authorities(self, pem: &[u8]) -> Result<RootCertStore, TlsFilesError> {
        let mut roots = RootCertStore::empty();
        for (place, authority) in self.certificates(pem)?.into_iter().enumerate() {
            roots.add(authority).map_err(|_| self.broken(place))?;
        }
        Ok(roots)
    }

    fn certificates(self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
        let mut found = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found.push(certificate.map_err(|_| self.broken(found.len()))?);
        }
        if found.is_empty() {
            return Err(self.lacking("certificate"));
        }
        Ok(found)
    }

    fn private_key(self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| self.lacking("private key"))
    }

    fn broken(self, place: usize) -> TlsFilesError {
        TlsFilesError::Certificate {
            at: self.at,
            member: self.member,
            path: self.path.clone(),
            number: place + 1,
        }
    }

    fn lacking(self, wanted: &'static str) -> TlsFilesError {
        TlsFilesError::Pem {
            at: self.at,
            member: self.member,
            path: self.path.clone(),
            wanted,
        }
    }
}
