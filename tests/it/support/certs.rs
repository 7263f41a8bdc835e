//! A certificate authority for one test, and certificates by it.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

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
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        named(&mut params, name);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate with its issuer's name would pass for self-signed, and Envoy refuses it.
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
