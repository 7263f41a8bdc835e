//! A source that fails, in each way there is a name for: known keys go on within their bounds, the others are told that
//! keyward cannot find out, nothing is taken for unknown, and all is well within seconds of the source's recovery. Each
//! fault prints what callers saw and how long it took.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Asked, keys_url, with_events};
use crate::support::check::Answer as Told;
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::key_service::{Answer, KeyService};
use crate::support::redis::{Kind, Server, url};
use crate::support::wait;

/// What operators were promised.
const RECOVERY: Duration = Duration::from_secs(5);

/// Lookups that may fail fast, and keys that outlive the failing.
fn of(kind: &str, url: &str) -> String {
    format!(
        "source: {{{kind}: {{url: \"{url}\", timeout: 250ms}}}}\ncache: {{ttl: 1h, negative_ttl: 1h, stale_if_error: 1h}}\n"
    )
}

async fn timed(asked: &Asked, secret: &str) -> (Told, Duration) {
    let start = Instant::now();
    let answer = asked.ask(secret).await;
    (answer, start.elapsed())
}

/// Lives through one fault. The source has the keys `cached` and `fresh-NAME`, and no other that is asked for. `is_told` is how
/// those are told of it that were not known before.
async fn suffer(
    asked: &Asked,
    name: &str,
    is_told: fn(&Told) -> bool,
    begin: impl FnOnce(),
    end: impl FnOnce(),
) {
    let mut report = format!("{name}:");
    let mut saw = |who: &str, said: &str, took: Duration| {
        write!(report, " {who} {said} in {took:?};").unwrap();
    };
    asked.becomes("cached", "allowed").await;
    begin();
    let mut number = 0;
    wait::until(&format!("{name}: keyward cannot find out"), async || {
        number += 1;
        let (answer, took) = timed(asked, &format!("nobody-{name}-{number}")).await;
        let said = answer.said();
        if is_told(&answer) {
            saw("an unknown key", &said, took);
            return true;
        }
        assert_eq!(said, "unknown_key", "{name}, before it showed: {answer:?}");
        false
    })
    .await;
    let unsure = format!("nobody-{name}-{number}");
    let fresh = format!("fresh-{name}");
    for secret in [&fresh, &unsure] {
        let (answer, took) = timed(asked, secret).await;
        assert!(is_told(&answer), "{name}: {answer:?}");
        saw("a key not asked for before", &answer.said(), took);
    }
    for _ in 0..3 {
        let (answer, took) = timed(asked, "cached").await;
        assert!(answer.allowed(), "{name}: {answer:?}");
        saw("a cached key", "allowed", took);
    }
    let ready = asked.keyward.fetch("/readyz").await;
    assert_eq!(ready.status, 200, "{name}: {ready:?}");
    assert!(is_up(asked, 0.0).await, "{name}: the metric tells");
    end();
    let start = Instant::now();
    for (secret, code) in [(&fresh, "allowed"), (&unsure, "unknown_key")] {
        wait::some_within(RECOVERY, &format!("{name}: {secret}: {code}"), async || {
            let answer = asked.ask(secret).await;
            // Nothing was learnt from a failure.
            let waits = answer.is_undecided();
            assert!(
                waits || answer.said() == code,
                "{name}, {secret}: {answer:?}"
            );
            (!waits).then_some(())
        })
        .await;
    }
    assert!(asked.ask("cached").await.allowed(), "{name}");
    assert!(is_up(asked, 1.0).await, "{name}: the metric tells");
    println!("{report} recovered after {:?}", start.elapsed());
}

async fn is_up(asked: &Asked, value: f64) -> bool {
    let labels = ["source="];
    wait::until(&format!("keyward_source_up is {value}"), async || {
        asked.metric("keyward_source_up", &labels).await.to_bits() == value.to_bits()
    })
    .await;
    true
}

/// How keys that were not known before are told of a fault of the way: as an outage where no connection can be made.
fn told_of(fault: &str) -> fn(&Told) -> bool {
    match fault {
        "refusing" => Told::is_source_unavailable,
        _ => Told::is_overloaded,
    }
}

