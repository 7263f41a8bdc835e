//! Single-flight: concurrent lookups of one digest are one lookup.
//!
//! Callers that wait for a lookup poll it, and one that leaves does not cancel it for the others.
//! While `drive` runs, a lookup ends even after all callers have left, so that its result is there
//! for the next one; otherwise each caller would restart a lookup that always takes too long.
//! Without `drive`, as on the command line, it ends with its last caller. No task is spawned.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::future::{Shared, WeakShared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::authz::digest::{DigestHasher, KeyDigest};
use crate::mutex::lock;

type PendingLookup<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Table<T: Clone> {
    /// Each with the number that tells it from a later one of the same digest.
    in_flight: HashMap<KeyDigest, (u64, WeakShared<PendingLookup<T>>), DigestHasher>,
    last_number: u64,
    driver: Option<mpsc::UnboundedSender<Shared<PendingLookup<T>>>>,
}

/// The lookups in flight.
pub(super) struct SingleFlight<T: Clone>(Arc<Mutex<Table<T>>>);

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Table {
            in_flight: HashMap::default(),
            last_number: 0,
            driver: None,
        })))
    }

    /// The lookup in flight for that digest, or the one that `lookup` begins when it is first
    /// polled.
    pub(super) fn join<F>(
        &self,
        digest: &KeyDigest,
        lookup: impl FnOnce() -> F,
    ) -> Shared<PendingLookup<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut table = lock(&self.0);
        let in_flight = table.in_flight.get(digest);
        if let Some(joined) = in_flight.and_then(|(_, lookup)| lookup.upgrade()) {
            return joined;
        }
        table.last_number += 1;
        let number = table.last_number;
        let registration = Registration {
            table: Arc::clone(&self.0),
            digest: *digest,
            number,
        };
        let lookup = lookup();
        let lookup: PendingLookup<T> = Box::pin(async move {
            let _registration = registration;
            lookup.await
        });
        let lookup = lookup.shared();
        // Weak, so that a lookup that all callers have left is dropped unless `drive` holds it.
        if let Some(weak) = lookup.downgrade() {
            table.in_flight.insert(*digest, (number, weak));
        }
        if let Some(driver) = &table.driver {
            // Fails once `drive` has been dropped, and then the callers poll it.
            _ = driver.send(lookup.clone());
        }
        lookup
    }

    /// Drives every lookup that begins from now on to its end. Never ends.
    pub(super) async fn drive(&self) {
        // Holds no more lookups than there are callers: without a lookup slot, one ends at its
        // first poll.
        let (driver, mut begun) = mpsc::unbounded_channel();
        lock(&self.0).driver = Some(driver);
        let mut in_flight = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(lookup) = begun.recv() => in_flight.push(lookup),
                Some(_) = in_flight.next() => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).in_flight.len()
    }
}

/// Removes a lookup from the table when it is dropped, be it done or abandoned by all callers.
struct Registration<T: Clone> {
    table: Arc<Mutex<Table<T>>>,
    digest: KeyDigest,
    number: u64,
}

impl<T: Clone> Drop for Registration<T> {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        let in_flight = table.in_flight.get(&self.digest);
        if in_flight.is_some_and(|(number, _)| *number == self.number) {
            table.in_flight.remove(&self.digest);
        }
    }
}
