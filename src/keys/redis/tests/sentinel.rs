//! Sentinels: the master is who they say and who says so itself, also after a failover.

use super::server::write_secret;
use super::*;

/// A master, a replica and a sentinel that knows the master as `m`.
struct Trio {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl Trio {
    /// With more lines for the sentinel.
    async fn start(lines: &[&str]) -> Self {
        let master = Server::redis().await;
        let port = master.port.to_string();
        let replica = Server::start(Program::Redis, &["--replicaof", "127.0.0.1", &port]).await;
        let mut client = replica.client().await;
        until("the replica follows", async || {
            let info = run(&mut client, &["INFO", "replication"]).await;
            let info: String = redis::from_redis_value(info).unwrap();
            info.contains("master_link_status:up")
        })
        .await;
        let monitor = format!("sentinel monitor m 127.0.0.1 {port} 1");
        let mut all = vec![
            &*monitor,
            "sentinel down-after-milliseconds m 1000",
            "sentinel failover-timeout m 5000",
        ];
        all.extend(lines);
        let sentinel = Server::start(Program::Sentinel, &all).await;
        Self {
            master,
            replica,
            sentinel,
        }
    }

    fn settings(&self, master: &str) -> RedisSourceSettings {
        // The first cannot be reached.
        let nodes = ["redis://127.0.0.1:1".to_owned(), self.sentinel.url()];
        settings_for(RedisServers::Sentinel {
            master: master.to_owned(),
            nodes: nodes.iter().map(|url| url.parse().unwrap()).collect(),
        })
    }

    /// Waits until the sentinel could hand over.
    async fn is_ready(&self) {
        let mut client = self.sentinel.client().await;
        until("the sentinel knows the replica", async || {
            let replicas = run(&mut client, &["SENTINEL", "REPLICAS", "m"]).await;
            matches!(replicas, Value::Array(replicas) if !replicas.is_empty())
        })
        .await;
    }
}

#[tokio::test]
async fn a_failover_is_followed() {
    let trio = Trio::start(&[]).await;
    fill(&mut trio.master.client().await).await;
    let source = RedisSource::new(trio.settings("m"), clock()).unwrap();
    keeps_the_contract(&source).await;
    trio.is_ready().await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        // Silent, not gone: nothing but the pings tells of it.
        trio.master.pause();
        until_unsubscribed(&log).await;
        until_subscribed(&log).await;
        let mut client = trio.replica.client().await;
        // It may be lost once more before all is settled, and what changes then is not heard.
        let mut told = client.clone();
        until("a change at the new master is heard", async || {
            until_subscribed(&log).await;
            let version = log.version();
            run(&mut told, &["SET", "keyward:key:a", "x"]).await;
            until("it is told or lost", async || {
                validity_of_a(&log, version) != EntryValidity::Valid
            })
            .await;
            validity_of_a(&log, version) == EntryValidity::Outdated
        })
        .await;
        run(&mut client, &["DEL", "keyward:key:a"]).await;
        let answer = found(&source, "a").await;
        assert_eq!(
            answer,
            Ok(SourceAnswer::NotFound),
            "lookups are at the new master"
        );
    })
    .await;
}

#[tokio::test]
async fn a_former_master_is_not_trusted() {
    let trio = Trio::start(&[]).await;
    let source = RedisSource::new(trio.settings("m"), clock()).unwrap();
    trio.is_ready().await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        let mut master = trio.master.client().await;
        let port = trio.replica.port.to_string();
        run(
            &mut trio.replica.client().await,
            &["REPLICAOF", "NO", "ONE"],
        )
        .await;
        run(&mut master, &["REPLICAOF", "127.0.0.1", &port]).await;
        until_unsubscribed(&log).await;
    })
    .await;
}

#[tokio::test]
async fn a_former_master_is_not_asked_for_keys_either() {
    let trio = Trio::start(&[]).await;
    let mut master = trio.master.client().await;
    fill(&mut master).await;
    let source = RedisSource::new(trio.settings("m"), clock()).unwrap();
    trio.is_ready().await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        // The sentinel goes on naming it for a while.
        run(&mut master, &["REPLICAOF", "127.0.0.1", "1"]).await;
        until("nothing is looked up there", async || {
            !finds_a(&source).await
        })
        .await;
        let failed = failure(&source).await;
        let want = format!("127.0.0.1:{}: it is not a master", trio.master.port);
        assert!(failed.ends_with(&want), "{failed}");
        assert!(!log.is_subscribed());
    })
    .await;
}

#[tokio::test]
async fn a_master_that_the_sentinels_no_longer_name_is_not_trusted() {
    let trio = Trio::start(&[]).await;
    fill(&mut trio.master.client().await).await;
    let source = RedisSource::new(trio.settings("m"), clock()).unwrap();
    trio.is_ready().await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        // The old master is cut off from the others, which carry on without it.
        let mut replica = trio.replica.client().await;
        run(&mut replica, &["REPLICAOF", "NO", "ONE"]).await;
        run(&mut replica, &["DEL", "keyward:key:a"]).await;
        let mut sentinel = trio.sentinel.client().await;
        let port = trio.replica.port.to_string();
        run(&mut sentinel, &["SENTINEL", "REMOVE", "m"]).await;
        run(
            &mut sentinel,
            &["SENTINEL", "MONITOR", "m", "127.0.0.1", &port, "1"],
        )
        .await;
        until_unsubscribed(&log).await;
        until_subscribed(&log).await;
        assert_eq!(found(&source, "a").await, Ok(SourceAnswer::NotFound));
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_that_wants_a_password_gets_that_of_the_source() {
    let trio = Trio::start(&["requirepass canary1"]).await;
    let mut master = trio.master.client().await;
    fill(&mut master).await;
    let mut settings = trio.settings("m");
    let failed = failure(&RedisSource::new(settings.clone(), clock()).unwrap()).await;
    let want = format!(
        "sentinel 127.0.0.1:{}: the server wants a password (NOAUTH)",
        trio.sentinel.port
    );
    assert!(failed.ends_with(&want), "{failed}");
    run(&mut master, &["CONFIG", "SET", "requirepass", "canary1"]).await;
    settings.redis.password_file = Some(trio.sentinel.path("password").into());
    write_secret(&trio.sentinel.path("password"), "canary1");
    keeps_the_contract(&RedisSource::new(settings, clock()).unwrap()).await;
}

#[tokio::test]
async fn a_master_name_that_the_sentinels_do_not_know_is_reported() {
    let trio = Trio::start(&[]).await;
    let source = RedisSource::new(trio.settings("other"), clock()).unwrap();
    let failed = failure(&source).await;
    let want = format!(
        "the source failed: sentinel 127.0.0.1:1: connection refused (os error 111), sentinel 127.0.0.1:{}: it knows no master of that name",
        trio.sentinel.port
    );
    assert_eq!(failed, want);
}
