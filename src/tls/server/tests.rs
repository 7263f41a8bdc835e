//! Tests of a server's certificates: reading them, and reading them again.

use std::fs;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

const AT: &str = "server.grpc.tls";

/// A self-signed certificate and its key, PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Files in a directory of their own, with a pair that fits.
fn files(with_client_ca: bool) -> (TempDir, ServerTlsFiles) {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (certificate, key) = pair();
    fs::write(path("cert"), &certificate).unwrap();
    fs::write(path("key"), key).unwrap();
    fs::write(path("ca"), certificate).unwrap();
    let files = ServerTlsFiles {
        cert: path("cert").into(),
        key: path("key").into(),
        client_ca: with_client_ca.then(|| path("ca").into()),
    };
    (dir, files)
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (other_certificate, _) = pair();
    for (name, content, said) in [
        ("cert", None, "cert cannot be read"),
        ("cert", Some(""), "cert holds no certificate"),
        (
            "cert",
            Some("-----BEGIN CERTIFICATE-----\n"),
            "cert_file: certificate 1 in",
        ),
        ("key", None, "key cannot be read"),
        ("key", Some("no key"), "key holds no private key"),
        (
            "cert",
            Some(other_certificate.as_str()),
            "cannot be used with the certificate",
        ),
        ("ca", Some("none"), "ca holds no certificate"),
    ] {
        let (dir, files) = files(true);
        let path = dir.path().join(name);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let error = files.read(AT).unwrap_err().to_string();
        assert!(error.contains(said), "{name} {content:?}: {error}");
    }
}

#[test]
fn a_rotation_that_does_not_fit_leaves_the_old_certificate_in_force() {
    let (dir, files) = files(false);
    let tls = ServerTls::new(files.read(AT).unwrap());
    let before = tls.0.load_full();
    let (certificate, key) = pair();
    fs::write(dir.path().join("cert"), certificate).unwrap();
    files.read(AT).unwrap_err();
    assert!(Arc::ptr_eq(&before, &tls.0.load_full()));
    fs::write(dir.path().join("key"), key).unwrap();
    tls.replace(files.read(AT).unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.0.load_full()));
}