/// Faults of the way, whatever goes over it.
fn of_the_way(proxy: &FaultProxy) -> Vec<(&'static str, Box<dyn Fn() + '_>)> {
    let mode = |mode: Mode| -> Box<dyn Fn() + '_> { Box::new(move || proxy.set(&mode)) };
    vec![
        ("refusing", Box::new(|| proxy.refuse())),
        ("resetting", mode(Mode::Reset)),
        ("hanging", mode(Mode::BlackHole)),
        ("slow", mode(Mode::Delay(Duration::from_secs(2)))),
        ("garbage", mode(Mode::garbage())),
    ]
}

/// What a Redis says that is no answer.
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

async fn a_redis_suffers(kind: Kind) {
    let server = Server::start(kind).await;
    server.put("cached", "cached", json!({})).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let asked = Asked::start(&of("redis", &url(proxy.address))).await;
    let mut faults = of_the_way(&proxy);
    for (name, bytes) in ERRORS {
        let mode = Mode::Answer(bytes.to_vec());
        let proxy = &proxy;
        faults.push((name, Box::new(move || proxy.set(&mode))));
    }
    println!("{kind:?}");
    for (name, begin) in faults {
        let fresh = format!("fresh-{name}");
        server.put(&fresh, &fresh, json!({})).await;
        // A Redis that does not answer as it should cannot be logged in to either.
        let is_told = match name {
            "refusing" => Told::is_source_unavailable,
            _ => Told::is_undecided,
        };
        // A key that was looked up before changes were heard would not stand in.
        wait::until("changes are heard", async || {
            asked.metric("keyward_source_push_up", &["source="]).await > 0.5
        })
        .await;
        suffer(&asked, name, is_told, begin, || proxy.set(&Mode::Pass)).await;
    }
    assert!(asked.lookups("timeout").await >= 1.0);
    assert!(asked.lookups("error").await >= 1.0);
}

#[tokio::test]
async fn a_redis_that_fails_is_no_denial() {
    a_redis_suffers(Kind::Redis).await;
}

#[tokio::test]
async fn a_valkey_that_fails_is_no_denial() {
    a_redis_suffers(Kind::Valkey).await;
}

#[tokio::test]
async fn a_way_to_a_key_service_that_fails_is_no_denial() {
    let service = KeyService::start().await;
    service.put("cached", "cached", json!({}));
    let proxy = FaultProxy::of_http(service.address).await;
    let asked = Asked::start(&of("http", &keys_url(proxy.address))).await;
    for (name, begin) in of_the_way(&proxy) {
        let fresh = format!("fresh-{name}");
        service.put(&fresh, &fresh, json!({}));
        let end = || proxy.set(&Mode::Pass);
        suffer(&asked, name, told_of(name), begin, end).await;
    }
    assert!(asked.lookups("timeout").await >= 1.0);
    assert!(asked.lookups("error").await >= 1.0);
}

#[tokio::test]
async fn a_key_service_that_fails_is_no_denial() {
    let service = KeyService::start().await;
    service.put("cached", "cached", json!({}));
    let asked = Asked::start(&of("http", &keys_url(service.address))).await;
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
                // Half of nothing is all of it: what is unknown is answered with an error here.
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
        suffer(&asked, name, Told::is_overloaded, begin, end).await;
    }
}

#[tokio::test]
async fn past_its_bounds_a_cached_key_is_no_longer_allowed() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    let start = async |bounds: &str| {
        service.answer(Answer::Record);
        let url = keys_url(service.address);
        let asked = Asked::start(&format!(
            "source: {{http: {{url: \"{url}\", timeout: 5s}}}}\ncache: {bounds}\n"
        ))
        .await;
        assert_eq!(asked.said("k").await, "allowed");
        service.answer(Answer::reply("500 Internal Server Error", "", ""));
        asked
    };
    for bounds in ["{ttl: 1s}", "{ttl: 1s, stale_if_error: 1s}"] {
        let asked = start(bounds).await;
        asked.is_served_until_unavailable("k").await;
    }
    let asked = start("{ttl: 1s, stale_if_error: 1h}").await;
    wait::until("a stale key serves", async || {
        assert!(asked.ask("k").await.allowed());
        asked
            .metric("keyward_cache_lookups_total", &["result=\"stale\""])
            .await
            > 0.0
    })
    .await;
    // An answer that it is revoked is no error.
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.answer(Answer::Record);
    asked.becomes("k", "key_revoked").await;
}

