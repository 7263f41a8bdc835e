//! The connection over which Redis tells of changes, lost in every way: what was cached is then looked up at its next use,
//! until changes are heard of again.

use std::sync::Arc;

use redis::cmd;
use serde_json::json;

use super::{Asked, of};
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::redis::{KINDS, Server, url};
use crate::support::wait;

/// A server with the key `k`, a proxy, and a keyward that remembers the key.
async fn behind_a_proxy(kind: crate::support::redis::Kind) -> (Server, FaultProxy, Asked) {
    let server = Server::start(kind).await;
    server.put("k", "k", json!({})).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let asked = Asked::start(&of("redis", &url(proxy.address))).await;
    wait::until("changes are listened to", async || proxy.pushes() > 0).await;
    asked.answers_from_memory("k").await;
    (server, proxy, asked)
}

/// A change is told again, and not found out by looking.
async fn hears_again(server: &Server, asked: &Asked) {
    server.put("k", "k", json!({})).await;
    asked.becomes("k", "allowed").await;
    asked.answers_from_memory("k").await;
    server.revoke("k", "k").await;
    asked.becomes("k", "key_revoked").await;
}

#[tokio::test]
async fn a_push_connection_that_is_cut_alone_hides_no_revocation() {
    for kind in KINDS {
        let (server, proxy, asked) = behind_a_proxy(kind).await;
        proxy.set_push(Mode::Reset);
        server.revoke("k", "k").await;
        asked.becomes("k", "key_revoked").await;
        // Until it is there again, every use of a key is a lookup, and every change is seen.
        server.put("k", "k", json!({})).await;
        asked.becomes("k", "allowed").await;
        let mut looked_up = asked.lookups("found").await;
        for turn in 0..3 {
            wait::until(&format!("looked up, {turn}"), async || {
                assert!(asked.ask("k").await.allowed());
                asked.lookups("found").await > looked_up
            })
            .await;
            looked_up = asked.lookups("found").await;
        }
        proxy.set_push(Mode::Pass);
        hears_again(&server, &asked).await;
    }
}

#[tokio::test]
async fn a_push_connection_that_falls_silent_is_distrusted() {
    for kind in KINDS {
        let (server, proxy, asked) = behind_a_proxy(kind).await;
        proxy.set_push(Mode::BlackHole);
        server.revoke("k", "k").await;
        asked.becomes("k", "key_revoked").await;
        proxy.set_push(Mode::Pass);
        hears_again(&server, &asked).await;
    }
}

#[tokio::test]
async fn a_push_connection_that_the_server_cuts_comes_back() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let asked = Asked::start(&of("redis", &server.url())).await;
        asked.becomes("k", "allowed").await;
        for _ in 0..3 {
            wait::until("changes are tracked", async || {
                !server.pushing().await.is_empty()
            })
            .await;
            asked.answers_from_memory("k").await;
            let cut = server.cut_pushing().await;
            server.revoke("k", "k").await;
            asked.becomes("k", "key_revoked").await;
            wait::until("changes are tracked again", async || {
                let now = server.pushing().await;
                !now.is_empty() && now.iter().all(|id| !cut.contains(id))
            })
            .await;
            hears_again(&server, &asked).await;
            server.put("k", "k", json!({})).await;
            asked.becomes("k", "allowed").await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_anew_is_believed_anew() {
    for kind in KINDS {
        let mut server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let asked = Asked::start(&of("redis", &server.url())).await;
        asked.answers_from_memory("k").await;
        server.kill().await;
        // No bound past ttl was given: once the loss is noticed, nobody is let in, and nobody is called unknown.
        asked.is_served_until_unavailable("k").await;
        server.restart().await;
        asked.becomes("k", "unknown_key").await;
        hears_again(&server, &asked).await;
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_outlived_and_found_again() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let config = of("redis", &server.url())
            .replace("5s", "250ms")
            .replace("{ttl: 1h", "{ttl: 1h, stale_if_error: 1h");
        let asked = Asked::start(&config).await;
        asked.answers_from_memory("k").await;
        server.signal("STOP");
        wait::until("the silence is noticed", async || {
            assert!(
                asked.ask("k").await.allowed(),
                "it serves while its source fails"
            );
            asked.lookups("timeout").await + asked.lookups("error").await > 0.0
        })
        .await;
        let answer = asked.ask("another").await;
        assert!(answer.is_undecided(), "{answer:?}");
        server.signal("CONT");
        server.revoke("k", "k").await;
        asked.becomes("k", "key_revoked").await;
        asked.becomes("another", "unknown_key").await;
        hears_again(&server, &asked).await;
    }
}

#[tokio::test]
async fn a_server_that_is_emptied_knows_nobody() {
    for (kind, empty) in KINDS.into_iter().zip(["FLUSHALL", "FLUSHDB"]) {
        let (server, _proxy, asked) = behind_a_proxy(kind).await;
        server.tell(&cmd(empty)).await;
        asked.becomes("k", "unknown_key").await;
        hears_again(&server, &asked).await;
    }
}

#[tokio::test]
async fn a_lookup_under_way_does_not_bring_a_revoked_key_back() {
    for kind in KINDS {
        let (server, proxy, asked) = behind_a_proxy(kind).await;
        server.put("late", "late", json!({})).await;
        let asked = Arc::new(asked);
        proxy.set_data(Mode::Hold);
        let held = proxy.held();
        let early = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move { asked.said("late").await }
        });
        wait::until("Redis has answered", async || {
            proxy.held() > held || early.is_finished()
        })
        .await;
        server.revoke("late", "late").await;
        server.revoke("k", "k").await;
        // Pushes come in order: when the later one is known, a question about that key has to wait.
        wait::until("the pushes are known", async || {
            let held = proxy.held();
            tokio::select! {
                said = asked.said("k") => said != "allowed",
                () = wait::until("Redis has answered", async || proxy.held() > held) => true,
            }
        })
        .await;
        proxy.set_data(Mode::Pass);
        println!("{kind:?}, asked before: {}", early.await.unwrap());
        asked.becomes("late", "key_revoked").await;
        asked.becomes("k", "key_revoked").await;
    }
}
