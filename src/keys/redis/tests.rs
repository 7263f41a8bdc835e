//! The source over real servers: Redis and Valkey, each started by its test.
//!
//! What is shared by the tests is here: settings, the records of the contract as they lie in Redis,
//! a source that is followed, and waiting for something to become so. Nothing sleeps to be in time
//! with something else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::super::invalidation::{EntryValidity, InvalidationLog};
use super::super::source::contract::{keeps_the_contract, records};
use super::read::invalid;
use super::*;
use crate::authz::key::KeyRecord;
use crate::authz::key::tests::digest_of;
use crate::clock::SystemClock;
use crate::redis::{RedisServers, RedisSettings};
use crate::tls::ClientTlsFiles;

pub(crate) mod cluster;
mod failing;
mod following;
mod login;
mod lookups;
mod refusing;
mod secured;
mod sentinel;
pub(crate) mod server;
mod trust;

pub(crate) use server::{Program, Server};

/// How long to wait for a condition; only a failing test waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Settings for one server, with a timeout that a loaded machine keeps.
pub(crate) fn settings(url: &str) -> RedisSourceSettings {
    settings_for(RedisServers::One(url.parse().unwrap()))
}

pub(crate) fn settings_for(servers: RedisServers) -> RedisSourceSettings {
    RedisSourceSettings {
        redis: RedisSettings {
            servers,
            username: None,
            password_file: None,
            tls: ClientTlsFiles::default(),
        },
        prefix: "keyward:".to_owned(),
        timeout: Duration::from_secs(5),
        push: PushMode::Auto,
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

pub(crate) fn source(url: &str) -> RedisSource {
    RedisSource::new(settings(url), clock()).unwrap()
}

/// Sends a command and panics if it fails.
pub(crate) async fn run(connection: &mut impl redis::aio::ConnectionLike, words: &[&str]) -> Value {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    let answer = command.query_async(connection).await;
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// A record as it is stored in Redis.
pub(crate) fn json_of(record: &KeyRecord) -> String {
    let secrets: Vec<_> = record
        .secrets
        .iter()
        .map(|secret| serde_json::json!({"digest": secret.digest.to_string()}))
        .collect();
    serde_json::json!({"id": record.id.as_str(), "secrets": secrets}).to_string()
}

/// Stores the records of the contract.
pub(crate) async fn fill(connection: &mut impl redis::aio::ConnectionLike) {
    for record in records() {
        put(connection, &record).await;
    }
}

pub(crate) async fn put(connection: &mut impl redis::aio::ConnectionLike, record: &KeyRecord) {
    let layout = Layout::new("keyward:");
    for secret in &record.secrets {
        let entry = layout.digest(&secret.digest);
        run(connection, &["SET", &entry, record.id.as_str()]).await;
    }
    run(
        connection,
        &["SET", &layout.key(&record.id), &json_of(record)],
    )
    .await;
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "never: {what}");
}

/// Follows a source while `body` runs.
pub(crate) async fn followed(source: &RedisSource, body: impl AsyncFnOnce(Arc<InvalidationLog>)) {
    followed_and_counted(source, None, body).await;
}

/// Follows, with a count of what is pushed.
pub(crate) async fn followed_and_counted(
    source: &RedisSource,
    heard: Option<IntCounter>,
    body: impl AsyncFnOnce(Arc<InvalidationLog>),
) {
    let log = InvalidationLog::new("redis", true, Arc::new(SystemClock::new()));
    let log = Arc::new(log.with_metrics(heard, None));
    tokio::select! {
        () = source.follow(Arc::clone(&log)) => unreachable!("a source is followed for ever"),
        () = body(log) => {}
    }
}

pub(crate) async fn until_subscribed(log: &InvalidationLog) {
    until("subscribed", async || log.is_subscribed()).await;
}

pub(crate) async fn until_unsubscribed(log: &InvalidationLog) {
    until("unsubscribed", async || !log.is_subscribed()).await;
}

/// The validity of an entry of the key `a` with that version.
pub(crate) fn validity_of_a(
    log: &InvalidationLog,
    version: super::super::invalidation::Version,
) -> EntryValidity {
    let buckets = [log.bucket_of_id("a"), log.bucket_of_digest(&digest_of("a"))];
    log.validity(version, buckets)
}

/// Makes a change and waits until the entry of `a` is invalidated.
pub(crate) async fn is_invalidated(name: &str, log: &InvalidationLog, change: impl AsyncFnOnce()) {
    let version = log.version();
    assert_ne!(
        validity_of_a(log, version),
        EntryValidity::Outdated,
        "{name}"
    );
    change().await;
    until(name, async || {
        validity_of_a(log, version) == EntryValidity::Outdated
    })
    .await;
}

pub(crate) async fn found(source: &RedisSource, secret: &str) -> Result<SourceAnswer, SourceError> {
    let reply = source.lookup(&digest_of(secret)).await;
    reply.map(|reply| reply.answer)
}

/// Whether the key `a` is found by its secret.
pub(crate) async fn finds_a(source: &RedisSource) -> bool {
    matches!(found(source, "a").await, Ok(SourceAnswer::Found(_)))
}

/// Why a lookup failed.
pub(crate) async fn failure(source: &RedisSource) -> String {
    match found(source, "a").await {
        Err(error) => error.to_string(),
        Ok(answer) => panic!("{answer:?}"),
    }
}

/// How often a command was sent, refused ones included.
pub(crate) async fn sent(client: &mut MultiplexedConnection, command: &str) -> u32 {
    let info = run(client, &["INFO", "commandstats"]).await;
    let info: String = redis::from_redis_value(info).unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
    let counts = line.unwrap_or_default().split(',').filter_map(|field| {
        let (name, count) = field.split_once('=')?;
        let is_count = matches!(name, "calls" | "rejected_calls");
        is_count.then(|| count.parse::<u32>().unwrap())
    });
    counts.sum()
}
