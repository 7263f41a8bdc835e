//! Lookups under way: all who want one digest share one.
//!
//! A flight belongs to those who wait for it and to nobody else: whoever waits drives it, one who leaves does not take
//! it along, and when the last has left it ends. No task is started for it, and none is left behind.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};

use super::super::source::{SourceAnswer, SourceError};
use crate::authz::digest::{DigestHasher, KeyDigest};

/// How a lookup ended.
#[derive(Debug, Clone)]
pub(super) struct Landed {
    /// The answer, or the failure, for all who waited.
    pub(super) answer: Result<SourceAnswer, SourceError>,
    /// When the source was asked, on the monotonic clock.
    pub(super) asked_at: Duration,
    /// The shelf's epoch at that moment.
    pub(super) epoch: u64,
}

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

#[derive(Default)]
struct Open {
    flights: HashMap<KeyDigest, (u64, WeakShared<Flight>), DigestHasher>,
    last_number: u64,
}

/// The flights that somebody waits for.
#[derive(Default)]
pub(super) struct Flights(Arc<Mutex<Open>>);

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Every change is whole before anything could panic.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// The flight for that digest: the open one, or one that `lookup` begins when it is first waited for.
    pub(super) fn join<F>(&self, digest: &KeyDigest, lookup: impl FnOnce() -> F) -> Shared<Flight>
    where
        F: Future<Output = Landed> + Send + 'static,
    {
        let mut open = lock(&self.0);
        if let Some(flight) = open
            .flights
            .get(digest)
            .and_then(|(_, flight)| flight.upgrade())
        {
            return flight;
        }
        open.last_number += 1;
        let number = open.last_number;
        let lookup = lookup();
        let entry = Entry {
            open: Arc::clone(&self.0),
            digest: *digest,
            number,
        };
        let flight: Flight = Box::pin(async move {
            let _entry = entry;
            lookup.await
        });
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            open.flights.insert(*digest, (number, weak));
        }
        flight
    }

    /// Lets no one join a flight that is under way.
    pub(super) fn close(&self) {
        lock(&self.0).flights.clear();
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).flights.len()
    }
}

/// A flight's place in the table, which goes with the flight.
struct Entry {
    open: Arc<Mutex<Open>>,
    digest: KeyDigest,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        // Its place may be another's already.
        if open
            .flights
            .get(&self.digest)
            .is_some_and(|(number, _)| *number == self.number)
        {
            open.flights.remove(&self.digest);
        }
    }
}
