//! Rotation: changed files are used without a restart, and ones that cannot be used change nothing
//! and are logged once.

use std::sync::Mutex;
use std::{fs, io};

use tracing_subscriber::fmt::MakeWriter;

use super::secured::Authority;
use super::*;
use crate::keys::invalidation::InvalidationLog;

pub(super) fn nothing_pushed() -> Arc<InvalidationLog> {
    let clock = Arc::new(SystemClock::new());
    Arc::new(InvalidationLog::new("http", false, clock))
}

/// What is logged on a test's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, text: &str) -> usize {
        let log = self.0.lock().unwrap();
        let log = str::from_utf8(&log).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }

    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_new_token_is_sent_on_the_same_connection() {
    let log = Log::default();
    let _logging = log.start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "old").unwrap();
    let server = Server::start(serve).await;
    let source = source(HttpSettings {
        bearer_token_file: Some(path.clone().into()),
        ..settings(&server.url())
    });
    let sends = async |token: &str| {
        source.lookup(&digest_of("a")).await.unwrap();
        let asked = server.asked();
        asked.last().unwrap().headers["authorization"] == format!("Bearer {token}")
    };
    followed(&source, nothing_pushed(), async {
        assert!(sends("old").await);
        fs::write(&path, CANARY).unwrap();
        until("the new token", async || sends(CANARY).await).await;

        fs::write(&path, "no token").unwrap();
        until("the error", async || log.lines_with("not reloaded") == 1).await;
        assert!(sends(CANARY).await);

        let beside = directory.path().join("beside");
        fs::write(&beside, "renamed").unwrap();
        fs::rename(&beside, &path).unwrap();
        until("the token put in place by rename", async || {
            sends("renamed").await
        })
        .await;
    })
    .await;
    assert_eq!(server.connections(), 1);
    assert_eq!(log.lines_with("not reloaded"), 1, "logged once");
    assert_eq!(log.lines_with("INFO"), 2);
    assert_eq!(log.lines_with(CANARY), 0);
}

#[tokio::test]
async fn what_cannot_be_used_is_logged_again_when_it_changes() {
    let log = Log::default();
    let _logging = log.start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "token").unwrap();
    let source = source(HttpSettings {
        bearer_token_file: Some(path.clone().into()),
        ..settings("http://127.0.0.1:1")
    });
    followed(&source, nothing_pushed(), async {
        for (times, content) in [(1, Some("no token")), (2, None), (3, Some("none at all"))] {
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            until("the error", async || {
                log.lines_with("not reloaded") == times
            })
            .await;
        }
    })
    .await;
    assert_eq!(log.lines_with("bearer_token_file"), 3);
}

#[tokio::test]
async fn new_authorities_are_trusted_and_half_a_rotation_changes_nothing() {
    let log = Log::default();
    let _logging = log.start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (old, new) = (Authority::new(), Authority::new());
    old.put(&path("ca"));
    old.issue("us").put(&path("cert"), &path("key"));
    let old_server = Server::start_tls(old.server(true, &[b"h2"]), serve).await;
    let new_server = Server::start_tls(new.server(true, &[b"h2"]), serve).await;
    let identity = crate::tls::ClientIdentityFiles {
        cert: path("cert").into(),
        key: path("key").into(),
    };
    let source_of = |server: &Server| {
        let mut settings = settings(&server.url());
        settings.tls.ca = Some(path("ca").into());
        settings.tls.identity = Some(identity.clone());
        source(settings)
    };
    let (first, second) = (source_of(&old_server), source_of(&new_server));
    let digest = digest_of("a");
    first.lookup(&digest).await.unwrap();
    second.lookup(&digest).await.unwrap_err();

    followed(
        &first,
        nothing_pushed(),
        followed(&second, nothing_pushed(), async {
            let ours = new.issue("us");
            fs::write(path("cert"), &ours.cert).unwrap();
            until("both errors", async || log.lines_with("not reloaded") == 2).await;
            first.lookup(&digest).await.unwrap();

            new.put(&path("ca"));
            ours.put(&path("cert"), &path("key"));
            until("subscribed", async || second.lookup(&digest).await.is_ok()).await;
            until("distrust", async || first.lookup(&digest).await.is_err()).await;
        }),
    )
    .await;
}
