//! The store over real servers, with the helpers of the tests of the Redis source.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::*;
use crate::authz::key::tests::digest_of;
use crate::keys::redis::tests::cluster::{Cluster, id_at};
use crate::keys::redis::tests::settings_for;
use crate::keys::redis::tests::{Program, Server, run};
use crate::keys::redis::tests::{clock, found, settings, source, until};
use crate::keys::source::SourceAnswer;
use crate::keys::source::contract::keeps_the_contract;
use crate::redis::RedisServers;

mod amend;
mod create;

#[tokio::test]
async fn a_cluster_is_written_to_and_listed_whole() {
    let cluster = Cluster::start(3).await;
    let nodes = vec![cluster.servers[1].url().parse().unwrap()];
    let keys = RedisKeyStore::new(
        settings_for(RedisServers::Cluster(nodes)).redis,
        "keyward:",
        clock(),
    )
    .unwrap();
    let mut ids = Vec::new();
    for number in 0..3 {
        let id = id_at(&cluster, number).await;
        keys.create(&create::spec(&id, &[&id]), None).await.unwrap();
        ids.push(id);
    }
    ids.sort();
    let listed: Vec<_> = keys.list().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|key| key.id.to_string()).collect();
    assert_eq!(listed, ids);
    let first = ids[0].parse().unwrap();
    let changed = keys.update(&first, None, |spec| {
        *spec = create::spec(&ids[0], &["new"]);
        Ok::<_, RedisKeyStoreError>(())
    });
    changed.await.unwrap();
    let source = cluster.source();
    assert!(matches!(
        found(&source, "new").await,
        Ok(SourceAnswer::Found(_))
    ));
    assert_eq!(found(&source, &ids[0]).await, Ok(SourceAnswer::NotFound));
}
