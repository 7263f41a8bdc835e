//! The per-key series: bounded in number, held with the cached key, removed with the key.
//!
//! A check holds the `KeySeries` of its key and does two atomic operations on it. The table that
//! finds a series by id is used only when a key is prepared, at a reload and at a scrape; it has
//! shards, each with a lock that is held for microseconds, so that the first check of a key does
//! not wait for a scrape either.

mod secrets;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use self::secrets::{SecretList, SecretSeries};
use super::exposition::{Exposition, MetricType};
use crate::authz::key::KeyRecord;
use crate::authz::reason::Reason;
use crate::authz::snapshot::Generation;
use crate::mutex::lock;

/// The id and the client of keys without series of their own. No real one begins with `_`.
const OTHER: &str = "_other";

/// With 10 000 series, 160 behind each lock: a scrape copies as many pointers while it holds it.
const SHARDS: usize = 64;

/// Seconds after which a series that nothing holds is idle.
const IDLE_SECONDS: i64 = 60 * 60;

/// No time.
const NEVER: i64 = i64::MIN;

/// One key, or all those without series of their own.
#[derive(Debug)]
struct Series {
    id: Arc<str>,
    client: Box<str>,
    /// By `Reason::index`. 170 bytes a key are cheaper than making counters when they are first
    /// needed.
    requests: [AtomicU64; Reason::ALL.len()],
    /// Unix time in seconds.
    last_used: AtomicI64,
    /// Unix time in seconds.
    expires: AtomicI64,
    /// The latest generation in which the key is known to exist.
    seen: AtomicU64,
    secrets: SecretList,
}

impl Series {
    fn new(id: Arc<str>, client: &str) -> Arc<Self> {
        Arc::new(Self {
            id,
            client: client.into(),
            requests: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            last_used: AtomicI64::new(NEVER),
            expires: AtomicI64::new(NEVER),
            seen: AtomicU64::new(0),
            secrets: SecretList::default(),
        })
    }

    fn refresh(&self, record: &KeyRecord, generation: Generation) {
        // A late call of an earlier generation must not undo a later one's.
        if self.seen.fetch_max(generation.0, Ordering::Relaxed) <= generation.0 {
            // The expiry of a revoked key does not matter any more.
            let end = record.expires_at().filter(|_| record.revoked_at.is_none());
            let expires = end.map_or(NEVER, Timestamp::as_second);
            self.expires.store(expires, Ordering::Relaxed);
            self.secrets.refresh(record);
        }
    }
}

/// A key's series: cheap to clone, held with the cached key.
#[derive(Debug, Clone)]
pub struct KeySeries {
    key: Arc<Series>,
    secrets: SecretSeries,
}

impl KeySeries {
    /// Counts a check in which the key was presented by the secret at that place, whether it was
    /// allowed or not.
    pub fn record(&self, reason: Reason, secret: Option<usize>, now: Timestamp) {
        if let Some(requests) = self.key.requests.get(reason.index()) {
            requests.fetch_add(1, Ordering::Relaxed);
        }
        self.key.last_used.store(now.as_second(), Ordering::Relaxed);
        self.secrets.used(secret, now);
    }
}

type Shard = HashMap<Arc<str>, Arc<Series>>;

/// All the series, by id.
#[derive(Debug)]
pub(super) struct KeyTable {
    max_keys: usize,
    /// How many series are in the shards.
    taken: AtomicUsize,
    /// The latest generation that `replace` was called with.
    generation: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    other: Arc<Series>,
}

