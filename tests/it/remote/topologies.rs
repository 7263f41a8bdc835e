//! Ways to reach a Redis: a Unix socket, TLS, sentinels that elect another master, a cluster.

use std::fs;
use std::process::Command;

use redis::cmd;
use serde_json::json;
use tempfile::TempDir;

use super::Sidecar;
use crate::support::certs::Authority;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Home;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::redis::{KINDS, Kind, PREFIX, Server, index, record, url};
use crate::support::wait;

fn from(source: &str) -> String {
    format!("source: {{redis: {source}}}\ncache: {{ttl: 1h, negative_ttl: 1h}}\n")
}

/// The key is served, and a write is pushed.
async fn serves(sidecar: &Sidecar, server: &Server) {
    server.put("k", "k", json!({})).await;
    sidecar.becomes("k", "allowed").await;
    sidecar.answers_from_memory("k").await;
    server.revoke("k", "k").await;
    sidecar.becomes("k", "key_revoked").await;
}

#[tokio::test]
async fn a_unix_socket() {
    for kind in KINDS {
        let server = Server::start_with(kind, &["--unixsocket", "{dir}/socket"]).await;
        let socket = server.dir.path().join("socket");
        let url = format!("redis+unix://{}", socket.display());
        let sidecar = Sidecar::start(&from(&format!("{{url: \"{url}\", timeout: 5s}}"))).await;
        serves(&sidecar, &server).await;
    }
}

/// A Redis called `localhost` that requires a certificate by the same CA, and its TLS port.
pub(super) async fn redis_with_tls(authority: &Authority) -> (Server, Port) {
    let certs = TempDir::new().unwrap();
    authority.issue("localhost").put(certs.path());
    fs::write(certs.path().join("ca.pem"), authority.pem()).unwrap();
    let file = |name: &str| certs.path().join(name).to_str().unwrap().to_owned();
    let port = Port::reserve();
    let options = [
        ("--tls-port", port.number().to_string()),
        ("--tls-cert-file", file("tls.crt")),
        ("--tls-key-file", file("tls.key")),
        ("--tls-ca-cert-file", file("ca.pem")),
    ];
    let options: Vec<_> = options
        .iter()
        .flat_map(|(name, value)| [*name, value])
        .collect();
    // It has read them when it responds.
    (Server::start_with(Kind::Redis, &options).await, port)
}

