//! The commands on keys that live elsewhere: `check-config` tries the source, `explain` asks it, and `keys` manages what is
//! in Redis while keywards serve from it.

use serde_json::{Value, json};

use super::{Asked, keys_url, of};
use crate::cli::Desk;
use crate::support::fault_proxy::FaultProxy;
use crate::support::key_service::{Answer, KeyService};
use crate::support::redis::{KINDS, Kind, Server, url};

mod keys;
mod races;

/// The exit code and the reason.
fn explained(desk: &Desk, secret: &str) -> (Option<i32>, Value) {
    let run = desk.explain_get(secret, &["--output", "json"]);
    (run.code, run.json()["reason"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_tries_the_source_unless_it_is_to_stay_offline() {
    let service = KeyService::start().await;
    let server = Server::start(Kind::Redis).await;
    let http_way = FaultProxy::of_http(service.address).await;
    let redis_way = FaultProxy::of_redis(server.address()).await;
    for (kind, url, way) in [
        ("http", keys_url(http_way.address), &http_way),
        ("redis", url(redis_way.address), &redis_way),
    ] {
        let desk = Desk::empty();
        desk.write("keyward.yaml", of(kind, &url));
        let online = desk.run(&["check-config"]);
        assert_eq!(online.code, Some(0), "{kind}: {online:?}");
        assert!(way.accepted() > 0, "{kind}: the source was tried");
        way.refuse();
        let tried = desk.run(&["check-config"]);
        assert_eq!(tried.code, Some(1), "{kind}: {tried:?}");
        assert!(tried.stderr.contains(kind), "{kind}: {tried:?}");
        let offline = desk.run(&["check-config", "--offline"]);
        assert_eq!(offline.code, Some(0), "{kind}: {offline:?}");
        desk.write("keyward.yaml", format!("{}mode: watch\n", of(kind, &url)));
        for arguments in [&["check-config"][..], &["check-config", "--offline"]] {
            assert_eq!(desk.run(arguments).code, Some(3), "{kind} {arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_says_what_the_source_answered() {
    let service = KeyService::start().await;
    let desk = Desk::empty();
    desk.write("keyward.yaml", of("http", &keys_url(service.address)));
    service.answer(Answer::reply("401 Unauthorized", "", "nobody-reads-this"));
    let tried = desk.run(&["check-config"]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(tried.stderr.contains("401"), "{tried:?}");
    assert!(!tried.stderr.contains("nobody-reads-this"), "{tried:?}");

    let mut server = Server::start(Kind::Redis).await;
    server.protect("r1ght-password").await;
    let config =
        of("redis", &server.url()).replace("timeout: 5s", "timeout: 5s, password_file: password");
    desk.write("keyward.yaml", config);
    desk.write("password", "wr0ng-password");
    let tried = desk.run(&["check-config"]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(!tried.stderr.contains("-password"), "{tried:?}");
    desk.write("password", "r1ght-password\n");
    assert_eq!(desk.run(&["check-config"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_says_when_changes_would_not_be_heard() {
    let service = KeyService::start().await;
    let server = Server::start(Kind::Redis).await;
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("default").arg("-client|tracking");
    server.tell(&rule).await;
    let desk = Desk::empty();
    let not_there = super::with_events(service.address).replace("/events", "/elsewhere");
    let required = of("redis", &server.url()).replace("timeout: 5s", "timeout: 5s, push: require");
    for config in [required, not_there] {
        desk.write("keyward.yaml", config);
        let complaint = desk.run(&["check-config"]).complaint(1);
        assert!(complaint.contains("would not be heard"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_asks_the_source() {
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
        let desk = Desk::empty();
        desk.write("keyward.yaml", config);
        assert_eq!(explained(&desk, "known"), (Some(0), "allowed".into()));
        assert_eq!(explained(&desk, "gone"), (Some(4), "key_revoked".into()));
        assert_eq!(explained(&desk, "nobody"), (Some(4), "unknown_key".into()));
    }
    service.answer(Answer::reply("500 Internal Server Error", "", ""));
    let desk = Desk::empty();
    desk.write("keyward.yaml", of("http", &keys_url(service.address)));
    let failed = desk.explain_get("known", &[]);
    assert!(
        ![Some(0), Some(2), Some(3)].contains(&failed.code),
        "{failed:?}"
    );
    let told = format!("{}{}", failed.stdout, failed.stderr);
    assert!(told.contains("overloaded"), "{failed:?}");
    assert!(!told.contains("known"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_changes_is_in_force_where_keywards_serve() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let asked = Asked::start(&of("redis", &server.url())).await;
        let redis = ["--redis", &server.url()].map(str::to_owned);
        let desk = Desk::empty();
        let run = |words: &[&str]| {
            let redis = redis.iter().map(String::as_str);
            let words: Vec<&str> = ["keys"]
                .into_iter()
                .chain(words.iter().copied())
                .chain(redis)
                .collect();
            let run = desk.run(&words);
            assert_eq!(run.code, Some(0), "{words:?}: {run:?}");
            run.stdout
        };
        let secret = run(&["new", "--id", "bot", "--client", "acme"]);
        let secret = secret.trim_end();
        asked.becomes(secret, "allowed").await;
        for (command, code) in [("disable", "key_disabled"), ("enable", "allowed")] {
            run(&[command, "bot"]);
            asked.becomes(secret, code).await;
        }
        let second = run(&["rotate", "bot", "--overlap", "1h"]);
        asked.becomes(second.trim_end(), "allowed").await;
        asked.becomes(secret, "allowed").await;
        run(&["revoke", "bot"]);
        for secret in [secret, second.trim_end()] {
            asked.becomes(secret, "key_revoked").await;
        }
    }
}
