//! Events: what comes of a stream that the test writes, seen where the cache looks.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::server::Raw;
use super::*;
use crate::keys::invalidation::{EntryValidity, InvalidationLog, Version};

const OPENED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

/// A service whose streams the test writes, a source that listens, and its invalidation log.
struct Scene {
    service: Raw,
    source: HttpSource,
    log: Arc<InvalidationLog>,
}

impl Scene {
    async fn new() -> Self {
        let service = Raw::bind().await;
        let source = source(HttpSettings {
            events_url: Some(format!("{}/events?x=y", service.url()).parse().unwrap()),
            // Nobody is asked for keys there.
            ..settings("http://127.0.0.1:1")
        });
        assert_eq!(source.push(), PushSupport::Enabled);
        Self {
            service,
            source,
            log: Arc::new(InvalidationLog::new(
                "http",
                true,
                Arc::new(SystemClock::new()),
            )),
        }
    }

    async fn followed(&self, test: impl Future<Output = ()>) {
        followed(&self.source, Arc::clone(&self.log), test).await;
    }

    /// Opens the next stream; ends when the source takes it for one.
    async fn open(&self) -> TcpStream {
        let (mut stream, _) = self.service.accept().await;
        stream.write_all(OPENED).await.unwrap();
        until("subscribed", async || self.log.is_subscribed()).await;
        stream
    }

    async fn lost(&self) {
        until("unsubscribed", async || !self.log.is_subscribed()).await;
    }

    /// What an answer of that version about the key with that id is worth.
    fn validity(&self, version: Version, id: &str) -> EntryValidity {
        let digest = self.log.bucket_of_digest(&digest_of(id));
        self.log
            .validity(version, [self.log.bucket_of_id(id), digest])
    }
}

#[tokio::test]
async fn without_a_url_nothing_is_pushed() {
    assert_eq!(
        source(settings("http://127.0.0.1:1")).push(),
        PushSupport::None
    );
}

#[tokio::test]
async fn an_open_stream_is_a_subscription_and_brings_changes() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, CANARY).unwrap();
    let mut scene = Scene::new().await;
    scene.source = source(HttpSettings {
        bearer_token_file: Some(token_file.into()),
        ..(*scene.source.settings).clone()
    });
    scene
        .followed(async {
            let (mut stream, head) = scene.service.accept().await;
            assert!(head.starts_with("GET /events?x=y HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
            assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
            let token = format!("\r\nauthorization: Bearer {CANARY}\r\n");
            assert!(head.contains(&token), "{head}");
            assert!(!scene.log.is_subscribed(), "no answer came yet");
            stream.write_all(OPENED).await.unwrap();
            until("subscribed", async || scene.log.is_subscribed()).await;

            let version = scene.log.version();
            let message =
                "event: change\ndata: {\"event\":\"invalidate\",\r\ndata: \"key_id\":\"a\"}\n\n";
            let (begin, end) = message.split_at(30);
            stream.write_all(begin.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            stream.write_all(end.as_bytes()).await.unwrap();
            until("a", async || {
                scene.validity(version, "a") == EntryValidity::Outdated
            })
            .await;
            assert_eq!(scene.validity(version, "b"), EntryValidity::Valid);

            for event in [
                "data: {\"all\":true}\n\n",
                "data: {\"what\":\"is this\"}\n\n",
                "data: ping\n\n",
                "data: {\"all\":true}\r\r",
                "Data: {\"event\":\"invalidate\",\"key_id\":\"b\"}\n\n",
                "event: invalidate\n\n",
            ] {
                let version = scene.log.version();
                let message = format!(": comment\n\n{event}");
                stream.write_all(message.as_bytes()).await.unwrap();
                until(event, async || {
                    scene.validity(version, "b") == EntryValidity::Outdated
                })
                .await;
            }
            assert!(scene.log.is_subscribed());
        })
        .await;
}

#[tokio::test]
async fn a_stream_that_ends_is_lost_and_opened_again() {
    let endless = "data: x".repeat(100_000);
    let scene = Scene::new().await;
    scene
        .followed(async {
            for (what, bytes) in [
                ("its end", ""),
                ("a line without end", &*endless),
                ("compressed bytes that nothing announced", "\x1f\u{8}"),
                ("an event without the empty line", "data: {\"all\":true}\n"),
            ] {
                let version = scene.log.version();
                let mut stream = scene.open().await;
                assert_eq!(
                    scene.validity(version, "a"),
                    EntryValidity::Revalidate,
                    "{what}"
                );
                // It hangs up in the middle of it.
                let _ = stream.write_all(bytes.as_bytes()).await;
                if bytes.is_empty() {
                    drop(stream);
                }
                scene.lost().await;
            }
            let stream = scene.open().await;
            stream.set_zero_linger().unwrap();
            drop(stream);
            scene.lost().await;
            scene.open().await;
        })
        .await;
}

#[tokio::test]
async fn what_is_no_stream_is_no_subscription_and_is_asked_for_again() {
    let html = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>";
    let prefixed = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-streams\r\n\r\n";
    let scene = Scene::new().await;
    scene
        .followed(async {
            for answer in [
                &b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"[..],
                b"HTTP/1.1 204 x\r\ncontent-type: text/event-stream\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                b"HTTP/1.1 302 x\r\nlocation: /\r\ncontent-type: text/event-stream\r\n\r\n",
                html,
                prefixed,
                b"",
            ] {
                let (mut stream, _) = scene.service.accept().await;
                stream.write_all(answer).await.unwrap();
                drop(stream);
                assert!(!scene.log.is_subscribed());
            }
            scene.open().await;
        })
        .await;
    // Only the last was trusted: every arming makes a version of before due for revalidation.
    assert_eq!(format!("{:?}", scene.log.version()), "Version(1)");
}

#[tokio::test]
async fn a_stream_that_does_not_open_in_time_is_tried_again() {
    let mut scene = Scene::new().await;
    scene.source.timing.connect_timeout = Duration::from_millis(50);
    scene
        .followed(async {
            let (_hanging, _) = scene.service.accept().await;
            scene.open().await;
        })
        .await;
}

#[tokio::test]
async fn heartbeats_that_stop_mean_a_lost_stream() {
    let scene = Scene::new().await;
    scene
        .followed(async {
            let mut stream = scene.open().await;
            // Two that are far enough apart to be two; however late they are, the silence behind
            // them is longer.
            for _ in 0..2 {
                stream.write_all(b": heartbeat\n\n").await.unwrap();
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            scene.lost().await;
            scene.open().await;
            drop(stream);
        })
        .await;
}

#[tokio::test]
async fn a_stream_without_heartbeats_may_be_silent() {
    let mut scene = Scene::new().await;
    scene.source.timing.min_silence = Duration::from_millis(1);
    scene
        .followed(async {
            let mut stream = scene.open().await;
            stream.write_all(b": hello\n: again\n\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(scene.log.is_subscribed());
            let version = scene.log.version();
            stream.write_all(b"data: {\"all\":true}\n\n").await.unwrap();
            until("it", async || {
                scene.validity(version, "a") == EntryValidity::Outdated
            })
            .await;
        })
        .await;
}
