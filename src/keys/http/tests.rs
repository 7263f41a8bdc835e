//! Tests of the HTTP source against real servers on this machine: what it asks, what it makes of
//! answers, and what it never says.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use self::server::{Reply, Server, reply};
use super::super::source::contract::{keeps_the_contract, records};
use super::*;
use crate::authz::key::tests::digest_of;
use crate::clock::SystemClock;
use crate::tls::ClientTlsFiles;

mod events;
mod files;
mod outages;
mod rotation;
mod secured;
mod server;

/// Long enough for any machine, where no wait is what is tested.
const PATIENCE: Duration = Duration::from_secs(20);

/// What no text may hold.
const CANARY: &str = "canary-d41d8cd9";

fn settings(base: &str) -> HttpSettings {
    HttpSettings {
        url: format!("{base}/keys/{{kind}}/{{digest}}").parse().unwrap(),
        timeout: PATIENCE,
        bearer_token_file: None,
        tls: ClientTlsFiles::default(),
        max_in_flight: 256,
        events_url: None,
    }
}

/// A source that does not wait long where waiting is what it does.
fn source(settings: HttpSettings) -> HttpSource {
    let mut source = HttpSource::new(settings, Arc::new(SystemClock::new())).unwrap();
    source.timing = Timing {
        skip_timeout: PATIENCE,
        poll_interval: Duration::from_millis(20),
        connect_timeout: PATIENCE,
        min_backoff: Duration::from_millis(5),
        max_backoff: Duration::from_millis(20),
        min_silence: Duration::from_millis(300),
    };
    source
}

/// The record, as JSON, of the key of `records()` that has the digest in the path.
fn record_for(path: &str) -> Option<String> {
    let has = |secret: &crate::authz::key::Secret| path == path_of(&secret.digest);
    let record = records()
        .into_iter()
        .find(|record| record.secrets.iter().any(has))?;
    let digests = record.secrets.iter().map(|secret| {
        let digest = &secret.digest;
        format!(
            r#"{{"digest":"{}:{}"}}"#,
            digest.kind().as_str(),
            digest.hex()
        )
    });
    let digests = digests.collect::<Vec<_>>().join(",");
    Some(format!(r#"{{"id":"{}","secrets":[{digests}]}}"#, record.id))
}

fn path_of(digest: &KeyDigest) -> String {
    format!("/keys/{}/{}", digest.kind().as_str(), digest.hex())
}

/// Answers as a service that holds `records()` should.
fn serve(request: &Request<Incoming>) -> Response<Reply> {
    match record_for(request.uri().path()) {
        Some(record) => reply(StatusCode::OK, record),
        None => reply(StatusCode::NOT_FOUND, "no such key"),
    }
}

/// Polls until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let polled = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, polled).await.is_ok(),
        "never came: {what}"
    );
}

/// Does something while the source is followed.
async fn followed<T>(
    source: &HttpSource,
    log: Arc<InvalidationLog>,
    test: impl Future<Output = T>,
) -> T {
    tokio::select! {
        () = source.follow(log) => panic!("following ended"),
        done = test => done,
    }
}

#[tokio::test]
async fn an_http_source_keeps_the_contract() {
    let server = Server::start(serve).await;
    keeps_the_contract(&source(settings(&server.url()))).await;
}

#[tokio::test]
async fn a_lookup_asks_for_the_digest_and_says_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, format!("{CANARY}\n")).unwrap();
    let server = Server::start(|request| {
        let mut response = serve(request);
        let cookie = HeaderValue::from_static("a=b");
        response.headers_mut().insert("set-cookie", cookie);
        response
    })
    .await;
    let source = source(HttpSettings {
        bearer_token_file: Some(token_file.into()),
        ..settings(&server.url())
    });
    for secret in ["a", "no key", "a"] {
        source.lookup(&digest_of(secret)).await.unwrap();
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for request in &asked {
        assert_eq!(request.method, "GET");
        let header = |name: &str| request.headers.get(name).map(|v| v.to_str().unwrap());
        assert_eq!(header("accept"), Some("application/json"));
        assert_eq!(header("accept-encoding"), Some("identity"));
        let token = format!("Bearer {CANARY}");
        assert_eq!(header("authorization"), Some(token.as_str()));
        let agent = concat!("keyward/", env!("CARGO_PKG_VERSION"));
        assert_eq!(header("user-agent"), Some(agent));
        assert_eq!(header("cookie"), None);
        assert_eq!(header("referer"), None);
    }
    assert_eq!(asked[0].uri.path(), path_of(&digest_of("a")));
    assert_eq!(server.connections(), 1, "the connection is used again");
    assert!(!format!("{source:?}").contains(CANARY));
    let held = (source.token.load(), source.clients.load());
    assert!(!format!("{held:?}").contains(CANARY));
}

#[tokio::test]
async fn what_is_json_and_no_record_is_the_services_answer() {
    let digest = digest_of("a");
    let hex = digest.hex();
    let others = digest_of("b").hex();
    let long = format!(
        r#"{{"id":"a","secrets":[{{"digest":"blake3:{hex}"}}]{}}}"#,
        " ".repeat(200 * 1024)
    );
    for (what, body, is_found) in [
        (
            "a record in white space",
            format!("\n{}\n", record_for(&path_of(&digest)).unwrap()),
            true,
        ),
        ("a long record", long, true),
        ("null", "null".to_owned(), false),
        ("a list", "[]".to_owned(), false),
        ("nothing in it", "{}".to_owned(), false),
        ("deep", "[".repeat(1000) + &"]".repeat(1000), false),
        (
            "another's record",
            format!(r#"{{"id":"a","secrets":[{{"digest":"blake3:{others}"}}]}}"#),
            false,
        ),
        (
            "a repeated member",
            format!(r#"{{"id":"a","id":"a","secrets":[{{"digest":"blake3:{hex}"}}]}}"#),
            false,
        ),
    ] {
        let server = Server::start(move |_| reply(StatusCode::OK, body.clone())).await;
        let answered = source(settings(&server.url())).lookup(&digest).await;
        match answered.unwrap().answer {
            SourceAnswer::Found(record) => assert!(is_found && record.id.as_str() == "a", "{what}"),
            SourceAnswer::Invalid(_) => assert!(!is_found, "{what}"),
            SourceAnswer::NotFound => panic!("{what} is taken for no key"),
        }
    }
}

#[tokio::test]
async fn an_answer_may_say_how_long_it_holds() {
    for (cache_control, want) in [
        ("public", None),
        ("max-age=60", Some(20)),
        ("max-age=30", Some(0)),
        ("no-store", Some(0)),
    ] {
        let server = Server::start(move |request| {
            let mut response = serve(request);
            let headers = response.headers_mut();
            headers.insert("cache-control", cache_control.parse().unwrap());
            headers.insert("age", "40".parse().unwrap());
            response
        })
        .await;
        let source = source(settings(&server.url()));
        for secret in ["a", "no key"] {
            let reply = source.lookup(&digest_of(secret)).await.unwrap();
            let want = want.map(Duration::from_secs);
            assert_eq!(reply.max_age, want, "{cache_control} of {secret}");
        }
    }
}
