//! The system's certificate authorities, for sources whose configuration names none.
//!
//! They are where `SSL_CERT_FILE` and `SSL_CERT_DIR` say, else in the usual places of the system.
//! They are read when a source is made, off the serving threads, and not again for a connection.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls_native_certs::{CertificateResult, load_native_certs};

use super::TlsError;

/// The authorities that can be used; those that cannot be read or parsed are left out. Blocks.
pub(crate) fn authorities(at: &'static str) -> Result<Arc<RootCertStore>, TlsError> {
    usable(load_native_certs(), at)
}

/// Checks that redis-rs's client of clusters can use all of them. That client makes its own
/// connections, and for each it reads the system's authorities, even where it is given others, and
/// fails on any flaw in them: a missing `SSL_CERT_FILE` would fail every connection without a
/// reason. Blocks.
pub(crate) fn check_all(at: &'static str) -> Result<(), TlsError> {
    all_usable(load_native_certs(), at)
}

fn usable(found: CertificateResult, at: &'static str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first();
        let why = why.map_or_else(String::new, |error| format!(" ({error})"));
        return Err(TlsError::NoAuthorities(at, why));
    }
    Ok(Arc::new(roots))
}

fn all_usable(found: CertificateResult, at: &'static str) -> Result<(), TlsError> {
    let unusable = |problem| TlsError::System(at, problem);
    if let Some(error) = found.errors.first() {
        return Err(unusable(error.to_string()));
    }
    let mut roots = RootCertStore::empty();
    for authority in found.certs {
        let added = roots.add(authority);
        added.map_err(|error| unusable(error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::pki_types::CertificateDer;
    use rustls_native_certs::{Error, ErrorKind};

    use super::*;

    const MISSING: &str = "opening: it is gone at '/etc/authorities.pem'";

    fn found(certs: Vec<CertificateDer<'static>>, is_complete: bool) -> CertificateResult {
        let mut found = CertificateResult::default();
        found.certs = certs;
        found.errors.extend((!is_complete).then(|| Error {
            context: "opening",
            kind: ErrorKind::Io {
                inner: io::Error::other("it is gone"),
                path: "/etc/authorities.pem".into(),
            },
        }));
        found
    }

    #[test]
    fn flaws_matter_to_a_cluster_and_to_others_where_nothing_is_left() {
        let good = super::super::tests::Authority::new().der();
        let broken = CertificateDer::from(vec![1, 2, 3]);
        let none = "source.redis.tls.ca_file: the system has no certificate authorities";
        let needed = ", so that a file of them is needed";
        let unfit = "source.redis.tls: the system's certificate authorities, which connections to a cluster need even beside `ca_file`, cannot all be used: ";
        let bad = "invalid peer certificate: BadEncoding";
        for (name, certs, is_complete, want, want_of_cluster) in [
            ("whole", vec![good.clone()], true, None, None),
            (
                "nothing",
                vec![],
                true,
                Some(format!("{none}{needed}")),
                None,
            ),
            (
                "a file is missing",
                vec![],
                false,
                Some(format!("{none} ({MISSING}){needed}")),
                Some(format!("{unfit}{MISSING}")),
            ),
            (
                "a file of several is missing",
                vec![good.clone()],
                false,
                None,
                Some(format!("{unfit}{MISSING}")),
            ),
            (
                "one is broken",
                vec![good, broken],
                true,
                None,
                Some(format!("{unfit}{bad}")),
            ),
        ] {
            let at = "source.redis.tls";
            let told = usable(found(certs.clone(), is_complete), at).err();
            assert_eq!(told.map(|error| error.to_string()), want, "{name}");
            let told = all_usable(found(certs, is_complete), at).err();
            assert_eq!(
                told.map(|error| error.to_string()),
                want_of_cluster,
                "{name}"
            );
        }
    }
}
