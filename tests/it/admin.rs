//! The admin listener and its clients: health, metrics that promtool accepts, series that come and
//! go with their keys, and a configuration without secrets.

use std::process::Command;

use crate::support::check;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::{Home, Keyward};
use crate::support::metrics::sample;
use crate::support::process::Process;
use crate::support::prometheus;
use crate::support::scene::{self, key, keys_without_plans, secret};
use crate::support::wait;

async fn ask(keyward: &Keyward, id: &str) {
    let channel = check::channel(&keyward.grpc).await;
    let request = check::with_key(&secret(id));
    check::check(&channel, request).await.unwrap();
}

#[tokio::test]
async fn health_paths_and_the_health_command_agree() {
    let mut keyward = Keyward::start("{}", &keys_without_plans()).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(keyward.fetch(path).await.status, 200, "{path}");
    }
    assert_eq!(keyward.fetch("/nothing-here").await.status, 404);
    let health = async |address: String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        let mut process = Process::start(command.args(["health", "--address", &address]));
        process.end().await.code()
    };
    let address = keyward.admin.to_string();
    assert_eq!(health(address.clone()).await, Some(0));
    keyward.process.signal("TERM");
    keyward.process.end().await;
    assert_eq!(health(address).await, Some(1));
}

#[tokio::test]
async fn decisions_are_counted_by_reason_and_by_key() {
    let keyward = Keyward::start(scene::CONFIG, &scene::keys()).await;
    for id in ["full", "full", "revoked", "made-up"] {
        ask(&keyward, id).await;
    }
    // The first use of a key and every unknown key are misses.
    let metrics = keyward.fetch("/metrics").await;
    for (name, labels, value) in [
        (
            "keyward_checks_total",
            &["decision=\"allow\"", "reason=\"allowed\""][..],
            2.0,
        ),
        (
            "keyward_checks_total",
            &["decision=\"deny\"", "reason=\"key_revoked\""],
            1.0,
        ),
        (
            "keyward_checks_total",
            &["decision=\"deny\"", "reason=\"unknown_key\""],
            1.0,
        ),
        (
            "keyward_check_duration_seconds_count",
            &["decision=\"allow\""],
            2.0,
        ),
        (
            "keyward_key_requests_total",
            &[
                "key_id=\"full\"",
                "client=\"acme\"",
                "decision=\"allow\"",
                "reason=\"allowed\"",
            ],
            2.0,
        ),
        (
            "keyward_key_requests_total",
            &[
                "key_id=\"revoked\"",
                "client=\"revoked\"",
                "decision=\"deny\"",
                "reason=\"key_revoked\"",
            ],
            1.0,
        ),
        ("keyward_keys_loaded", &[], 19.0),
        ("keyward_cache_lookups_total", &["result=\"hit\""], 1.0),
        ("keyward_cache_lookups_total", &["result=\"miss\""], 3.0),
        ("keyward_cache_entries", &["kind=\"key\""], 2.0),
        ("keyward_cache_entries", &["kind=\"negative\""], 0.0),
        ("keyward_source_up", &["source=\"file\""], 1.0),
        (
            "keyward_key_expiry_timestamp_seconds",
            &["key_id=\"expired\""],
            1_577_836_800.0,
        ),
    ] {
        assert_eq!(
            sample(&metrics, name, labels),
            Some(value),
            "{name} {labels:?}:\n{}",
            metrics.text()
        );
    }
    let used = sample(
        &metrics,
        "keyward_key_last_used_timestamp_seconds",
        &["key_id=\"full\""],
    );
    assert!(used.is_some_and(|at| at > 1_700_000_000.0), "{used:?}");
    let text = metrics.text();
    for name in [
        "keyward_build_info{",
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(name), "{name} in:\n{text}");
    }
    assert!(!text.contains("made-up"), "an unknown key makes no series");
}