#[tokio::test]
async fn a_key_that_was_revoked_unheard_does_not_stand_in_once_pushes_are_armed_again() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({}));
    service.put("other", "other", json!({}));
    let bounds = "cache: {ttl: 1h, negative_ttl: 1h";
    let config =
        with_events(service.address).replace(bounds, &format!("{bounds}, stale_if_error: 1h"));
    let asked = Asked::start(&config).await;
    let pushes_are = async |up: f64| {
        wait::until("the metric tells of the stream", async || {
            let is = asked.metric("keyward_source_push_up", &[]).await;
            is.to_bits() == up.to_bits()
        })
        .await;
    };
    pushes_are(1.0).await;
    for key in ["k", "other"] {
        asked.answers_from_memory(key).await;
    }
    service.end_streams(false);
    pushes_are(0.0).await;
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.answer(Answer::reply("500 Internal Server Error", "", ""));
    assert_eq!(asked.said("other").await, "allowed", "nothing is armed yet");
    service.serve_streams();
    pushes_are(1.0).await;
    for key in ["k", "other"] {
        let answer = asked.ask(key).await;
        assert!(answer.is_source_unavailable(), "{key}: {answer:?}");
    }
    service.answer(Answer::Record);
    asked.becomes("k", "key_revoked").await;
    asked.becomes("other", "allowed").await;
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
        for (fault, begin) in of_the_way(&proxy).into_iter().take(3) {
            begin();
            let source_url = match kind {
                None => keys_url(proxy.address),
                Some(_) => url(proxy.address),
            };
            let asked = Asked::start(&of(name, &source_url)).await;
            let answer = asked.ask("k").await;
            assert!(answer.is_undecided(), "{name}, {fault}: {answer:?}");
            if fault == "refusing" {
                assert!(answer.is_source_unavailable(), "{name}: {answer:?}");
            }
            let failing = asked.keyward.fetch("/readyz").await;
            assert_eq!(failing.status, 200, "{name}, {fault}: {failing:?}");
            assert!(is_up(&asked, 0.0).await);
            proxy.set(&Mode::Pass);
            let start = Instant::now();
            wait::some_within(RECOVERY, &format!("{name}, {fault}: found"), async || {
                let answer = asked.ask("k").await;
                assert!(answer.allowed() || answer.is_undecided(), "{answer:?}");
                answer.allowed().then_some(())
            })
            .await;
            println!(
                "{kind:?} {name}, {fault} at the start: found after {:?}",
                start.elapsed()
            );
            assert!(is_up(&asked, 1.0).await);
            wait::until("readyz tells the difference", async || {
                let well = asked.keyward.fetch("/readyz").await;
                assert_eq!(well.status, 200);
                well.problem()["source"] != failing.problem()["source"]
            })
            .await;
            let told = failing.text();
            assert!(told.contains(name), "{told}");
        }
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_nothing_is_an_error_too() {
    for (kind, url) in [
        ("redis", "redis://keyward-test.invalid:6379/0"),
        ("http", "http://keyward-test.invalid/v1/keys/{digest}"),
    ] {
        let asked = Asked::start(&of(kind, url)).await;
        let (answer, took) = timed(&asked, "k").await;
        println!("{kind}, no such name: {} in {took:?}", answer.said());
        assert!(answer.is_source_unavailable(), "{kind}: {answer:?}");
        assert_eq!(asked.keyward.fetch("/readyz").await.status, 200);
    }
}
