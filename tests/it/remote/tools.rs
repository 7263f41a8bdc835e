//! The commands on remote keys: `check-config` tries the source, `explain` uses it, and `keys`
//! manages keys in Redis while keywards serve from it.

use serde_json::{Value, json};

use super::{Sidecar, keys_url, of};
use crate::cli::Workdir;
use crate::support::fault_proxy::FaultProxy;
use crate::support::key_service::{Answer, KeyService};
use crate::support::redis::{KINDS, Kind, Server, url};

mod keys;
mod races;

fn explained(workdir: &Workdir, secret: &str) -> (Option<i32>, Value) {
    let run = workdir.explain_get(secret, &["--output", "json"]);
    (run.code, run.json()["reason"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_tries_the_source_unless_offline() {
    let service = KeyService::start().await;
    let server = Server::start(Kind::Redis).await;
    let http_way = FaultProxy::of_http(service.address).await;
    let redis_way = FaultProxy::of_redis(server.address()).await;
    for (kind, url, proxy) in [
        ("http", keys_url(http_way.address), &http_way),
        ("redis", url(redis_way.address), &redis_way),
    ] {
        let workdir = Workdir::empty();
        workdir.write("keyward.yaml", of(kind, &url));
        let online = workdir.run(&["check-config"]);
        assert_eq!(online.code, Some(0), "{kind}: {online:?}");
        assert!(proxy.accepted() > 0, "{kind}: the source was tried");
        proxy.refuse();
        let tried = workdir.run(&["check-config"]);
        assert_eq!(tried.code, Some(1), "{kind}: {tried:?}");
        assert!(tried.stderr.contains(kind), "{kind}: {tried:?}");
        let offline = workdir.run(&["check-config", "--offline"]);
        assert_eq!(offline.code, Some(0), "{kind}: {offline:?}");
        workdir.write("keyward.yaml", format!("{}mode: watch\n", of(kind, &url)));
        for arguments in [&["check-config"][..], &["check-config", "--offline"]] {
            assert_eq!(workdir.run(arguments).code, Some(3), "{kind} {arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_reports_the_answer_of_the_source() {
    let service = KeyService::start().await;
    let workdir = Workdir::empty();
    workdir.write("keyward.yaml", of("http", &keys_url(service.address)));
    service.answer(Answer::reply("401 Unauthorized", "", "never-printed"));
    let tried = workdir.run(&["check-config"]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(tried.stderr.contains("401"), "{tried:?}");
    assert!(!tried.stderr.contains("never-printed"), "{tried:?}");

    let mut server = Server::start(Kind::Redis).await;
    server.protect("r1ght-password").await;
    let config =
        of("redis", &server.url()).replace("timeout: 5s", "timeout: 5s, password_file: password");
    workdir.write("keyward.yaml", config);
    workdir.write("password", "wr0ng-password");
    let tried = workdir.run(&["check-config"]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(!tried.stderr.contains("-password"), "{tried:?}");
    workdir.write("password", "r1ght-password\n");
    assert_eq!(workdir.run(&["check-config"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_reports_that_pushes_would_not_arrive() {
    let service = KeyService::start().await;
    let server = Server::start(Kind::Redis).await;
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("default").arg("-client|tracking");
    server.execute(&rule).await;
    let workdir = Workdir::empty();
    let not_there = super::with_events(service.address).replace("/events", "/elsewhere");
    let required = of("redis", &server.url()).replace("timeout: 5s", "timeout: 5s, push: require");
    for config in [required, not_there] {
        workdir.write("keyward.yaml", config);
        let complaint = workdir.run(&["check-config"]).complaint(1);
        assert!(complaint.contains("would not be pushed"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_uses_the_source() {
    let service = KeyService::start().await;
    let server = Server::start(Kind::Redis).await;
    service.put("k", "known", json!({}));
    service.put("r", "gone", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    server.put("k", "known", json!({})).await;
    server.revoke("r", "gone").await;
    server
        .put("r2", "gone", json!({"revoked_at": "2020-01-01T00:00:00Z"}))
        .await;
    for config in [
        of("http", &keys_url(service.address)),
        of("redis", &server.url()),
    ] {
        let workdir = Workdir::empty();
        workdir.write("keyward.yaml", config);
        assert_eq!(explained(&workdir, "known"), (Some(0), "allowed".into()));
        assert_eq!(explained(&workdir, "gone"), (Some(4), "key_revoked".into()));
        assert_eq!(
            explained(&workdir, "made-up"),
            (Some(4), "unknown_key".into())
        );
    }
    service.answer(Answer::reply("500 Internal Server Error", "", ""));
    let workdir = Workdir::empty();
    workdir.write("keyward.yaml", of("http", &keys_url(service.address)));
    let failed = workdir.explain_get("known", &[]);
    assert!(
        ![Some(0), Some(2), Some(3)].contains(&failed.code),
        "{failed:?}"
    );
    let output = format!("{}{}", failed.stdout, failed.stderr);
    assert!(output.contains("overloaded"), "{failed:?}");
    assert!(!output.contains("known"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_a_command_takes_effect_at_running_keywards() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let sidecar = Sidecar::start(&of("redis", &server.url())).await;
        let redis = ["--redis", &server.url()].map(str::to_owned);
        let workdir = Workdir::empty();
        let run = |words: &[&str]| {
            let redis = redis.iter().map(String::as_str);
            let words: Vec<&str> = ["keys"]
                .into_iter()
                .chain(words.iter().copied())
                .chain(redis)
                .collect();
            let run = workdir.run(&words);
            assert_eq!(run.code, Some(0), "{words:?}: {run:?}");
            run.stdout
        };
        let secret = run(&["new", "--id", "bot", "--client", "acme"]);
        let secret = secret.trim_end();
        sidecar.becomes(secret, "allowed").await;
        for (command, code) in [("disable", "key_disabled"), ("enable", "allowed")] {
            run(&[command, "bot"]);
            sidecar.becomes(secret, code).await;
        }
        let second = run(&["rotate", "bot", "--overlap", "1h"]);
        sidecar.becomes(second.trim_end(), "allowed").await;
        sidecar.becomes(secret, "allowed").await;
        run(&["revoke", "bot"]);
        for secret in [secret, second.trim_end()] {
            sidecar.becomes(secret, "key_revoked").await;
        }
    }
}
