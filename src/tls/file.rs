//! Files of TLS as the configuration names them, and the one reader of PEM for clients and servers.
//!
//! An error carries the file with the member that names it, and repeats nothing of its content: a
//! private key may be in a file where a certificate belongs.

use std::fmt;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{CERT, KEY, TlsError, validity};
use crate::watch::named_file::NamedFile;

/// A file of TLS, and the member that names it. Displayed as messages begin.
#[derive(Debug, Clone)]
pub struct TlsFile {
    /// Where the configuration names the files, such as `source.http.tls`.
    pub(super) at: &'static str,
    pub(super) member: &'static str,
    pub(super) path: NamedFile,
}

/// A certificate chain and its private key, which may not belong together.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) cert_pem: Vec<u8>,
    pub(super) key_pem: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Reads a chain and its key. Blocks.
    pub(super) fn read(
        at: &'static str,
        cert: &NamedFile,
        key: &NamedFile,
    ) -> Result<Self, TlsError> {
        let (cert, key) = (TlsFile::new(at, CERT, cert), TlsFile::new(at, KEY, key));
        let cert_pem = cert.read()?;
        let key_pem = Zeroizing::new(key.read()?);
        let chain = cert.certificates(&cert_pem)?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem);
        Ok(Self {
            chain,
            key: private.map_err(|_| TlsError::Pem(key, "private key"))?,
            cert_pem,
            key_pem,
        })
    }

    /// When the first certificate of the chain expires.
    pub(super) fn expires_at(&self) -> Option<jiff::Timestamp> {
        validity::earliest_end(&self.chain)
    }
}

impl TlsFile {
    pub(super) fn new(at: &'static str, member: &'static str, path: &NamedFile) -> Self {
        let path = path.clone();
        Self { at, member, path }
    }

    /// The whole name of the member.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.at, self.member)
    }

    /// Reads the file. Blocks.
    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
        std::fs::read(&self.path).map_err(|cause| TlsError::Read(self.clone(), cause))
    }

    /// Its certificate authorities: all of them can be used, or it is an error, since the one that
    /// is broken may be the one that is needed.
    pub(super) fn authorities(&self, pem: &[u8]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for (index, authority) in self.certificates(pem)?.into_iter().enumerate() {
            let added = roots.add(authority);
            added.map_err(|_| TlsError::Certificate(self.clone(), index + 1))?;
        }
        Ok(roots)
    }

    fn certificates(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let mut found = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let number = found.len() + 1;
            found.push(certificate.map_err(|_| TlsError::Certificate(self.clone(), number))?);
        }
        if found.is_empty() {
            return Err(TlsError::Pem(self.clone(), "certificate"));
        }
        Ok(found)
    }
}

impl fmt::Display for TlsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.path.display())
    }
}

/// A hash that differs if any of the contents does.
pub(crate) fn content_hash<const N: usize>(contents: [Option<&[u8]>; N]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for content in contents {
        hash.update(blake3::hash(content.unwrap_or_default()).as_bytes());
    }
    hash.finalize()
}
