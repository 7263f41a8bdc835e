//! A cluster: lookups follow redirections, and each master pushes its changes.

use redis::cluster::ClusterClient;

use super::*;

/// Three masters with all the slots between them, and their number of servers more without any.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

/// The last slot of each master.
const LAST_SLOTS: [u16; 3] = [5460, 10922, 16383];

impl Cluster {
    pub(crate) async fn start(servers: usize) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..servers {
            // The bus listens on a port of its own, for which the usual one may be too high a
            // number.
            let bus = server::free_port().to_string();
            let options = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
                "--cluster-require-full-coverage",
                "no",
            ];
            let server = Server::start(Program::Redis, &options).await;
            let first = nodes.first();
            if let Some((port, bus)) =
                first.map(|(node, bus): &(Server, String)| (node.port.to_string(), bus))
            {
                let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, bus];
                run(&mut server.client().await, &meet).await;
            }
            nodes.push((server, bus));
        }
        let servers: Vec<_> = nodes.into_iter().map(|(server, _)| server).collect();
        let mut first = 0;
        for (server, last) in servers.iter().zip(LAST_SLOTS) {
            let range = [first.to_string(), last.to_string()];
            let slots = ["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]];
            run(&mut server.client().await, &slots).await;
            first = last + 1;
        }
        for server in &servers {
            let mut client = server.client().await;
            until("all nodes know all", async || {
                let info = run(&mut client, &["CLUSTER", "INFO"]).await;
                let info: String = redis::from_redis_value(info).unwrap();
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_assigned:16384")
                    && info.contains(&format!("cluster_known_nodes:{}", servers.len()))
            })
            .await;
        }
        Self { servers }
    }

    async fn client(&self) -> redis::cluster_async::ClusterConnection {
        let client = ClusterClient::new([self.servers[0].url()]).unwrap();
        client.get_async_connection().await.unwrap()
    }

    pub(crate) fn source(&self) -> RedisSource {
        // The first cannot be reached, and another tells of all.
        let nodes = ["redis://127.0.0.1:1".to_owned(), self.servers[1].url()];
        let nodes = nodes.iter().map(|url| url.parse().unwrap()).collect();
        RedisSource::new(settings_for(RedisServers::Cluster(nodes)), clock()).unwrap()
    }
}

/// An id whose record lies at the master of that number.
pub(crate) async fn id_at(cluster: &Cluster, number: usize) -> String {
    let mut client = cluster.servers[0].client().await;
    for candidate in 0.. {
        let id = format!("k{candidate}");
        let slot = run(
            &mut client,
            &["CLUSTER", "KEYSLOT", &format!("keyward:key:{id}")],
        )
        .await;
        let slot: u16 = redis::from_redis_value(slot).unwrap();
        if LAST_SLOTS.iter().position(|last| slot <= *last) == Some(number) {
            return id;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_and_each_master_pushes_its_changes() {
    let cluster = Cluster::start(3).await;
    let mut client = cluster.client().await;
    fill(&mut client).await;
    let source = cluster.source();
    assert_eq!(source.probe().await, Ok(Vec::new()));
    keeps_the_contract(&source).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(id_at(&cluster, number).await);
    }
    followed(&source, async |log| {
        until_subscribed(&log).await;
        for id in &ids {
            let version = log.version();
            run(&mut client, &["SET", &format!("keyward:key:{id}"), "1"]).await;
            let buckets = [log.bucket_of_id(id), log.bucket_of_digest(&digest_of("a"))];
            until(id, async || {
                log.validity(version, buckets) == EntryValidity::Outdated
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_masters_makes_a_new_subscription() {
    let cluster = Cluster::start(4).await;
    let source = cluster.source();
    let mut new = cluster.servers[3].client().await;
    let id = run(&mut new, &["CLUSTER", "MYID"]).await;
    let id: String = redis::from_redis_value(id).unwrap();
    followed(&source, async |log| {
        until_subscribed(&log).await;
        let version = log.version();
        let slot = run(&mut new, &["CLUSTER", "KEYSLOT", "keyward:key:a"]).await;
        let slot: u16 = redis::from_redis_value(slot).unwrap();
        for server in cluster.servers.iter().rev() {
            let take = ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id];
            run(&mut server.client().await, &take).await;
        }
        until("what was learnt is doubtful", async || {
            validity_of_a(&log, version) == EntryValidity::Revalidate
        })
        .await;
        until_subscribed(&log).await;
        is_invalidated("a change at the new master", &log, async || {
            run(&mut new, &["SET", "keyward:key:a", "1"]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_lost_a_master_is_not_trusted_until_it_has_another() {
    let mut cluster = Cluster::start(4).await;
    let mut client = cluster.client().await;
    // The record of `a` lies at the master that is lost.
    let slot = run(&mut client, &["CLUSTER", "KEYSLOT", "keyward:key:a"]).await;
    let slot: u16 = redis::from_redis_value(slot).unwrap();
    let number = LAST_SLOTS.iter().position(|last| slot <= *last).unwrap();
    fill(&mut client).await;
    let mut master = cluster.servers[number].client().await;
    let id: String = redis::from_redis_value(run(&mut master, &["CLUSTER", "MYID"]).await).unwrap();
    let mut replica = cluster.servers[3].client().await;
    run(&mut replica, &["CLUSTER", "REPLICATE", &id]).await;
    until("the replica has it all", async || {
        let info = run(&mut replica, &["INFO", "replication"]).await;
        let info: String = redis::from_redis_value(info).unwrap();
        info.contains("master_link_status:up")
    })
    .await;
    let nodes = cluster
        .servers
        .iter()
        .map(|server| server.url().parse().unwrap());
    let servers = RedisServers::Cluster(nodes.collect());
    let source = RedisSource::new(settings_for(servers), clock()).unwrap();
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        cluster.servers[number].kill();
        until_unsubscribed(&log).await;
        until_subscribed(&log).await;
        assert!(finds_a(&source).await, "by the master that was a replica");
        is_invalidated("a change at the new master", &log, async || {
            run(&mut replica, &["DEL", "keyward:key:a"]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_node_configured_as_a_server_and_the_reverse_are_reported() {
    let server = Server::redis().await;
    let servers = RedisServers::Cluster(vec![server.url().parse().unwrap()]);
    let source = RedisSource::new(settings_for(servers), clock()).unwrap();
    let failed = failure(&source).await;
    assert!(failed.ends_with("it is not one of a cluster"), "{failed}");

    let cluster = Cluster::start(3).await;
    let entry = format!("keyward:digest:{}", digest_of("a"));
    for server in &cluster.servers {
        let answer = found(&super::source(&server.url()), "a").await;
        if let Err(error) = answer {
            let want = format!(
                "the source failed: GET {entry}: the server is one of a cluster; name its nodes under `cluster` (MOVED)"
            );
            assert_eq!(error.to_string(), want);
            return;
        }
    }
    panic!("each has each slot");
}
