//! A certificate authority for one test, and its certificates.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, as PEM.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        named(&mut params, "authority");
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, 4096)
    }

    /// A certificate for `name` that expires when that year begins.
    pub fn issue_until(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        named(&mut params, name);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The server side of TLS, with a certificate for `name`, that requires client certificates by
    /// this CA.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let own = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Envoy refuses a certificate with its issuer's name, because it looks self-signed.
fn named(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}

impl Identity {
    /// Puts both in a directory as `tls.crt` and `tls.key`, each by rename.
    pub fn put(&self, dir: &Path) {
        for (name, content) in [("tls.crt", &self.cert), ("tls.key", &self.key)] {
            let beside = dir.join(format!("{name}.new"));
            fs::write(&beside, content).unwrap();
            fs::rename(beside, dir.join(name)).unwrap();
        }
    }
}
