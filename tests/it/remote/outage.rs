//! Each kind of failure of a source: cached keys stay usable within their limits, others get a
//! refusal that says that keyward cannot decide, nothing is treated as unknown, and all recovers
//! within seconds of the source. Each fault prints what callers saw and how long it took.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Sidecar, keys_url, with_events};
use crate::support::check::Answer as CheckAnswer;
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::key_service::{Answer, KeyService};
use crate::support::redis::{Kind, Server, url};
use crate::support::wait;

/// The promised limit.
const RECOVERY: Duration = Duration::from_secs(5);

/// Short lookup timeouts, and keys that outlive the failure.
fn of(kind: &str, url: &str) -> String {
    format!(
        "source: {{{kind}: {{url: \"{url}\", timeout: 250ms}}}}\ncache: {{ttl: 1h, negative_ttl: 1h, stale_if_error: 1h}}\n"
    )
}

async fn timed(sidecar: &Sidecar, secret: &str) -> (CheckAnswer, Duration) {
    let start = Instant::now();
    let answer = sidecar.ask(secret).await;
    (answer, start.elapsed())
}

/// Runs one fault. The source has the keys `cached` and `fresh-NAME`, and no others in use.
/// `is_told` checks the response to keys that were not known before.
async fn run_fault(
    sidecar: &Sidecar,
    name: &str,
    is_expected: fn(&CheckAnswer) -> bool,
    begin: impl FnOnce(),
    end: impl FnOnce(),
) {
    let mut report = format!("{name}:");
    let mut note = |who: &str, outcome: &str, took: Duration| {
        write!(report, " {who} {outcome} in {took:?};").unwrap();
    };
    sidecar.becomes("cached", "allowed").await;
    begin();
    let mut number = 0;
    wait::until(&format!("{name}: keyward cannot decide"), async || {
        number += 1;
        let (answer, took) = timed(sidecar, &format!("made-up-{name}-{number}")).await;
        let outcome = answer.outcome();
        if is_expected(&answer) {
            note("an unknown key", &outcome, took);
            return true;
        }
        assert_eq!(
            outcome, "unknown_key",
            "{name}, before it showed: {answer:?}"
        );
        false
    })
    .await;
    let unsure = format!("made-up-{name}-{number}");
    let fresh = format!("fresh-{name}");
    for secret in [&fresh, &unsure] {
        let (answer, took) = timed(sidecar, secret).await;
        assert!(is_expected(&answer), "{name}: {answer:?}");
        note("a key not used before", &answer.outcome(), took);
    }
    for _ in 0..3 {
        let (answer, took) = timed(sidecar, "cached").await;
        assert!(answer.allowed(), "{name}: {answer:?}");
        note("a cached key", "allowed", took);
    }
    let ready = sidecar.keyward.fetch("/readyz").await;
    assert_eq!(ready.status, 200, "{name}: {ready:?}");
    assert!(is_up(sidecar, 0.0).await, "{name}: the metric");
    end();
    let start = Instant::now();
    for (secret, code) in [(&fresh, "allowed"), (&unsure, "unknown_key")] {
        wait::some_within(RECOVERY, &format!("{name}: {secret}: {code}"), async || {
            let answer = sidecar.ask(secret).await;
            // Nothing was cached because of a failure.
            let waits = answer.is_undecided();
            assert!(
                waits || answer.outcome() == code,
                "{name}, {secret}: {answer:?}"
            );
            (!waits).then_some(())
        })
        .await;
    }
    assert!(sidecar.ask("cached").await.allowed(), "{name}");
    assert!(is_up(sidecar, 1.0).await, "{name}: the metric");
    println!("{report} recovered after {:?}", start.elapsed());
}

async fn is_up(sidecar: &Sidecar, value: f64) -> bool {
    let labels = ["source="];
    wait::until(&format!("keyward_source_up is {value}"), async || {
        sidecar.metric("keyward_source_up", &labels).await.to_bits() == value.to_bits()
    })
    .await;
    true
}

/// The response to keys that were not known before a network fault: an outage if no connection can
/// be made.
fn refusal_for(fault: &str) -> fn(&CheckAnswer) -> bool {
    match fault {
        "refusing" => CheckAnswer::is_source_unavailable,
        _ => CheckAnswer::is_overloaded,
    }
}

/// Network faults, independent of the protocol.
fn network_faults(proxy: &FaultProxy) -> Vec<(&'static str, Box<dyn Fn() + '_>)> {
    let mode = |mode: Mode| -> Box<dyn Fn() + '_> { Box::new(move || proxy.set(&mode)) };
    vec![
        ("refusing", Box::new(|| proxy.refuse())),
        ("resetting", mode(Mode::Reset)),
        ("hanging", mode(Mode::BlackHole)),
        ("slow", mode(Mode::Delay(Duration::from_secs(2)))),
        ("garbage", mode(Mode::garbage())),
    ]
}