impl KeyTable {
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            max_keys,
            taken: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            other: Series::new(OTHER.into(), OTHER),
        }
    }

    pub(super) fn series(&self, record: &KeyRecord, generation: Generation) -> KeySeries {
        let mut shard = self.shard(record.id.as_str());
        // `replace` sets the generation before it sweeps this shard: a series that is inserted here
        // is either swept or sees the new generation, so that a late check cannot bring back the
        // series of a removed key.
        let is_stale = generation.0 < self.generation.load(Ordering::Relaxed);
        let key = match self.existing(&mut shard, record, generation, is_stale) {
            Some(series) => series,
            None if is_stale || shard.contains_key(record.id.as_str()) => Arc::clone(&self.other),
            None => self
                .insert(&mut shard, record, generation, self.max_keys)
                .unwrap_or(Arc::clone(&self.other)),
        };
        let secrets = key.secrets.of_record(record);
        KeySeries { key, secrets }
    }

    /// Sets all the keys that exist; gives their number.
    pub(super) fn replace<'k>(
        &self,
        generation: Generation,
        keys: impl IntoIterator<Item = &'k KeyRecord>,
        now: Timestamp,
    ) -> usize {
        self.generation.fetch_max(generation.0, Ordering::Relaxed);
        let mut count = 0;
        let mut unplaced = Vec::new();
        for record in keys {
            count += 1;
            let known = self.existing(
                &mut self.shard(record.id.as_str()),
                record,
                generation,
                false,
            );
            if let (None, None, Some(expires)) = (known, record.revoked_at, record.expires_at()) {
                unplaced.push((expires, record));
            }
        }
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, series| series.seen.load(Ordering::Relaxed) >= generation.0);
            self.taken
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
        }

        let places = if count <= self.max_keys {
            self.max_keys
        } else {
            self.max_keys / 2
        };
        // Future expiries first, the soonest in front; then past ones.
        unplaced.sort_unstable_by_key(|(expires, _)| (*expires <= now, *expires));
        for (_, record) in unplaced {
            let mut shard = self.shard(record.id.as_str());
            if self
                .existing(&mut shard, record, generation, false)
                .is_none()
                && self
                    .insert(&mut shard, record, generation, places)
                    .is_none()
            {
                break;
            }
        }
        count
    }

    /// Removes series that were not used for an hour and are held by no cached key.
    pub(super) fn forget_idle(&self, now: Timestamp) {
        let since = now.as_second().saturating_sub(IDLE_SECONDS);
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            // A removed series that is still held would count unseen. New holders need the lock.
            shard.retain(|_, series| {
                Arc::strong_count(series) > 1 || series.last_used.load(Ordering::Relaxed) > since
            });
            self.taken
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn write(&self, exposition: &mut Exposition) {
        let mut all = Vec::with_capacity(self.taken.load(Ordering::Relaxed) + 1);
        for shard in &self.shards {
            all.extend(lock(shard).values().cloned());
        }
        all.sort_unstable_by(|one, two| one.id.cmp(&two.id));
        all.push(Arc::clone(&self.other));

        let name = "keyward_key_requests_total";
        let mut family = Family::new(
            name,
            MetricType::Counter,
            "Checks in which the key was presented; keys without a place of their own are counted as _other.",
        );
        for series in &all {
            for (reason, requests) in Reason::ALL.iter().zip(&series.requests) {
                let requests = requests.load(Ordering::Relaxed);
                if requests > 0 {
                    family.sample(
                        exposition,
                        series,
                        &[reason.kind().as_str(), reason.as_str()],
                        requests,
                    );
                }
            }
        }
        let mut family = Family::new(
            "keyward_key_expiry_timestamp_seconds",
            MetricType::Gauge,
            "Unix time from which on none of the key's secrets is valid, in seconds; absent where one never expires.",
        );
        for series in &all {
            family.moment(exposition, series, &series.expires);
        }
        let mut family = Family::new(
            "keyward_key_last_used_timestamp_seconds",
            MetricType::Gauge,
            "Unix time of the last check in which the key was presented, allowed or not, in seconds.",
        );
        for series in all
            .iter()
            .filter(|series| !Arc::ptr_eq(series, &self.other))
        {
            family.moment(exposition, series, &series.last_used);
        }
        let mut family = Family::new(
            "keyward_key_secret_last_used_timestamp_seconds",
            MetricType::Gauge,
            "Unix time of the last check in which this secret of the key was presented, allowed or not, in seconds; of secrets with an id.",
        );
        for series in &all {
            for (id, moment) in series.secrets.used() {
                family.begin(exposition);
                let labels = [
                    ("key_id", &*series.id),
                    ("client", &*series.client),
                    ("secret", id.as_str()),
                ];
                exposition.sample(family.name, &labels, moment);
            }
        }
    }

    /// The updated series of that key. One of another client is replaced by a new one.
    fn existing(
        &self,
        shard: &mut Shard,
        record: &KeyRecord,
        generation: Generation,
        is_stale: bool,
    ) -> Option<Arc<Series>> {
        let series = shard.get(record.id.as_str())?;
        if *series.client != *record.client() {
            if is_stale || generation.0 < series.seen.load(Ordering::Relaxed) {
                return None;
            }
            shard.remove(record.id.as_str());
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return self.insert(shard, record, generation, self.max_keys);
        }
        series.refresh(record, generation);
        Some(Arc::clone(series))
    }

    /// A new series, if fewer than `places` are taken.
    fn insert(
        &self,
        shard: &mut Shard,
        record: &KeyRecord,
        generation: Generation,
        places: usize,
    ) -> Option<Arc<Series>> {
        let take = |taken| (taken < places).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        let series = Series::new(record.id.as_str().into(), record.client());
        series.refresh(record, generation);
        shard.insert(Arc::clone(&series.id), Arc::clone(&series));
        Some(series)
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        let [first, ..] = self.hasher.hash_one(id).to_le_bytes();
        let [other, rest @ ..] = &self.shards;
        // The first shard also stands in for an index out of range, which there is none.
        let place = usize::from(first) % SHARDS;
        lock(
            place
                .checked_sub(1)
                .and_then(|place| rest.get(place))
                .unwrap_or(other),
        )
    }
}

/// A family of per-key series. Its header is written with the first sample, so that a family
/// without samples has none.
struct Family {
    name: &'static str,
    metric_type: MetricType,
    help: &'static str,
    is_begun: bool,
}

impl Family {
    fn new(name: &'static str, metric_type: MetricType, help: &'static str) -> Self {
        Self {
            name,
            metric_type,
            help,
            is_begun: false,
        }
    }

    fn begin(&mut self, exposition: &mut Exposition) {
        if !std::mem::replace(&mut self.is_begun, true) {
            exposition.family(self.name, self.metric_type, self.help);
        }
    }

    fn sample(
        &mut self,
        exposition: &mut Exposition,
        series: &Series,
        [decision, reason]: &[&str; 2],
        value: u64,
    ) {
        self.begin(exposition);
        let labels = [
            ("key_id", &*series.id),
            ("client", &*series.client),
            ("decision", decision),
            ("reason", reason),
        ];
        exposition.sample(self.name, &labels, value);
    }

    fn moment(&mut self, exposition: &mut Exposition, series: &Series, moment: &AtomicI64) {
        let moment = moment.load(Ordering::Relaxed);
        if moment != NEVER {
            self.begin(exposition);
            exposition.sample(
                self.name,
                &[("key_id", &series.id), ("client", &series.client)],
                moment,
            );
        }
    }
}
