//! TLS: whom the source trusts and what it shows, at a server and by way of sentinels, and how its
//! connections end.

use std::fs;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::tls::ClientIdentityFiles;
use crate::tls::tests::{Authority, good_files};

/// A server that is `localhost` and wants a certificate by the same authority, whose files are in
/// its directory. Its URL.
async fn server(authority: &Authority) -> (Server, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    authority.put(&file("ca"));
    let own = authority.issue("localhost");
    own.put(&file("cert"), &file("key"));
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let tls = [
        ("--tls-ca-cert-file", text("ca")),
        ("--tls-cert-file", text("cert")),
        ("--tls-key-file", text("key")),
    ];
    let tls: Vec<_> = tls.iter().flat_map(|(name, file)| [*name, file]).collect();
    let server = Server::start(Program::Redis, &tls).await;
    authority.put(&server.path("ca"));
    let ours = authority.issue("client");
    ours.put(&server.path("cert"), &server.path("key"));
    let url = format!("rediss://localhost:{}/0", server.port);
    (server, url)
}

/// The files in a server's directory.
fn files(server: &Server) -> ClientTlsFiles {
    ClientTlsFiles {
        ca: Some(server.path("ca").into()),
        identity: Some(ClientIdentityFiles {
            cert: server.path("cert").into(),
            key: server.path("key").into(),
        }),
    }
}

/// Puts the records of the contract there by the source's own connection.
async fn fill_by(source: &RedisSource) {
    let layout = Layout::new("keyward:");
    let set = async |name: String, value: &str| {
        let set = redis::cmd("SET").arg(name).arg(value).to_owned();
        source.client.write(&set).await.unwrap();
    };
    for record in records() {
        for secret in &record.secrets {
            set(layout.digest(&secret.digest), record.id.as_str()).await;
        }
        set(layout.key(&record.id), &json_of(&record)).await;
    }
}

#[tokio::test]
async fn tls_with_a_certificate_of_ours_keeps_the_contract() {
    let (server, url) = server(&Authority::new()).await;
    let mut settings = settings(&url);

    let failed = failure(&RedisSource::new(settings.clone(), clock()).unwrap()).await;
    assert!(failed.contains("UnknownIssuer"), "{failed}");

    settings.redis.tls.ca = Some(server.path("ca").into());
    let failed = failure(&RedisSource::new(settings.clone(), clock()).unwrap()).await;
    assert!(failed.contains("CertificateRequired"), "{failed}");

    settings.redis.tls = files(&server);
    let source = RedisSource::new(settings, clock()).unwrap();
    fill_by(&source).await;
    keeps_the_contract(&source).await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        is_invalidated("a change", &log, async || fill_by(&source).await).await;
    })
    .await;
}

/// Accepts a client that shows a certificate.
async fn accept(listener: &TcpListener, authority: &Authority) -> TlsStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(true, &[])));
    acceptor.accept(stream).await.unwrap()
}

#[tokio::test]
async fn sentinels_and_their_master_are_reached_over_tls() {
    let authority = Authority::new();
    let (server, _) = server(&authority).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "rediss://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let mut settings = settings_for(RedisServers::Sentinel {
        master: "m".to_owned(),
        nodes: vec![url.parse().unwrap()],
    });
    settings.redis.tls = files(&server);
    let source = RedisSource::new(settings, clock()).unwrap();
    let sentinel = async {
        loop {
            let mut stream = accept(&listener, &authority).await;
            let asked = stream.read(&mut [0; 512]).await.unwrap();
            assert_ne!(asked, 0);
            let port = server.port.to_string();
            let answer = format!("*2\r\n$9\r\nlocalhost\r\n${}\r\n{port}\r\n", port.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    tokio::select! {
        () = sentinel => unreachable!("it answers for ever"),
        () = async {
            fill_by(&source).await;
            keeps_the_contract(&source).await;
            followed(&source, async |log| until_subscribed(&log).await).await;
        } => {}
    }
}

#[tokio::test]
async fn a_discarded_connection_ends_whatever_was_not_sent() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = settings(&format!("rediss://localhost:{port}"));
    settings.redis.tls = good_files(dir.path());
    authority.put(&file("ca"));
    let ours = authority.issue("client");
    ours.put(&file("cert"), &file("key"));
    let source = RedisSource::new(settings, clock()).unwrap();
    let mut buffer = vec![0; 65536];
    let letting_in = async {
        let mut stream = accept(&listener, &authority).await;
        _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(b"+PONG\r\n").await.unwrap();
        // It is asked for its role next.
        _ = stream.read(&mut buffer).await.unwrap();
        let master = b"*1\r\n$6\r\nmaster\r\n";
        stream.write_all(master).await.unwrap();
        stream
    };
    let (mut stream, connected) = tokio::join!(letting_in, source.client.connect());
    connected.unwrap();
    // More than lies on the way to a server that does not read.
    let size = 16 << 20;
    let big = redis::cmd("SET").arg("x").arg(vec![b'x'; size]).to_owned();
    let setting = source.client.write(&big);
    let answer = tokio::time::timeout(Duration::from_millis(100), setting).await;
    assert!(answer.is_err(), "nobody answers");
    drop(source);
    let reading = async {
        let mut read = 0;
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            read += count;
        }
        read
    };
    let read = tokio::time::timeout(DEADLINE, reading).await.unwrap();
    assert!(read < size, "{read} bytes were sent for nobody");
}

#[test]
fn files_of_tls_are_checked_before_connecting() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings("rediss://localhost:1");
    settings.redis.tls = good_files(dir.path());
    RedisSource::new(settings.clone(), clock()).unwrap();
    fs::write(dir.path().join("key"), Authority::new().issue("other").key).unwrap();
    let error = RedisSource::new(settings, clock()).err().unwrap();
    let want = "source.redis.tls.key_file: the key of ";
    assert!(error.to_string().starts_with(want), "{error}");
}