/// Redis replies that are not an answer.
const ERRORS: [(&str, &[u8]); 6] = [
    ("error", b"-ERR something is wrong\r\n"),
    (
        "loading",
        b"-LOADING Redis is loading the dataset in memory\r\n",
    ),
    (
        "readonly",
        b"-READONLY You can't write against a read only replica.\r\n",
    ),
    (
        "masterdown",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    ),
    ("noauth", b"-NOAUTH Authentication required.\r\n"),
    ("cut", b"$400\r\n{\"id\":\r\n"),
];

async fn run_redis_faults(kind: Kind) {
    let server = Server::start(kind).await;
    server.put("cached", "cached", json!({})).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let sidecar = Sidecar::start(&of("redis", &url(proxy.address))).await;
    let mut faults = network_faults(&proxy);
    for (name, bytes) in ERRORS {
        let mode = Mode::Answer(bytes.to_vec());
        let proxy = &proxy;
        faults.push((name, Box::new(move || proxy.set(&mode))));
    }
    println!("{kind:?}");
    for (name, begin) in faults {
        let fresh = format!("fresh-{name}");
        server.put(&fresh, &fresh, json!({})).await;
        // A Redis that does not reply as it should also fails the login.
        let is_expected = match name {
            "refusing" => CheckAnswer::is_source_unavailable,
            _ => CheckAnswer::is_undecided,
        };
        // An entry from before the subscription would not be used stale.
        wait::until("pushes arrive", async || {
            sidecar.metric("keyward_source_push_up", &["source="]).await > 0.5
        })
        .await;
        run_fault(&sidecar, name, is_expected, begin, || {
            proxy.set(&Mode::Pass);
        })
        .await;
    }
    assert!(sidecar.lookups("timeout").await >= 1.0);
    assert!(sidecar.lookups("error").await >= 1.0);
}

#[tokio::test]
async fn a_failing_redis_is_not_a_denial() {
    run_redis_faults(Kind::Redis).await;
}

#[tokio::test]
async fn a_failing_valkey_is_not_a_denial() {
    run_redis_faults(Kind::Valkey).await;
}

#[tokio::test]
async fn a_failing_network_to_a_key_service_is_not_a_denial() {
    let service = KeyService::start().await;
    service.put("cached", "cached", json!({}));
    let proxy = FaultProxy::of_http(service.address).await;
    let sidecar = Sidecar::start(&of("http", &keys_url(proxy.address))).await;
    for (name, begin) in network_faults(&proxy) {
        let fresh = format!("fresh-{name}");
        service.put(&fresh, &fresh, json!({}));
        let end = || proxy.set(&Mode::Pass);
        run_fault(&sidecar, name, refusal_for(name), begin, end).await;
    }
    assert!(sidecar.lookups("timeout").await >= 1.0);
    assert!(sidecar.lookups("error").await >= 1.0);
}

#[tokio::test]
async fn a_failing_key_service_is_not_a_denial() {
    let service = KeyService::start().await;
    service.put("cached", "cached", json!({}));
    let sidecar = Sidecar::start(&of("http", &keys_url(service.address))).await;
    let json = "content-type: application/json\r\n";
    let html = "content-type: text/html\r\n";
    for (name, answer) in [
        ("500", Answer::reply("500 Internal Server Error", "", "")),
        (
            "503",
            Answer::reply("503 Service Unavailable", html, "<p>busy"),
        ),
        ("401", Answer::reply("401 Unauthorized", json, "{}")),
        ("403", Answer::reply("403 Forbidden", "", "")),
        ("429", Answer::reply("429 Too Many Requests", "", "")),
        ("400", Answer::reply("400 Bad Request", "", "")),
        ("204", Answer::reply("204 No Content", "", "")),
        ("206", Answer::reply("206 Partial Content", json, "{}")),
        (
            "redirect",
            Answer::reply("302 Found", "location: /\r\n", ""),
        ),
        (
            "html",
            Answer::reply("200 OK", html, "<!doctype html><h1>Sign in</h1>"),
        ),
        ("nothing", Answer::reply("200 OK", json, "")),
        (
            "half-of-the-json",
            Answer::reply("200 OK", json, "{\"id\": \"fre"),
        ),
        ("two-values", Answer::reply("200 OK", json, "{} {}")),
        ("half-of-the-body", Answer::Half),
        ("held", Answer::Held),
    ] {
        let fresh = format!("fresh-{name}");
        service.put(&fresh, &fresh, json!({}));
        let begin = || {
            if matches!(answer, Answer::Half) {
                // Half of an empty response is all of it: here unknown digests get an error.
                service.answer_for(&fresh, answer);
                service.answer(Answer::reply("500 Internal Server Error", "", ""));
            } else {
                service.answer(answer);
            }
        };
        let end = || {
            service.answer(Answer::Record);
            service.answer_as_others(&fresh);
            service.release();
        };
        run_fault(&sidecar, name, CheckAnswer::is_overloaded, begin, end).await;
    }
}

