//! Changes that do not arrive although all seems well: cached keys are then not trusted, and the
//! reported state of the source is the one that a lookup would find.

use redis::cmd;
use serde_json::json;

use super::{Sidecar, of, with_events};
use crate::cli::Workdir;
use crate::support::fault_proxy::FaultProxy;
use crate::support::key_service::KeyService;
use crate::support::metrics::sample;
use crate::support::redis::{KINDS, Kind, Server};
use crate::support::wait;

fn check_config(config: &str) -> crate::cli::Run {
    let workdir = Workdir::empty();
    workdir.write("keyward.yaml", config);
    workdir.run(&["check-config"])
}

/// Waits until `/readyz` and the metrics report this for a Redis source; without `push_up` the
/// series is absent.
async fn reports(sidecar: &Sidecar, state: &str, pushes: &str, up: f64, push_up: f64) {
    let what = format!("it is reported as {state}, {pushes}, {up}, {push_up}");
    wait::until(&what, async || {
        let ready = sidecar.keyward.fetch("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let source = &ready.problem()["source"];
        let metrics = sidecar.metrics().await;
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
    let sidecar = Sidecar::start(&config).await;
    sidecar.becomes("k", "allowed").await;
    wait::until("keyward has requested the stream", async || {
        let sidecar = service.take();
        sidecar
            .iter()
            .any(|sidecar| sidecar.line.starts_with("GET /events"))
    })
    .await;
    sidecar.becomes("k", "allowed").await;
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.push(&json!({"event": "invalidate", "key_id": "k"}));
    sidecar.becomes("k", "key_revoked").await;
    let complaint = check_config(&config).complaint(1);
    assert!(complaint.contains("content-encoding"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_lost_its_master_is_not_used() {
    for kind in KINDS {
        let master = Server::start(kind).await;
        master.put("k", "k", json!({})).await;
        let proxy = FaultProxy::of_redis(master.address()).await;
        let port = proxy.address.port().to_string();
        let follow = ["--replicaof", "127.0.0.1", &port, "--repl-timeout", "2"];
        let replica = Server::start_with(kind, &follow).await;
        wait::until("the replica has the key", async || {
            replica.get("keyward:key:k").await.is_some()
        })
        .await;
        let config = of("redis", &replica.url());
        let sidecar = Sidecar::start(&config).await;
        sidecar.answers_from_memory("k").await;
        reports(&sidecar, "answering", "armed", 1.0, 1.0).await;
        proxy.refuse();
        wait::until("the connection is cut", async || proxy.open() == 0).await;
        master.revoke("k", "k").await;
        sidecar.is_served_until_unavailable("k").await;
        reports(&sidecar, "down", "lost", 0.0, 0.0).await;
        let complaint = check_config(&config).complaint(1);
        assert!(
            complaint.contains("not connected to its master"),
            "{complaint}"
        );
        proxy.set(&crate::support::fault_proxy::Mode::Pass);
        sidecar.becomes("k", "key_revoked").await;
        reports(&sidecar, "answering", "armed", 1.0, 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_read_permission_is_reported_before_the_first_request() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let mut rules = cmd("ACL");
        rules.arg(&["SETUSER", "default", "-getrange", "-get"]);
        server.execute(&rules).await;
        let config = of("redis", &server.url());
        let complaint = check_config(&config).complaint(1);
        assert!(complaint.contains("NOPERM"), "{complaint}");
        let sidecar = Sidecar::start(&config).await;
        reports(&sidecar, "failing", "lost", 0.0, 0.0).await;
        assert!(!sidecar.ask("k").await.allowed());
    }
    // The index may be read, but records may not.
    let server = Server::start(Kind::Redis).await;
    server.put("k", "k", json!({})).await;
    let mut user = cmd("ACL");
    user.arg(&["SETUSER", "default", "resetkeys", "~keyward:digest:*"]);
    server.execute(&user).await;
    let config = of("redis", &server.url());
    let complaint = check_config(&config).complaint(1);
    assert!(complaint.contains("keyward:key:"), "{complaint}");
    let sidecar = Sidecar::start(&config).await;
    reports(&sidecar, "failing", "lost", 0.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_getrange_serves_records() {
    for kind in KINDS {
        let server = Server::start_with(kind, &["--rename-command", "GETRANGE", ""]).await;
        server.put("k", "k", json!({})).await;
        let config = of("redis", &server.url());
        check_config(&config).data();
        Sidecar::start(&config).await.becomes("k", "allowed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_ping_loses_no_pushes() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        server
            .execute(cmd("ACL").arg(&["SETUSER", "default", "-ping"]))
            .await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.answers_from_memory("k").await;
        wait::until("keyward has pinged the server for seconds", async || {
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
        })
        .await;
        let output = sidecar.keyward.process.output();
        assert!(!output.contains("not pushed any more"), "{output}");
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tracking_is_used_with_the_ttl() {
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
        let sidecar = Sidecar::start(&config.replace("{ttl: 1h", "{ttl: 2s")).await;
        sidecar.answers_from_memory("k").await;
        reports(&sidecar, "answering", "refused", 1.0, 0.0).await;
        server.revoke("k", "k").await;
        sidecar.becomes("k", "key_revoked").await;
        let output = sidecar.keyward.process.output();
        assert_eq!(output.matches("refuses to push").count(), 1, "{output}");

        let required = config.replace("timeout: 5s", "timeout: 5s, push: require");
        let complaint = check_config(&required).complaint(1);
        assert!(complaint.contains("would not be pushed"), "{complaint}");
        server.put("k", "k", json!({})).await;
        let sidecar = Sidecar::start(&required).await;
        reports(&sidecar, "failing", "lost", 1.0, 0.0).await;
        sidecar.becomes("k", "allowed").await;
        server.revoke("k", "k").await;
        assert_eq!(sidecar.outcome("k").await, "key_revoked");

        let off = config.replace("timeout: 5s", "timeout: 5s, push: off");
        check_config(&off).data();
        server.put("k", "k", json!({})).await;
        let sidecar = Sidecar::start(&off).await;
        sidecar.answers_from_memory("k").await;
        reports(&sidecar, "answering", "off", 1.0, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_warns_about_a_server_that_evicts_keys_in_use() {
    for kind in KINDS {
        let server = Server::start_with(kind, &["--maxmemory-policy", "allkeys-lru"]).await;
        let checked = check_config(&of("redis", &server.url()));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let warned = checked.stderr.contains("warning: ") && checked.stderr.contains("allkeys-lru");
        assert!(warned, "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_a_full_server_refuses_gets_a_hint() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        sidecar.becomes("k", "allowed").await;
        server
            .execute(cmd("CONFIG").arg(&["SET", "maxmemory", "1"]))
            .await;
        let workdir = Workdir::empty();
        let complaint = workdir
            .run(&["keys", "revoke", "k", "--redis", &server.url()])
            .complaint(1);
        assert!(complaint.contains("`DEL keyward:key:k`"), "{complaint}");
        server.execute(cmd("DEL").arg("keyward:key:k")).await;
        sidecar.becomes("k", "unknown_key").await;
    }
}
