//! TLS towards the service, from files that may be rotated while it is asked.
//!
//! Takes the files that are configured and gives what the HTTP client makes its handshakes with. The cryptography is handed over
//! with it, so that nothing depends on what the process has installed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::super::tls::{ClientIdentityFiles, ClientTlsFiles};
use super::error::HttpSourceError;
use super::settings::{EventsUrl, HttpSettings};

/// The members that name files.
const CA: &str = "tls.ca_file";
const CERT: &str = "tls.cert_file";
const KEY: &str = "tls.key_file";

/// What is spoken inside, the best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files that are read.
pub(super) fn files(files: &ClientTlsFiles) -> impl Iterator<Item = &PathBuf> {
    let identity = files.identity.iter();
    let identity = identity.flat_map(|ClientIdentityFiles { cert, key }| [cert, key]);
    files.ca.iter().chain(identity)
}

/// Reads the files. Blocks.
pub(super) fn config(settings: &HttpSettings) -> Result<ClientConfig, HttpSourceError> {
    let files = &settings.tls;
    let is_used = settings.url.is_https()
        || settings
            .events_url
            .as_ref()
            .is_some_and(EventsUrl::is_https);
    let roots = match &files.ca {
        Some(path) => named_authorities(path)?,
        None if is_used => system_authorities()?,
        None => RootCertStore::empty(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(HttpSourceError::Tls)?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentityFiles { cert, key }) => {
            let chain = certificates(CERT, cert)?;
            let private = builder.with_client_auth_cert(chain, private_key(key)?);
            private.map_err(|cause| HttpSourceError::Pair {
                cert: cert.clone(),
                key: key.clone(),
                cause,
            })?
        }
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn named_authorities(path: &Path) -> Result<RootCertStore, HttpSourceError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(CA, path)? {
        roots
            .add(authority)
            .map_err(|_| lacking(CA, path, "certificate"))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, HttpSourceError> {
    let mut roots = RootCertStore::empty();
    // A system may hold some that cannot be read or are of no use to us.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(HttpSourceError::NoAuthorities);
    }
    Ok(roots)
}

fn certificates(
    member: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, HttpSourceError> {
    let bytes = read(member, path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(lacking(member, path, "certificate")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, HttpSourceError> {
    let bytes = Zeroizing::new(read(KEY, path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| lacking(KEY, path, "private key"))
}

fn lacking(member: &'static str, path: &Path, wanted: &'static str) -> HttpSourceError {
    HttpSourceError::Pem {
        member,
        path: path.to_owned(),
        wanted,
    }
}

fn read(member: &'static str, path: &Path) -> Result<Vec<u8>, HttpSourceError> {
    std::fs::read(path).map_err(|cause| HttpSourceError::Read {
        member,
        path: path.to_owned(),
        cause,
    })
}
