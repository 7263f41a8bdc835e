//! When each of a key's secrets that have an id was last used, so that an operator sees whether the
//! old one of a rotation is still in use.
//!
//! A prepared key holds the series of its secrets by their position, so that a check finds the one
//! that it used by index. The list is locked when a key is prepared, at a reload
//! and at a scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::NEVER;
use crate::authz::key::{KeyRecord, Secret, SecretId};
use crate::mutex::lock;

/// Unix time in seconds at which a secret was last used.
type LastUsed = Arc<AtomicI64>;

/// The series of a key's secrets that have an id. Ordered, so that updating a record of many
/// secrets takes n log n steps.
#[derive(Debug, Default)]
pub(super) struct SecretList(Mutex<BTreeMap<SecretId, LastUsed>>);

/// The series that a prepared key holds, by the secret's position in the record; empty where no
/// secret has an id.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretSeries(Box<[Option<LastUsed>]>);

impl SecretList {
    /// Adds a series for each new id, and removes those whose secret is gone.
    pub(super) fn refresh(&self, record: &KeyRecord) {
        let secrets = record.secrets.iter();
        let ids: BTreeSet<&SecretId> = secrets.filter_map(|secret| secret.id.as_deref()).collect();
        let mut series = lock(&self.0);
        series.retain(|id, _| ids.contains(id));
        for id in ids {
            if !series.contains_key(id) {
                series.insert(id.clone(), Arc::new(AtomicI64::new(NEVER)));
            }
        }
    }

    /// The series of that record's secrets.
    pub(super) fn of_record(&self, record: &KeyRecord) -> SecretSeries {
        if record.secrets.iter().all(|secret| secret.id.is_none()) {
            return SecretSeries::default();
        }
        let series = lock(&self.0);
        let of = |secret: &Secret| series.get(secret.id.as_deref()?).cloned();
        SecretSeries(record.secrets.iter().map(of).collect())
    }

    /// All that were used, with the time, copied, so that a scrape does not hold the lock while it
    /// writes them.
    pub(super) fn used(&self) -> Vec<(SecretId, i64)> {
        let series = lock(&self.0);
        let moments = series
            .iter()
            .map(|(id, moment)| (id.clone(), moment.load(Ordering::Relaxed)));
        moments.filter(|(_, moment)| *moment != NEVER).collect()
    }
}

impl SecretSeries {
    /// Notes a use of the secret at that position.
    pub(super) fn used(&self, place: Option<usize>, now: Timestamp) {
        if let Some(Some(last_used)) = place.and_then(|place| self.0.get(place)) {
            last_used.store(now.as_second(), Ordering::Relaxed);
        }
    }
}