#[tokio::test]
async fn tls_both_ways() {
    let (authority, untrusted) = (Authority::new(), Authority::new());
    let (server, tls_port) = redis_with_tls(&authority).await;
    let tls_port = tls_port.number();
    let config = |tls: &str| {
        from(&format!(
            "{{url: \"rediss://localhost:{tls_port}\", timeout: 5s, tls: {tls}}}"
        ))
    };
    let whole = "{ca_file: ca.pem, cert_file: tls.crt, key_file: tls.key}";
    for (name, trusted, tls, good) in [
        ("as it should be", &authority, whole, true),
        ("another CA", &untrusted, whole, false),
        ("no certificate", &authority, "{ca_file: ca.pem}", false),
    ] {
        let home = Home::new(&config(tls), &KeyFile::new());
        fs::write(home.path("ca.pem"), trusted.pem()).unwrap();
        authority.issue("sidecar").put(home.dir.path());
        let sidecar = Sidecar::at(home).await;
        if good {
            serves(&sidecar, &server).await;
        } else {
            let answer = sidecar.ask("k").await;
            assert!(answer.is_source_unavailable(), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn after_the_loss_of_a_master_keyward_uses_the_one_that_sentinels_elect() {
    let mut master = Server::start(Kind::Redis).await;
    let port = master.address().port().to_string();
    let of_master = format!("127.0.0.1 {port}");
    let replica = Server::start_with(Kind::Redis, &["--replicaof", &of_master]).await;
    let dir = TempDir::new().unwrap();
    let sentinel = Port::reserve();
    let config = dir.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor keys 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds keys 500\nsentinel failover-timeout keys 2000\n",
        sentinel.number(),
        dir.path().display()
    );
    fs::write(&config, text).unwrap();
    let _sentinel = Process::start(Command::new("redis-sentinel").arg(&config));
    let sentinel_client = redis::Client::open(url(sentinel.address())).unwrap();
    let replicas = async || {
        let mut connection = sentinel_client
            .get_multiplexed_async_connection()
            .await
            .ok()?;
        let mut ask = cmd("SENTINEL");
        ask.arg("REPLICAS").arg("keys");
        let listed: Vec<redis::Value> = ask.query_async(&mut connection).await.ok()?;
        Some(listed.len())
    };
    wait::until("the sentinel knows both", async || {
        replicas().await == Some(1)
    })
    .await;
    let node = format!("redis://{}", sentinel.address());
    let source = format!("{{sentinel: {{master: keys, nodes: [\"{node}\"]}}, timeout: 5s}}");
    let sidecar = Sidecar::start(&from(&source)).await;
    serves(&sidecar, &master).await;
    master.put("k", "k", json!({})).await;
    sidecar.becomes("k", "allowed").await;
    wait::until("the replica has it", async || {
        replica.get(&format!("{PREFIX}key:k")).await == master.get(&format!("{PREFIX}key:k")).await
    })
    .await;
    master.kill().await;
    wait::until("the replica is the master", async || {
        // It drops its clients when it changes its role.
        let Ok(role) = replica.ask::<Vec<redis::Value>>(&cmd("ROLE")).await else {
            return false;
        };
        matches!(&role[0], redis::Value::BulkString(name) if name == b"master")
    })
    .await;
    serves(&sidecar, &replica).await;
}

#[tokio::test]
async fn a_cluster_whose_nodes_share_the_records() {
    for kind in KINDS {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for (from, to) in [(0, 5460), (5461, 10922), (10923, 16383)] {
            let bus = Port::reserve();
            let bus_port = bus.number().to_string();
            let options = [&options[..], &["--cluster-port", &bus_port]].concat();
            let node = Server::start_with(kind, &options).await;
            let mut slots = cmd("CLUSTER");
            slots.arg("ADDSLOTSRANGE").arg(from).arg(to);
            node.execute(&slots).await;
            buses.push(bus);
            nodes.push(node);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1");
            meet.arg(node.address().port()).arg(bus.number());
            nodes[0].execute(&meet).await;
        }
        wait::until("the cluster is complete", async || {
            let mut whole = true;
            for node in &nodes {
                let info: String = node.ask(cmd("CLUSTER").arg("INFO")).await.unwrap();
                whole &=
                    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
            }
            whole
        })
        .await;
        let urls: Vec<String> = nodes[..2].iter().map(Server::url).collect();
        let urls: Vec<&str> = urls.iter().map(|url| url.trim_end_matches("/0")).collect();
        let sidecar = Sidecar::start(&from(&format!("{{cluster: {urls:?}, timeout: 5s}}"))).await;
        let client = redis::cluster::ClusterClient::new(urls).unwrap();
        let mut writer = client.get_async_connection().await.unwrap();
        let mut write = async |name: String, value: String| {
            let mut set = cmd("SET");
            set.arg(name).arg(value);
            set.exec_async(&mut writer).await.unwrap();
        };
        // Spread over all nodes, records and indices separately.
        for number in 0..12 {
            let id = format!("k{number}");
            write(
                format!("{PREFIX}key:{id}"),
                record(&id, &id, json!({})).to_string(),
            )
            .await;
            write(index(&id), id.clone()).await;
            sidecar.becomes(&id, "allowed").await;
            sidecar.answers_from_memory(&id).await;
            let dead = record(&id, &id, json!({"enabled": false}));
            write(format!("{PREFIX}key:{id}"), dead.to_string()).await;
            sidecar.becomes(&id, "key_disabled").await;
        }
    }
}
