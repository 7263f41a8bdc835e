//! Changes that are not heard, although all seems well: what was cached is then not believed, and what is told of the source is
//! what a lookup would meet.

use redis::cmd;
use serde_json::json;

use super::{Asked, of, with_events};
use crate::cli::Desk;
use crate::support::fault_proxy::FaultProxy;
use crate::support::key_service::KeyService;
use crate::support::metrics::sample;
use crate::support::redis::{KINDS, Kind, Server};
use crate::support::wait;

/// Runs `check-config` on that configuration.
fn check_config(config: &str) -> crate::cli::Run {
    let desk = Desk::empty();
    desk.write("keyward.yaml", config);
    desk.run(&["check-config"])
}

/// Waits until `/readyz` and the metrics say this of a Redis source; no `push_up` is a series that is not there.
async fn is_told(asked: &Asked, state: &str, pushes: &str, up: f64, push_up: f64) {
    let what = format!("it is told to be {state}, {pushes}, {up}, {push_up}");
    wait::until(&what, async || {
        let ready = asked.keyward.fetch("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let source = &ready.problem()["source"];
        let metrics = asked.metrics().await;
        let gauge = |name: &str| sample(&metrics, name, &["source=\"redis\""]);
        source["state"] == state
            && source["pushes"] == pushes
            && gauge("keyward_source_up") == Some(up)
            && gauge("keyward_source_push_up") == Some(push_up)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_stream_of_events_hides_no_revocation() {
    let service = KeyService::start().await;
    service.compress_streams();
    service.put("k", "k", json!({}));
    let config = with_events(service.address);
    let asked = Asked::start(&config).await;
    asked.becomes("k", "allowed").await;
    wait::until("the stream was asked for", async || {
        let asked = service.take();
        asked
            .iter()
            .any(|asked| asked.line.starts_with("GET /events"))
    })
    .await;
    asked.becomes("k", "allowed").await;
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.push(&json!({"event": "invalidate", "key_id": "k"}));
    asked.becomes("k", "key_revoked").await;
    let complaint = check_config(&config).complaint(1);
    assert!(complaint.contains("content-encoding"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_lost_its_master_lets_nobody_in() {
    for kind in KINDS {
        let master = Server::start(kind).await;
        master.put("k", "k", json!({})).await;
        let way = FaultProxy::of_redis(master.address()).await;
        let port = way.address.port().to_string();
        let follow = ["--replicaof", "127.0.0.1", &port, "--repl-timeout", "2"];
        let replica = Server::start_with(kind, &follow).await;
        wait::until("the replica has the key", async || {
            replica.get("keyward:key:k").await.is_some()
        })
        .await;
        let config = of("redis", &replica.url());
        let asked = Asked::start(&config).await;
        asked.answers_from_memory("k").await;
        is_told(&asked, "answering", "armed", 1.0, 1.0).await;
        way.refuse();
        wait::until("the link is cut", async || way.open() == 0).await;
        master.revoke("k", "k").await;
        asked.is_served_until_unavailable("k").await;
        is_told(&asked, "down", "lost", 0.0, 0.0).await;
        let complaint = check_config(&config).complaint(1);
        assert!(
            complaint.contains("not connected to its master"),
            "{complaint}"
        );
        way.set(&crate::support::fault_proxy::Mode::Pass);
        asked.becomes("k", "key_revoked").await;
        is_told(&asked, "answering", "armed", 1.0, 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_track_and_not_read_is_told_before_anybody_asks() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let mut rules = cmd("ACL");
        rules.arg(&["SETUSER", "default", "-getrange", "-get"]);
        server.tell(&rules).await;
        let config = of("redis", &server.url());
        let complaint = check_config(&config).complaint(1);
        assert!(complaint.contains("NOPERM"), "{complaint}");
        let asked = Asked::start(&config).await;
        is_told(&asked, "failing", "lost", 0.0, 0.0).await;
        assert!(!asked.ask("k").await.allowed());
    }
    // The index may be read, and records may not.
    let server = Server::start(Kind::Redis).await;
    server.put("k", "k", json!({})).await;
    let mut user = cmd("ACL");
    user.arg(&["SETUSER", "default", "resetkeys", "~keyward:digest:*"]);
    server.tell(&user).await;
    let config = of("redis", &server.url());
    let complaint = check_config(&config).complaint(1);
    assert!(complaint.contains("keyward:key:"), "{complaint}");
    let asked = Asked::start(&config).await;
    is_told(&asked, "failing", "lost", 0.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_getrange_serves_records() {
    for kind in KINDS {
        let server = Server::start_with(kind, &["--rename-command", "GETRANGE", ""]).await;
        server.put("k", "k", json!({})).await;
        let config = of("redis", &server.url());
        check_config(&config).data();
        Asked::start(&config).await.becomes("k", "allowed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_ping_loses_no_pushes() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        server
            .tell(cmd("ACL").arg(&["SETUSER", "default", "-ping"]))
            .await;
        let asked = Asked::start(&of("redis", &server.url())).await;
        asked.answers_from_memory("k").await;
        wait::until(
            "the server was asked for seconds whether it lives",
            async || {
                let stats: String = server.ask(cmd("INFO").arg("commandstats")).await.unwrap();
                let count = |name: &str| {
                    let line = stats.lines().find(|line| line.starts_with(name));
                    let counts = line
                        .unwrap_or_default()
                        .split([',', ':'])
                        .filter_map(|field| {
                            field
                                .strip_prefix("calls=")
                                .or(field.strip_prefix("rejected_calls="))
                        });
                    counts
                        .map(|count| count.parse::<u32>().unwrap())
                        .sum::<u32>()
                };
                count("cmdstat_role") + count("cmdstat_ping") > 8
            },
        )
        .await;
        let output = asked.keyward.process.output();
        assert!(!output.contains("not pushed any more"), "{output}");
        server.revoke("k", "k").await;
        asked.becomes("k", "key_revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_track_is_served_from_for_ttl() {
    for (kind, without) in [
        (Kind::Redis, "CLIENT"),
        (Kind::Valkey, "CLIENT"),
        (Kind::Redis, "HELLO"),
    ] {
        let server = Server::start_with(kind, &["--rename-command", without, ""]).await;
        server.put("k", "k", json!({})).await;
        let config = of("redis", &server.url());
        let checked = check_config(&config);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(checked.stderr.contains("warning: "), "{checked:?}");
        let asked = Asked::start(&config.replace("{ttl: 1h", "{ttl: 2s")).await;
        asked.answers_from_memory("k").await;
        is_told(&asked, "answering", "refused", 1.0, 0.0).await;
        server.revoke("k", "k").await;
        asked.becomes("k", "key_revoked").await;
        let output = asked.keyward.process.output();
        assert_eq!(output.matches("refuses to push").count(), 1, "{output}");

        let required = config.replace("timeout: 5s", "timeout: 5s, push: require");
        let complaint = check_config(&required).complaint(1);
        assert!(complaint.contains("would not be heard"), "{complaint}");
        server.put("k", "k", json!({})).await;
        let asked = Asked::start(&required).await;
        is_told(&asked, "failing", "lost", 1.0, 0.0).await;
        asked.becomes("k", "allowed").await;
        server.revoke("k", "k").await;
        assert_eq!(asked.said("k").await, "key_revoked");

        let off = config.replace("timeout: 5s", "timeout: 5s, push: off");
        check_config(&off).data();
        server.put("k", "k", json!({})).await;
        let asked = Asked::start(&off).await;
        asked.answers_from_memory("k").await;
        is_told(&asked, "answering", "off", 1.0, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_warns_of_a_server_that_evicts_keys_in_use() {
    for kind in KINDS {
        let server = Server::start_with(kind, &["--maxmemory-policy", "allkeys-lru"]).await;
        let checked = check_config(&of("redis", &server.url()));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let warned = checked.stderr.contains("warning: ") && checked.stderr.contains("allkeys-lru");
        assert!(warned, "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_that_refuses_to_revoke_is_told_how_it_works() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let asked = Asked::start(&of("redis", &server.url())).await;
        asked.becomes("k", "allowed").await;
        server
            .tell(cmd("CONFIG").arg(&["SET", "maxmemory", "1"]))
            .await;
        let desk = Desk::empty();
        let complaint = desk
            .run(&["keys", "revoke", "k", "--redis", &server.url()])
            .complaint(1);
        assert!(complaint.contains("`DEL keyward:key:k`"), "{complaint}");
        server.tell(cmd("DEL").arg("keyward:key:k")).await;
        asked.becomes("k", "unknown_key").await;
    }
}