#[tokio::test]
async fn past_its_limits_a_cached_key_is_no_longer_allowed() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    let start = async |bounds: &str| {
        service.answer(Answer::Record);
        let url = keys_url(service.address);
        let sidecar = Sidecar::start(&format!(
            "source: {{http: {{url: \"{url}\", timeout: 5s}}}}\ncache: {bounds}\n"
        ))
        .await;
        assert_eq!(sidecar.outcome("k").await, "allowed");
        service.answer(Answer::reply("500 Internal Server Error", "", ""));
        sidecar
    };
    for bounds in ["{ttl: 1s}", "{ttl: 1s, stale_if_error: 1s}"] {
        let sidecar = start(bounds).await;
        sidecar.is_served_until_unavailable("k").await;
    }
    let sidecar = start("{ttl: 1s, stale_if_error: 1h}").await;
    wait::until("a stale key serves", async || {
        assert!(sidecar.ask("k").await.allowed());
        sidecar
            .metric("keyward_cache_lookups_total", &["result=\"stale\""])
            .await
            > 0.0
    })
    .await;
    // A response that the key is revoked is not an error.
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.answer(Answer::Record);
    sidecar.becomes("k", "key_revoked").await;
}

#[tokio::test]
async fn a_key_revoked_while_pushes_were_lost_is_not_served_stale_afterwards() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.put("other", "other", json!({}));
    let bounds = "cache: {ttl: 1h, negative_ttl: 1h";
    let config =
        with_events(service.address).replace(bounds, &format!("{bounds}, stale_if_error: 1h"));
    let sidecar = Sidecar::start(&config).await;
    let pushes_are = async |up: f64| {
        wait::until("the metric shows the stream", async || {
            let is = sidecar.metric("keyward_source_push_up", &[]).await;
            is.to_bits() == up.to_bits()
        })
        .await;
    };
    pushes_are(1.0).await;
    for key in ["k", "other"] {
        sidecar.answers_from_memory(key).await;
    }
    service.end_streams(false);
    pushes_are(0.0).await;
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.answer(Answer::reply("500 Internal Server Error", "", ""));
    assert_eq!(
        sidecar.outcome("other").await,
        "allowed",
        "not subscribed yet"
    );
    service.serve_streams();
    pushes_are(1.0).await;
    for key in ["k", "other"] {
        let answer = sidecar.ask(key).await;
        assert!(answer.is_source_unavailable(), "{key}: {answer:?}");
    }
    service.answer(Answer::Record);
    sidecar.becomes("k", "key_revoked").await;
    sidecar.becomes("other", "allowed").await;
}

#[tokio::test]
async fn keyward_starts_without_its_source_and_finds_it_later() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    for kind in [None, Some(Kind::Redis), Some(Kind::Valkey)] {
        let server = match kind {
            None => None,
            Some(kind) => Some(Server::start(kind).await),
        };
        let (name, proxy) = match &server {
            None => ("http", FaultProxy::of_http(service.address).await),
            Some(server) => {
                server.put("k", "k", json!({})).await;
                ("redis", FaultProxy::of_redis(server.address()).await)
            }
        };
        for (fault, begin) in network_faults(&proxy).into_iter().take(3) {
            begin();
            let source_url = match kind {
                None => keys_url(proxy.address),
                Some(_) => url(proxy.address),
            };
            let sidecar = Sidecar::start(&of(name, &source_url)).await;
            let answer = sidecar.ask("k").await;
            assert!(answer.is_undecided(), "{name}, {fault}: {answer:?}");
            if fault == "refusing" {
                assert!(answer.is_source_unavailable(), "{name}: {answer:?}");
            }
            let failing = sidecar.keyward.fetch("/readyz").await;
            assert_eq!(failing.status, 200, "{name}, {fault}: {failing:?}");
            assert!(is_up(&sidecar, 0.0).await);
            proxy.set(&Mode::Pass);
            let start = Instant::now();
            wait::some_within(RECOVERY, &format!("{name}, {fault}: found"), async || {
                let answer = sidecar.ask("k").await;
                assert!(answer.allowed() || answer.is_undecided(), "{answer:?}");
                answer.allowed().then_some(())
            })
            .await;
            println!(
                "{kind:?} {name}, {fault} at the start: found after {:?}",
                start.elapsed()
            );
            assert!(is_up(&sidecar, 1.0).await);
            wait::until("readyz shows the difference", async || {
                let well = sidecar.keyward.fetch("/readyz").await;
                assert_eq!(well.status, 200);
                well.problem()["source"] != failing.problem()["source"]
            })
            .await;
            let body = failing.text();
            assert!(body.contains(name), "{body}");
        }
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_an_error_too() {
    for (kind, url) in [
        ("redis", "redis://keyward-test.invalid:6379/0"),
        ("http", "http://keyward-test.invalid/v1/keys/{digest}"),
    ] {
        let sidecar = Sidecar::start(&of(kind, url)).await;
        let (answer, took) = timed(&sidecar, "k").await;
        println!("{kind}, no such name: {} in {took:?}", answer.outcome());
        assert!(answer.is_source_unavailable(), "{kind}: {answer:?}");
        assert_eq!(sidecar.keyward.fetch("/readyz").await.status, 200);
    }
}
