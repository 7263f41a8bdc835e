//! Files that cannot be used: what is wrong is said with the member and the path, and nothing of
//! the content.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use super::client::ClientTls;
use super::*;

/// What no text may hold.
const CANARY: &str = "canary-d41d8cd9";

/// A certificate authority of one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, PEM.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn put(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).unwrap();
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        Identity {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A server with a certificate by this authority, which demands one by it too if told so.
    pub(crate) fn server(&self, asks_for_certificate: bool, protocols: &[&[u8]]) -> ServerConfig {
        let identity = self.issue("localhost");
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.der()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}

impl Identity {
    pub(crate) fn put(&self, cert: &Path, key: &Path) {
        std::fs::write(cert, &self.cert).unwrap();
        std::fs::write(key, &self.key).unwrap();
    }
}

/// All the files, which are good, in a directory.
pub(crate) fn good_files(directory: &Path) -> ClientTlsFiles {
    let path = |name: &str| directory.join(name);
    let authority = Authority::new();
    authority.put(&path("ca"));
    authority.issue("client").put(&path("cert"), &path("key"));
    ClientTlsFiles {
        ca: Some(path("ca").into()),
        identity: Some(ClientIdentityFiles {
            cert: path("cert").into(),
            key: path("key").into(),
        }),
    }
}

fn read(files: &ClientTlsFiles) -> Result<ClientTls, TlsError> {
    files.read("source.redis.tls", &Arc::new(RootCertStore::empty()))
}

#[test]
fn what_is_good_is_given_as_it_is_in_the_files() {
    let directory = TempDir::new().unwrap();
    let files = good_files(directory.path());
    let tls = read(&files).unwrap();
    let content = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let (cert, key) = tls.identity.unwrap();
    assert_eq!((cert, &*key), (content("cert"), &content("key")));
    assert_eq!(tls.ca, Some(content("ca")));
    assert!(tls.config.client_auth_cert_resolver.has_certs());
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_member() {
    let good = Authority::new().0.pem();
    let stranger = Authority::new().issue("stranger");
    let broken = format!("-----BEGIN CERTIFICATE-----\n{CANARY}!\n-----END CERTIFICATE-----\n");
    let no_authority = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
    let broken_second = [&*good, &broken].concat();
    let useless_second = [&*good, no_authority].concat();
    for (name, content, said) in [
        ("ca", None, "ca_file: {} cannot be read"),
        (
            "ca",
            Some(CANARY),
            "ca_file: {} holds no certificate in PEM form",
        ),
        (
            "ca",
            Some(""),
            "ca_file: {} holds no certificate in PEM form",
        ),
        (
            "ca",
            Some(&broken_second),
            "ca_file: certificate 2 in {} cannot be used",
        ),
        (
            "ca",
            Some(&useless_second),
            "ca_file: certificate 2 in {} cannot be used",
        ),
        ("cert", None, "cert_file: {} cannot be read"),
        (
            "cert",
            Some(CANARY),
            "cert_file: {} holds no certificate in PEM form",
        ),
        (
            "cert",
            Some(&broken),
            "cert_file: certificate 1 in {} cannot be used",
        ),
        ("key", None, "key_file: {} cannot be read"),
        (
            "key",
            Some(CANARY),
            "key_file: {} holds no private key in PEM form",
        ),
        (
            "key",
            Some(&stranger.key),
            "key_file: the key of {} cannot be used with the certificate of {dir}/cert",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        let files = good_files(directory.path());
        let path = directory.path().join(name);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = read(&files).err().unwrap();
        let want = said
            .replace("{}", &path.display().to_string())
            .replace("{dir}", &directory.path().display().to_string());
        assert_eq!(error.to_string(), format!("source.redis.tls.{want}"));
        let has_cause = content.is_none() || said.contains("with the certificate");
        assert_eq!(error.source().is_some(), has_cause, "{error}");
        assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    }
}

#[test]
fn the_systems_authorities_are_asked_for_only_where_they_are_needed() {
    let directory = TempDir::new().unwrap();
    let named = good_files(directory.path());
    for (files, is_spoken) in [(&named, true), (&ClientTlsFiles::default(), false)] {
        let roots = files.default_authorities("source.http.tls", is_spoken);
        assert!(roots.unwrap().is_empty());
    }
}
