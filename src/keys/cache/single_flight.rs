//! Lookups under way: all who want one digest share one.
//!
//! Whoever waits for a flight drives it, and one who leaves does not take it along. Where `drive` runs it lands even when all have
//! left: what it brings is there for the next, who would else begin anew what always took too long. Where it does not, as on
//! the command line, a flight ends with the last who waits. No task is started for it, and none is left behind.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Shared, WeakShared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use super::super::invalidation::Version;
use super::super::source::{SourceAnswer, SourceError};
use crate::authz::digest::{DigestHasher, KeyDigest};

/// How a lookup ended.
#[derive(Debug, Clone)]
pub(super) struct LookupOutcome {
    /// The answer, or the failure, for all who waited.
    pub(super) answer: Result<SourceAnswer, SourceError>,
    /// When the source was asked, on the monotonic clock.
    pub(super) asked_at: Duration,
    /// How long the answer is fresh from then on.
    pub(super) fresh_for: Duration,
    /// What had been heard of changes at that moment.
    pub(super) version: Version,
}

type Flight = Pin<Box<dyn Future<Output = LookupOutcome> + Send>>;

#[derive(Default)]
struct Open {
    single_flight: HashMap<KeyDigest, (u64, WeakShared<Flight>), DigestHasher>,
    last_number: u64,
    /// Brings flights to their end.
    driver: Option<mpsc::UnboundedSender<Shared<Flight>>>,
}

/// The flights under way.
#[derive(Default)]
pub(super) struct SingleFlight(Arc<Mutex<Open>>);

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Every change is whole before anything could panic.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SingleFlight {
    /// The flight for that digest: the open one, or one that `lookup` begins when it is first waited for.
    pub(super) fn join<F>(&self, digest: &KeyDigest, lookup: impl FnOnce() -> F) -> Shared<Flight>
    where
        F: Future<Output = LookupOutcome> + Send + 'static,
    {
        let mut open = lock(&self.0);
        if let Some(flight) = open
            .single_flight
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
            open.single_flight.insert(*digest, (number, weak));
        }
        if let Some(driver) = &open.driver {
            // Fails once `drive` has been dropped, and then those who wait drive it.
            _ = driver.send(flight.clone());
        }
        flight
    }

    /// Brings every flight to its end that begins from now on. Never ends.
    pub(super) async fn drive(&self) {
        // No more wait here than there are callers: what finds no place for its lookup ends at its first turn.
        let (driver, mut begun) = mpsc::unbounded_channel();
        lock(&self.0).driver = Some(driver);
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(flight) = begun.recv() => under_way.push(flight),
                Some(_) = under_way.next() => {}
            }
        }
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).single_flight.len()
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
            .single_flight
            .get(&self.digest)
            .is_some_and(|(number, _)| *number == self.number)
        {
            open.single_flight.remove(&self.digest);
        }
    }
}
