//! Keys in Redis and in Valkey: one write of a record changes a key everywhere, and an unknown key
//! is known as soon as it is written.

use std::fs;

use redis::cmd;
use serde_json::json;

use super::{Sidecar, of};
use crate::support::keyfile::{KeyFile, digest};
use crate::support::keyward::Home;
use crate::support::redis::{KINDS, Server, index, record};
use crate::support::wait;

#[tokio::test]
async fn a_record_is_served_and_one_write_revokes_it() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({"client": "acme"})).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.becomes("k", "allowed").await;
        sidecar.answers_from_memory("k").await;
        wait::until("the decision has the identity", async || {
            let decisions = sidecar.keyward.decisions();
            let mut of_key = decisions.iter().filter(|line| line["key_id"] == "k");
            of_key.any(|line| line["client"] == "acme")
        })
        .await;
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        server.put("k", "k", json!({"enabled": false})).await;
        sidecar.becomes("k", "key_disabled").await;
        server
            .put("k", "k", json!({"allow_ips": ["10.0.0.0/8"]}))
            .await;
        sidecar.becomes("k", "ip_not_allowed").await;
        server.put("k", "k", json!({})).await;
        sidecar.becomes("k", "allowed").await;
        server
            .execute(cmd("DEL").arg("keyward:key:k").arg(index("k")))
            .await;
        sidecar.becomes("k", "unknown_key").await;
    }
}

#[tokio::test]
async fn an_unknown_key_is_known_as_soon_as_it_is_written() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.becomes("k", "unknown_key").await;
        server.put("k", "k", json!({})).await;
        sidecar.becomes("k", "allowed").await;
        // A second secret: the record first, then its index, as two writes.
        sidecar.becomes("k2", "unknown_key").await;
        let mut both = record("k", "k", json!({}));
        let second = json!({"digest": digest("k2")});
        both["secrets"].as_array_mut().unwrap().push(second);
        server.set("keyward:key:k", &both.to_string()).await;
        server.set(&index("k2"), "k").await;
        sidecar.becomes("k2", "allowed").await;
        assert_eq!(sidecar.outcome("k").await, "allowed");
        // Removed again.
        server.put("k", "k", json!({})).await;
        sidecar.becomes("k2", "invalid_record").await;
        server.execute(cmd("DEL").arg(index("k2"))).await;
        sidecar.becomes("k2", "unknown_key").await;
        assert_eq!(sidecar.outcome("k").await, "allowed");
    }
}

#[tokio::test]
async fn the_prefix_and_the_database_are_configurable() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "default", json!({})).await;
        let url = format!("redis://{}/3", server.address());
        let sidecar = Sidecar::start(&format!(
            "source: {{redis: {{url: \"{url}\", timeout: 5s, prefix: \"edge/\"}}}}\n"
        ))
        .await;
        let mut script = cmd("EVAL");
        script
            .arg("redis.call('SELECT', 3); redis.call('SET', KEYS[1], ARGV[1]); redis.call('SET', KEYS[2], ARGV[2])")
            .arg(2)
            .arg("edge/key:mine")
            .arg(format!("edge/digest:{}", digest("mine")))
            .arg(record("mine", "mine", json!({})).to_string())
            .arg("mine");
        server.execute(&script).await;
        sidecar.becomes("mine", "allowed").await;
        sidecar.becomes("default", "unknown_key").await;
    }
}

#[tokio::test]
async fn a_password_is_reloaded_from_its_file() {
    for kind in KINDS {
        let mut server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        server.protect("r1ght-password").await;
        let config = of("redis", &server.url())
            .replace("timeout: 5s", "timeout: 5s, password_file: password");
        let home = Home::new(&config, &KeyFile::new());
        fs::write(home.path("password"), "wr0ng-password\n").unwrap();
        let sidecar = Sidecar::at(home).await;
        let answer = sidecar.ask("k").await;
        println!("{kind:?}, wrong password: {}", answer.outcome());
        assert!(answer.is_source_unavailable(), "{answer:?}");
        let password = sidecar.keyward.home.path("password");
        crate::support::keyfile::replace_by_rename(&password, "r1ght-password\n");
        sidecar.becomes("k", "allowed").await;
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        let output = sidecar.keyward.process.output();
        assert!(!output.contains("-password"), "{output}");
    }
}
