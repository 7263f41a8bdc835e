//! The cache of a file's keys, and of a source that is slow, fails and changes, with a clock
//! that the test moves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use jiff::Timestamp;

use super::super::source::contract::{ScriptedSource, keeps_the_contract, records};
use super::super::source::{KeySource, LookupFuture, SourceAnswer};
use super::entries::{Entry, EntryState, EntryStore, KeyEntry, KnownKey};
use super::remote::MAX_LOOKUPS;
use super::*;
use crate::authz::key::tests::{digest_of, record};
use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::tests::policy;
use crate::clock::Clock;
use crate::observe::metrics::Metrics;

mod breaker;
mod entries;
mod failing;
mod file;
mod outage;
mod pushed;
mod remote;

/// A clock that stands still until it is moved.
#[derive(Default)]
struct StillClock(Mutex<Duration>);

impl StillClock {
    fn forward(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

fn cache_settings() -> CacheSettings {
    CacheSettings {
        capacity: 100,
        ttl: Duration::from_mins(1),
        negative_capacity: 10,
        negative_ttl: Duration::from_secs(5),
        stale_if_error: Duration::ZERO,
    }
}

fn snapshot(generation: u64, keys: Option<KeyMap>) -> Snapshot {
    Snapshot {
        generation: Generation(generation),
        policy: Arc::new(policy()),
        keys: keys.map(Arc::new),
    }
}

/// How often something was prepared, and a function that counts it and prepares the key's id.
fn counting() -> (Arc<AtomicUsize>, Prepare<String>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let prepare: Prepare<String> = Box::new(move |record, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        record.id.to_string()
    });
    (count, prepare)
}

/// What is prepared for the key that was found, or why none was.
fn shown(lookup: Result<Lookup<String>, LookupError>) -> String {
    match lookup {
        Ok(Lookup::Known(key)) => key.prepared.clone(),
        Ok(Lookup::Unknown) => "unknown".to_owned(),
        Ok(Lookup::Invalid(invalid)) => invalid.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The counters and gauges of the cache.
fn metrics_of(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("keyward_cache_") && !line.ends_with(" 0"));
    lines
        .map(|line| line.trim_start_matches("keyward_cache_").to_owned())
        .collect()
}