#[tokio::test]
async fn the_cache_counts_its_hits_and_is_emptied_by_a_reload() {
    let keys = key(KeyFile::new(), "steady", &[]);
    let keyward = Keyward::start("{}", &keys).await;
    let hits = async || {
        let metrics = keyward.fetch("/metrics").await;
        sample(&metrics, "keyward_cache_lookups_total", &["result=\"hit\""]).unwrap()
    };
    let kept = async || {
        let metrics = keyward.fetch("/metrics").await;
        sample(&metrics, "keyward_cache_entries", &["kind=\"key\""])
    };
    ask(&keyward, "steady").await;
    let mut before = hits().await;
    for _ in 0..3 {
        ask(&keyward, "steady").await;
        let now = hits().await;
        assert!(now > before, "{now} after {before}");
        before = now;
    }
    assert_eq!(kept().await, Some(1.0));
    keyward.reload(&key(keys, "another", &[])).await;
    wait::until("the cache is empty", async || kept().await == Some(0.0)).await;
}

#[tokio::test]
async fn a_keys_series_are_removed_with_the_key() {
    let both = key(key(KeyFile::new(), "staying", &[]), "going", &[]);
    let keyward = Keyward::start("{}", &both).await;
    ask(&keyward, "going").await;
    ask(&keyward, "staying").await;
    assert!(
        keyward
            .fetch("/metrics")
            .await
            .text()
            .contains("key_id=\"going\"")
    );
    keyward.reload(&key(KeyFile::new(), "staying", &[])).await;
    let text = keyward.fetch("/metrics").await.text();
    assert!(!text.contains("key_id=\"going\""), "{text}");
    let counted = sample(
        &keyward.fetch("/metrics").await,
        "keyward_key_requests_total",
        &["staying"],
    );
    assert_eq!(counted, Some(1.0), "the others go on counting");
}

#[tokio::test]
async fn keys_beyond_max_keys_share_a_series() {
    let mut keys = KeyFile::new();
    for number in 0..5 {
        keys = key(keys, &format!("k{number}"), &[]);
    }
    let keyward = Keyward::start("{metrics: {max_keys: 2}}", &keys).await;
    for number in 0..5 {
        ask(&keyward, &format!("k{number}")).await;
    }
    let text = keyward.fetch("/metrics").await.text();
    let of_keys = text
        .lines()
        .filter(|line| line.starts_with("keyward_key_requests_total{"));
    let (others, own): (Vec<&str>, Vec<&str>) =
        of_keys.partition(|line| line.contains("key_id=\"_other\""));
    assert_eq!(own.len(), 2, "{text}");
    assert_eq!(others.len(), 1, "{text}");
    assert!(others[0].ends_with(" 3"), "{text}");
}

#[tokio::test]
async fn promtool_has_no_complaints_about_the_metrics() {
    let keyward = Keyward::start(scene::CONFIG, &scene::keys()).await;
    for id in ["full", "revoked", "made-up"] {
        ask(&keyward, id).await;
    }
    let metrics = keyward.fetch("/metrics").await;
    assert!(
        metrics.all("content-type")[0].starts_with("text/plain"),
        "{:?}",
        metrics.headers
    );
    prometheus::is_silent_about(&metrics.body);
}

#[tokio::test]
async fn the_effective_configuration_is_shown_without_secrets() {
    let pepper = "a-pepper-of-at-least-thirty-two-bytes";
    let keys = KeyFile::new().secrets(
        "k",
        &[&format!(
            "digest: {}",
            crate::support::keyfile::keyed_digest("s", pepper.as_bytes())
        )],
        &[],
    );
    let home = Home::new(
        "{realm: shown, digest: {pepper_file: pepper, accept: [blake3-keyed]}}",
        &keys,
    );
    std::fs::write(home.path("pepper"), pepper).unwrap();
    let keyward = home.start().await;
    let shown = keyward.fetch("/config").await;
    assert_eq!(shown.status, 200);
    let text = shown.text();
    for name in ["shown", "credentials", "stale_if_error", "require-key"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains(pepper), "{text}");
}
