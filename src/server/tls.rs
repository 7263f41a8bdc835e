//! TLS of the gRPC listener, from files that may be rotated while it runs.
//!
//! A connection's handshake uses the configuration in force when it begins. A rotation that cannot be read whole, be it
//! half-way or broken, changes nothing: whoever follows the files tries again.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, TlsFiles};
use crate::tls::{mark, validity};
use crate::watch::named_file::NamedFile;

/// What is spoken inside: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// Where the configuration names the files.
pub(super) const MEMBER: &str = "server.grpc.tls";

/// Its members that name files.
const CERT: &str = "cert_file";
const KEY: &str = "key_file";
const CLIENT_CA: &str = "client_ca_file";

/// The files of TLS could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("server.grpc.tls.{member}: {} cannot be read", path.display())]
    Read {
        /// Who names it.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A file is not PEM, or lacks what it is to hold.
    #[error("server.grpc.tls.{member}: {} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// Who names it.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What it is to hold.
        wanted: &'static str,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("server.grpc.tls.key_file: the key of {} cannot be used with the certificate of {}", key.display(), cert.display())]
    Pair {
        /// The certificate's file.
        cert: NamedFile,
        /// The key's file.
        key: NamedFile,
        /// What the TLS library says.
        #[source]
        cause: rustls::Error,
    },
    /// A certificate authority cannot be used.
    #[error("server.grpc.tls.client_ca_file: the certificate authorities of {} cannot be used", path.display())]
    ClientCa {
        /// The file.
        path: NamedFile,
        /// What the TLS library says.
        #[source]
        cause: VerifierBuilderError,
    },
}

impl TlsError {
    /// The member of the configuration that is to blame.
    fn member(&self) -> String {
        let name = match self {
            Self::Read { member, .. } | Self::Pem { member, .. } => member,
            Self::Pair { .. } => KEY,
            Self::ClientCa { .. } => CLIENT_CA,
        };
        format!("{MEMBER}.{name}")
    }
}

/// TLS as its files have it.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Current>,
}

/// What the files held when they were read last.
#[derive(Debug)]
pub(super) struct Current {
    config: Arc<ServerConfig>,
    /// A hash of all contents.
    mark: blake3::Hash,
    /// When the first certificate of the chain expires, where that can be told.
    expires_at: Option<Timestamp>,
}

impl Tls {
    /// Reads the files of a configuration; `None` where it names none.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        let files = config.server.grpc.tls.clone();
        let tls = files.map(Self::load).transpose();
        tls.map_err(|error| config.unusable_file(&error.member(), &error))
    }

    /// Reads the files.
    fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files anew, and gives what they hold with a hash of it. Blocks.
    pub(super) fn read(&self) -> Result<(Current, blake3::Hash), TlsError> {
        let current = read(&self.files)?;
        let mark = current.mark;
        Ok((current, mark))
    }

    /// Has new connections use what was read.
    pub(super) fn put(&self, current: Current) {
        self.current.store(Arc::new(current));
    }

    /// A hash of the contents that are in use.
    pub(super) fn mark(&self) -> blake3::Hash {
        self.current.load().mark
    }

    /// When the first certificate of the chain that is in use expires, where that can be told.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.current.load().expires_at
    }

    /// What makes handshakes as the files have it now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }
}

fn read(files: &TlsFiles) -> Result<Current, TlsError> {
    let TlsFiles {
        cert,
        key,
        client_ca,
    } = files;
    let cert_bytes = read_file(CERT, cert)?;
    let chain = certificates(CERT, cert, &cert_bytes)?;
    let expires_at = validity::earliest_end(&chain);
    let key_bytes = Zeroizing::new(read_file(KEY, key)?);
    let private = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|_| TlsError::Pem {
        member: KEY,
        path: key.clone(),
        wanted: "private key",
    })?;
    let provider = Arc::new(ring::default_provider());
    let unusable = |cause| TlsError::Pair {
        cert: cert.clone(),
        key: key.clone(),
        cause,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?;
    let ca_bytes = client_ca
        .as_ref()
        .map(|path| read_file(CLIENT_CA, path))
        .transpose()?;
    let mark = mark([Some(&cert_bytes), Some(&key_bytes), ca_bytes.as_deref()]);
    let builder = match client_ca.as_ref().zip(ca_bytes) {
        None => builder.with_no_client_auth(),
        Some((path, bytes)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(CLIENT_CA, path, &bytes)? {
                let added = roots.add(authority);
                added.map_err(|_| TlsError::Pem {
                    member: CLIENT_CA,
                    path: path.clone(),
                    wanted: "certificate",
                })?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|cause| TlsError::ClientCa {
                path: path.clone(),
                cause,
            })?)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Current {
        config: Arc::new(config),
        mark,
        expires_at,
    })
}

fn certificates(
    member: &'static str,
    path: &NamedFile,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(TlsError::Pem {
            member,
            path: path.clone(),
            wanted: "certificate",
        }),
    }
}

fn read_file(member: &'static str, path: &NamedFile) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Read {
        member,
        path: path.clone(),
        cause,
    })
}

#[cfg(test)]
mod tests;
