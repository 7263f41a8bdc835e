//! The push connection, lost in every way: cached keys are then looked up at their next use, until
//! pushes are back.

use std::sync::Arc;

use redis::cmd;
use serde_json::json;

use super::{Sidecar, of};
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::redis::{KINDS, Server, url};
use crate::support::wait;

/// A server with the key `k`, a proxy, and a keyward that has cached the key.
async fn behind_a_proxy(kind: crate::support::redis::Kind) -> (Server, FaultProxy, Sidecar) {
    let server = Server::start(kind).await;
    server.put("k", "k", json!({})).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let sidecar = Sidecar::start(&of("redis", &url(proxy.address))).await;
    wait::until("the push connection is open", async || proxy.pushes() > 0).await;
    sidecar.answers_from_memory("k").await;
    (server, proxy, sidecar)
}

/// A change is pushed again, not noticed by a lookup.
async fn pushes_are_back(server: &Server, sidecar: &Sidecar) {
    server.put("k", "k", json!({})).await;
    sidecar.becomes("k", "allowed").await;
    sidecar.answers_from_memory("k").await;
    server.revoke("k", "k").await;
    sidecar.becomes("k", "key_revoked").await;
}

#[tokio::test]
async fn cutting_only_the_push_connection_hides_no_revocation() {
    for kind in KINDS {
        let (server, proxy, sidecar) = behind_a_proxy(kind).await;
        proxy.set_push(Mode::Reset);
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        // Until it is back, every use of a key is a lookup, and every change is noticed.
        server.put("k", "k", json!({})).await;
        sidecar.becomes("k", "allowed").await;
        let mut looked_up = sidecar.lookups("found").await;
        for turn in 0..3 {
            wait::until(&format!("looked up, {turn}"), async || {
                assert!(sidecar.ask("k").await.allowed());
                sidecar.lookups("found").await > looked_up
            })
            .await;
            looked_up = sidecar.lookups("found").await;
        }
        proxy.set_push(Mode::Pass);
        pushes_are_back(&server, &sidecar).await;
    }
}

#[tokio::test]
async fn a_silent_push_connection_counts_as_lost() {
    for kind in KINDS {
        let (server, proxy, sidecar) = behind_a_proxy(kind).await;
        proxy.set_push(Mode::BlackHole);
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        proxy.set_push(Mode::Pass);
        pushes_are_back(&server, &sidecar).await;
    }
}

#[tokio::test]
async fn a_push_connection_that_the_server_cuts_is_reestablished() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.becomes("k", "allowed").await;
        for _ in 0..3 {
            wait::until("changes are tracked", async || {
                !server.pushing().await.is_empty()
            })
            .await;
            sidecar.answers_from_memory("k").await;
            let cut = server.cut_pushing().await;
            server.revoke("k", "k").await;
            sidecar.becomes("k", "key_revoked").await;
            wait::until("changes are tracked again", async || {
                let now = server.pushing().await;
                !now.is_empty() && now.iter().all(|id| !cut.contains(id))
            })
            .await;
            pushes_are_back(&server, &sidecar).await;
            server.put("k", "k", json!({})).await;
            sidecar.becomes("k", "allowed").await;
        }
    }
}

#[tokio::test]
async fn a_killed_and_restarted_server_is_used_again() {
    for kind in KINDS {
        let mut server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.answers_from_memory("k").await;
        server.kill().await;
        // No limit beyond ttl is configured: once the loss is noticed, nobody is allowed, and
        // nobody is unknown.
        sidecar.is_served_until_unavailable("k").await;
        server.restart().await;
        sidecar.becomes("k", "unknown_key").await;
        pushes_are_back(&server, &sidecar).await;
    }
}

#[tokio::test]
async fn a_suspended_server_is_an_outage_and_used_again_afterwards() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let config = of("redis", &server.url())
            .replace("5s", "250ms")
            .replace("{ttl: 1h", "{ttl: 1h, stale_if_error: 1h");
        let sidecar = Sidecar::start(&config).await;
        sidecar.answers_from_memory("k").await;
        server.signal("STOP");
        wait::until("the silent connection is noticed", async || {
            assert!(
                sidecar.ask("k").await.allowed(),
                "it serves while its source fails"
            );
            sidecar.lookups("timeout").await + sidecar.lookups("error").await > 0.0
        })
        .await;
        let answer = sidecar.ask("another").await;
        assert!(answer.is_undecided(), "{answer:?}");
        server.signal("CONT");
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        sidecar.becomes("another", "unknown_key").await;
        pushes_are_back(&server, &sidecar).await;
    }
}

#[tokio::test]
async fn a_flushed_server_knows_no_keys() {
    for (kind, empty) in KINDS.into_iter().zip(["FLUSHALL", "FLUSHDB"]) {
        let (server, _proxy, sidecar) = behind_a_proxy(kind).await;
        server.execute(&cmd(empty)).await;
        sidecar.becomes("k", "unknown_key").await;
        pushes_are_back(&server, &sidecar).await;
    }
}

#[tokio::test]
async fn a_lookup_in_flight_does_not_bring_a_revoked_key_back() {
    for kind in KINDS {
        let (server, proxy, sidecar) = behind_a_proxy(kind).await;
        server.put("late", "late", json!({})).await;
        let sidecar = Arc::new(sidecar);
        proxy.set_data(Mode::Hold);
        let held = proxy.held();
        let early = tokio::spawn({
            let sidecar = Arc::clone(&sidecar);
            async move { sidecar.outcome("late").await }
        });
        wait::until("Redis has answered", async || {
            proxy.held() > held || early.is_finished()
        })
        .await;
        server.revoke("late", "late").await;
        server.revoke("k", "k").await;
        // Pushes arrive in order: once the later one has arrived, a check of that key has to wait.
        wait::until("the pushes have arrived", async || {
            let held = proxy.held();
            tokio::select! {
                outcome = sidecar.outcome("k") => outcome != "allowed",
                () = wait::until("Redis has answered", async || proxy.held() > held) => true,
            }
        })
        .await;
        proxy.set_data(Mode::Pass);
        println!("{kind:?}, sidecar before: {}", early.await.unwrap());
        sidecar.becomes("late", "key_revoked").await;
        sidecar.becomes("k", "key_revoked").await;
    }
}
