//! Servers that are not there, do not answer or say what they should not, and lookups nobody
//! follows.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::server::write_secret;
use super::*;

#[tokio::test]
async fn an_absent_server_is_reported_and_used_once_it_comes() {
    let mut server = Server::redis().await;
    server.kill();
    let source = source(&server.url());
    let want = format!(
        "the source failed: 127.0.0.1:{}: connection refused (os error 111)",
        server.port
    );
    assert_eq!(failure(&source).await, want);
    assert_eq!(
        failure(&source).await,
        want,
        "it is not tried again at once"
    );
    assert!(server.run_again().await);
    fill(&mut server.client().await).await;
    until("a is found, though nobody follows", async || {
        finds_a(&source).await
    })
    .await;
}

#[tokio::test]
async fn a_lookup_whose_connection_breaks_is_tried_once_more() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let source = source(&server.url());
    for _ in 0..3 {
        assert!(finds_a(&source).await);
        run(
            &mut client,
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
        )
        .await;
    }
    assert!(finds_a(&source).await);
}

#[tokio::test]
async fn a_connection_that_does_not_answer_is_discarded() {
    let server = Server::redis().await;
    fill(&mut server.client().await).await;
    let mut settings = settings(&server.url());
    settings.timeout = Duration::from_millis(50);
    let source = RedisSource::new(settings, clock()).unwrap();
    until("a is found", async || finds_a(&source).await).await;
    server.pause();
    until("the connection is given up", async || {
        assert_eq!(found(&source, "a").await, Err(SourceError::Timeout));
        source.client.progress().is_none()
    })
    .await;
    server.resume();
    until("a is found", async || finds_a(&source).await).await;
}

#[tokio::test]
async fn connecting_is_not_bound_to_the_lookup_that_began_it() {
    // Accepts no connection before it is told to.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&format!("redis://{}", listener.local_addr().unwrap()));
    settings.timeout = Duration::from_millis(20);
    let dir = tempfile::tempdir().unwrap();
    write_secret(&dir.path().join("password"), "canary1");
    settings.redis.password_file = Some(dir.path().join("password").into());
    let source = RedisSource::new(settings, clock()).unwrap();
    assert_eq!(found(&source, "a").await, Err(SourceError::Timeout));
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 512];
        _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(b"+OK\r\n").await.unwrap();
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            let sent = &buffer[..count];
            if sent.windows(4).any(|word| word == b"ROLE") {
                stream.write_all(b"*1\r\n$6\r\nmaster\r\n").await.unwrap();
            }
            let gets = sent.windows(3).filter(|word| word == b"GET");
            stream
                .write_all(&b"$-1\r\n".repeat(gets.count()))
                .await
                .unwrap();
        }
    };
    let lookups = until(
        "the attempt of the first lookup serves another",
        async || found(&source, "a").await == Ok(SourceAnswer::NotFound),
    );
    tokio::select! {
        () = server => unreachable!("it serves one connection for ever"),
        () = lookups => {}
    }
}

/// A clock that stands still until it is set.
#[derive(Default)]
struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn the_next_attempt_is_due_by_the_clock() {
    let mut server = Server::redis().await;
    server.kill();
    let clock = Arc::new(StillClock::default());
    let time = Arc::<StillClock>::clone(&clock);
    let source = RedisSource::new(settings(&server.url()), time).unwrap();
    let failed = failure(&source).await;
    assert!(server.run_again().await);
    fill(&mut server.client().await).await;
    for _ in 0..100 {
        assert_eq!(failure(&source).await, failed);
    }
    clock.0.store(1, Ordering::SeqCst);
    assert!(finds_a(&source).await);
}

/// A server that refuses whatever it is sent and repeats it.
async fn quoting(listener: TcpListener) {
    let mut streams = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 2048];
        let count = stream.read(&mut buffer).await.unwrap();
        let sent: String = String::from_utf8_lossy(&buffer[..count]).replace(['\r', '\n'], " ");
        let refusal = format!("-ERR unknown command, with args beginning with: {sent}\r\n");
        stream
            .write_all(refusal.repeat(3).as_bytes())
            .await
            .unwrap();
        streams.push(stream);
    }
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_reveals_no_password() {
    let dir = tempfile::tempdir().unwrap();
    write_secret(&dir.path().join("password"), "canary1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = |scheme: &str| {
        format!("{scheme}://{address}")
            .parse::<crate::redis::RedisUrl>()
            .unwrap()
    };
    let all = async {
        for servers in [
            RedisServers::One(url("redis")),
            RedisServers::One(format!("redis://{address}/4").parse().unwrap()),
            RedisServers::Cluster(vec![url("redis")]),
            RedisServers::Sentinel {
                master: "m".to_owned(),
                nodes: vec![url("redis")],
            },
        ] {
            let mut settings = settings_for(servers);
            settings.redis.username = Some("canary0".to_owned());
            settings.redis.password_file = Some(dir.path().join("password").into());
            let source = RedisSource::new(settings, clock()).unwrap();
            let told = [
                failure(&source).await,
                source.probe().await.unwrap_err().to_string(),
                subscribing_fails(&source).await,
            ];
            for told in told {
                assert!(!told.contains("canary"), "{told}");
                assert!(told.contains("refuse"), "{told}");
            }
        }
    };
    tokio::select! {
        () = quoting(listener) => unreachable!("it serves for ever"),
        () = all => {}
    }
}

/// Why subscribing failed.
async fn subscribing_fails(source: &RedisSource) -> String {
    let log = Arc::new(InvalidationLog::new(
        "redis",
        true,
        Arc::new(SystemClock::new()),
    ));
    let listener = source.listener(log);
    let why = listener.subscribe().await.err().unwrap();
    why.into_cause().to_string()
}

#[tokio::test]
async fn without_resp3_lookups_go_on() {
    let server = Server::start(Program::Redis, &["--rename-command", "HELLO", ""]).await;
    fill(&mut server.client().await).await;
    let source = source(&server.url());
    let want = format!(
        "127.0.0.1:{}: the server refuses RESP3, which pushes need and Redis has since version 6",
        server.port
    );
    assert_eq!(subscribing_fails(&source).await, want);
    followed(&source, async |log| {
        keeps_the_contract(&source).await;
        assert!(!log.is_subscribed());
    })
    .await;
}
