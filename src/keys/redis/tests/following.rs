//! Pushes: which changes invalidate entries, and that entries are revalidated when pushes may be
//! missed.

use super::*;

#[tokio::test]
async fn every_way_of_changing_a_key_is_pushed() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program, &[]).await;
        let mut client = server.client().await;
        let source = source(&server.url());
        let entry = format!("keyward:digest:{}", digest_of("a"));
        run(&mut client, &["SET", "x", "1"]).await;
        followed(&source, async |log| {
            until_subscribed(&log).await;
            for (name, change) in [
                ("set", &["SET", "keyward:key:a", "1"][..]),
                ("del", &["DEL", "keyward:key:a"]),
                ("rename", &["RENAME", "x", "keyward:key:a"]),
                ("index", &["SET", &entry, "a"]),
                ("index gone", &["DEL", &entry]),
                ("a name that nobody made", &["SET", "keyward:digest:x", "a"]),
                ("flush of a database", &["FLUSHDB"]),
                ("flush", &["FLUSHALL"]),
            ] {
                is_invalidated(name, &log, async || drop(run(&mut client, change).await)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_of_another_key_does_not_invalidate_this_one() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let source = source(&server.url());
    followed(&source, async |log| {
        until_subscribed(&log).await;
        let version = log.version();
        run(&mut client, &["SET", "other:key:a", "1"]).await;
        run(&mut client, &["SET", "keyward:key:b", "1"]).await;
        let buckets = [log.bucket_of_id("b"), log.bucket_of_digest(&digest_of("b"))];
        until("b is heard", async || {
            log.validity(version, buckets) == EntryValidity::Outdated
        })
        .await;
        assert_eq!(validity_of_a(&log, version), EntryValidity::Valid);
    })
    .await;
}

#[tokio::test]
async fn the_expiry_of_a_record_is_pushed() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let source = source(&server.url());
    let heard = IntCounter::new("heard", "pushes").unwrap();
    followed_and_counted(&source, Some(heard.clone()), async |log| {
        until_subscribed(&log).await;
        run(&mut client, &["SET", "keyward:key:a", "1", "PX", "50"]).await;
        until("it is written and expires", async || heard.get() == 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_closed_is_made_anew() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let source = source(&server.url());
    followed(&source, async |log| {
        until_subscribed(&log).await;
        let version = log.version();
        run(
            &mut client,
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
        )
        .await;
        // After a loss and a new subscription, older entries must be revalidated.
        until("what was learnt is doubtful", async || {
            validity_of_a(&log, version) == EntryValidity::Revalidate
        })
        .await;
        until_subscribed(&log).await;
        is_invalidated("a change", &log, async || {
            put(&mut client, &records()[0]).await;
        })
        .await;
        assert!(finds_a(&source).await);
    })
    .await;
}

#[tokio::test]
async fn a_silent_server_is_not_trusted_until_it_answers_again() {
    let server = Server::redis().await;
    fill(&mut server.client().await).await;
    let mut settings = settings(&server.url());
    settings.timeout = Duration::from_millis(100);
    let source = RedisSource::new(settings, clock()).unwrap();
    followed(&source, async |log| {
        until_subscribed(&log).await;
        until("a is found", async || finds_a(&source).await).await;
        server.pause();
        until("a lookup takes too long", async || {
            found(&source, "a").await == Err(SourceError::Timeout)
        })
        .await;
        until_unsubscribed(&log).await;
        server.resume();
        until_subscribed(&log).await;
        until("a is found", async || finds_a(&source).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_gone_is_found_again() {
    let mut server = Server::redis().await;
    fill(&mut server.client().await).await;
    let source = source(&server.url());
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        server.kill();
        until_unsubscribed(&log).await;
        let failed = failure(&source).await;
        assert!(failed.contains("connection refused"), "{failed}");
        assert!(server.run_again().await);
        fill(&mut server.client().await).await;
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_makes_a_new_connection_for_lookups() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let source = source(&server.url());
    assert!(finds_a(&source).await);
    let before = source.client.progress().unwrap().number();
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert_ne!(source.client.progress().unwrap().number(), before);
    })
    .await;
}
