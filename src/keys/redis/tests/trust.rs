//! Servers that answer and is not usable: replicas that have lost their master, and former
//! masters.

use super::*;
use crate::keys::invalidation::SubscriptionState;

/// A replica of that server that has all that it has.
async fn replica_of(master: &Server) -> Server {
    let port = master.port.to_string();
    let replica = Server::start(Program::Redis, &["--replicaof", "127.0.0.1", &port]).await;
    let mut client = replica.client().await;
    until("the replica follows", async || {
        let info = run(&mut client, &["INFO", "replication"]).await;
        let info: String = redis::from_redis_value(info).unwrap();
        info.contains("master_link_status:up")
    })
    .await;
    replica
}

#[tokio::test]
async fn a_replica_is_trusted_only_while_it_is_connected_to_its_master() {
    let mut master = Server::redis().await;
    fill(&mut master.client().await).await;
    let replica = replica_of(&master).await;
    let source = source(&replica.url());
    keeps_the_contract(&source).await;
    assert_eq!(source.probe().await, Ok(Vec::new()));
    let lost = format!(
        "the source failed: 127.0.0.1:{}: it is a replica that is not connected to its master",
        replica.port
    );
    followed(&source, async |log| {
        until_subscribed(&log).await;
        let mut client = master.client().await;
        is_invalidated("a change at the master", &log, async || {
            put(&mut client, &records()[0]).await;
        })
        .await;
        assert!(finds_a(&source).await);
        master.kill();
        until_unsubscribed(&log).await;
        until("nothing is looked up there", async || {
            !finds_a(&source).await
        })
        .await;
        assert_eq!(failure(&source).await, lost);
        assert!(!log.is_subscribed());
        assert!(master.run_again().await);
        until_subscribed(&log).await;
        assert_eq!(found(&source, "a").await, Ok(SourceAnswer::NotFound));
    })
    .await;
    master.kill();
    let told = source.probe().await.unwrap_err().to_string();
    let why = lost.trim_start_matches("the source failed: ");
    assert!(told.ends_with(why), "check-config says so too: {told}");
}

#[tokio::test]
async fn without_pushes_a_replica_is_checked_all_the_same() {
    let mut master = Server::redis().await;
    fill(&mut master.client().await).await;
    let replica = replica_of(&master).await;
    let mut settings = settings(&replica.url());
    settings.push = PushMode::Off;
    let source = RedisSource::new(settings, clock()).unwrap();
    followed(&source, async |log| {
        until("a is found", async || finds_a(&source).await).await;
        log.probe_requested().await;
        master.kill();
        until("nothing is looked up there", async || {
            !finds_a(&source).await
        })
        .await;
        // The breaker is notified although nothing is looked up.
        log.probe_requested().await;
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_is_refused_as_a_source() {
    let master = Server::redis().await;
    let monitor = format!("sentinel monitor m 127.0.0.1 {} 1", master.port);
    let sentinel = Server::start(Program::Sentinel, &[&monitor]).await;
    let failed = failure(&source(&sentinel.url())).await;
    assert!(
        failed.ends_with("it is a sentinel; name it under `sentinel`"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_user_that_may_neither_ping_nor_ask_for_the_role_stays_subscribed() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program, &[]).await;
        let mut client = server.client().await;
        fill(&mut client).await;
        for (rules, heartbeat, warnings) in [
            (&["-ping"][..], "role", 0),
            (&["-ping", "-role"], "ping", 1),
        ] {
            run(
                &mut client,
                &[&["ACL", "SETUSER", "default"], rules].concat(),
            )
            .await;
            let source = source(&server.url());
            let told = source.probe().await.unwrap();
            assert_eq!(told.len(), warnings, "{told:?}");
            assert!(told.iter().all(|text| text.contains("+role")), "{told:?}");
            followed(&source, async |log| {
                until_subscribed(&log).await;
                let version = log.version();
                let before = sent(&mut client, heartbeat).await;
                until("heartbeats were sent", async || {
                    sent(&mut client, heartbeat).await > before + 5
                })
                .await;
                assert_eq!(validity_of_a(&log, version), EntryValidity::Valid);
                is_invalidated("a change", &log, async || {
                    put(&mut client, &records()[0]).await;
                })
                .await;
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_probe_sends_what_a_lookup_sends() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    // Records may not be read, and all may be tracked.
    let rules = [
        "ACL",
        "SETUSER",
        "default",
        "resetkeys",
        "~keyward:digest:*",
    ];
    let source = source(&server.url());
    let mut other = server.client().await;
    run(
        &mut client,
        &["ACL", "SETUSER", "tests", "on", "nopass", "~*", "+@all"],
    )
    .await;
    run(&mut other, &["AUTH", "tests", "x"]).await;
    run(&mut client, &rules).await;
    let want = "GETRANGE keyward:key:_probe: the user is not allowed the command or the Redis key (NOPERM)";
    for _ in 0..2 {
        let told = source.probe().await.unwrap_err().to_string();
        let want = want.replace("GETRANGE", "GET");
        assert_eq!(told, format!("the source failed: {want}"));
    }
    followed(&source, async |log| {
        log.probe_requested().await;
        assert_eq!(log.subscription(), SubscriptionState::Unsubscribed);
        run(&mut other, &["ACL", "SETUSER", "default", "~keyward:*"]).await;
        until_subscribed(&log).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_without_getrange_keeps_the_contract() {
    let server = Server::start(Program::Redis, &["--rename-command", "GETRANGE", ""]).await;
    fill(&mut server.client().await).await;
    let source = source(&server.url());
    assert_eq!(source.probe().await, Ok(Vec::new()));
    keeps_the_contract(&source).await;
}
