//! TLS: whom the source trusts, what it shows, and what is spoken inside.

use super::*;
use crate::tls::ClientIdentityFiles;
pub(super) use crate::tls::tests::Authority;

#[tokio::test]
async fn http_2_is_spoken_within_tls_where_the_server_can() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca");
    let authority = Authority::new();
    authority.put(&ca);
    for (protocols, want) in [
        (&[&b"h2"[..], b"http/1.1"][..], http::Version::HTTP_2),
        (&[b"http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let server = Server::start_tls(authority.server(false, protocols), serve).await;
        let mut settings = settings(&server.url());
        settings.tls.ca = Some(ca.clone().into());
        keeps_the_contract(&source(settings)).await;
        let asked = server.asked();
        assert!(
            asked.iter().all(|request| request.version == want),
            "{want:?}"
        );
        if want == http::Version::HTTP_2 {
            assert!(
                server.connections() < asked.len() / 2,
                "connections are shared"
            );
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented_where_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let authority = Authority::new();
    authority.put(&path("ca"));
    authority.issue("us").put(&path("cert"), &path("key"));
    Authority::new()
        .issue("us")
        .put(&path("their-cert"), &path("their-key"));
    let server = Server::start_tls(authority.server(true, &[b"h2"]), serve).await;
    for (names, is_accepted) in [
        (Some(["cert", "key"]), true),
        (Some(["their-cert", "their-key"]), false),
        (None, false),
    ] {
        let mut settings = settings(&server.url());
        settings.tls.ca = Some(path("ca").into());
        settings.tls.identity = names.map(|[cert, key]| ClientIdentityFiles {
            cert: path(cert).into(),
            key: path(key).into(),
        });
        let before = server.asked().len();
        let answered = source(settings).lookup(&digest_of("a")).await;
        // Its objection may come after the connection was shut, so that not even that it is TLS's
        // can be seen for certain.
        let is_refused = matches!(answered, Err(SourceError::Unreachable(_)));
        assert_eq!(is_refused, !is_accepted, "{names:?}: {answered:?}");
        assert_eq!(server.asked().len() > before, is_accepted, "{names:?}");
    }
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca");
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(false, &[b"h2"]), serve).await;
    let address = server.url().replace("localhost", "127.0.0.1");
    for (what, signer, url) in [
        ("another authority", &Authority::new(), server.url()),
        ("another name", &authority, address),
    ] {
        signer.put(&ca);
        let mut settings = settings(&url);
        settings.tls.ca = Some(ca.clone().into());
        let before = server.connections();
        let answered = source(settings).lookup(&digest_of("a")).await;
        let Err(SourceError::Unreachable(text)) = answered else {
            panic!("{what}: {answered:?}");
        };
        assert!(
            text.contains("TLS: invalid peer certificate"),
            "{what}: {text}"
        );
        assert_eq!(server.connections(), before + 1, "{what}: not tried again");
    }
    assert!(server.asked().is_empty());
}
