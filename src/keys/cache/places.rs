//! How many lookups may be under way at once, and who makes room for whom.
//!
//! A flood of digests that nobody has takes every place there is, and would keep out the keys in use when their time is over. So
//! whoever asks for a digest that was known lately and finds all places taken gets that of the stranger who came first, whose
//! lookup ends at its next turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug)]
struct Taken {
    free: usize,
    /// By number, so that the first is the one who came first.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    last_number: u64,
}

/// The places for lookups.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<Taken>>);

/// One of them, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    stranger: Option<(u64, oneshot::Receiver<()>)>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            free: count,
            strangers: BTreeMap::new(),
            last_number: 0,
        })))
    }

    /// A place for a digest that was known lately or for a stranger's; `None` where all are taken.
    pub(super) fn take(&self, known_lately: bool) -> Option<Place> {
        let mut taken = self.lock();
        if let Some(free) = taken.free.checked_sub(1) {
            taken.free = free;
        } else if known_lately {
            // Dropping the other end tells the stranger.
            taken.strangers.pop_first()?;
        } else {
            return None;
        }
        let stranger = (!known_lately).then(|| {
            taken.last_number += 1;
            let (keep, told) = oneshot::channel();
            let number = taken.last_number;
            taken.strangers.insert(number, keep);
            (number, told)
        });
        Some(Place {
            places: self.clone(),
            stranger,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Every change is whole before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until somebody else has got the place.
    pub(super) async fn withdrawn(&mut self) {
        match &mut self.stranger {
            Some((_, told)) => _ = told.await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let is_ours = match &self.stranger {
            Some((number, _)) => taken.strangers.remove(number).is_some(),
            None => true,
        };
        if is_ours {
            taken.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn strangers_make_room_for_who_was_known_lately_and_for_nobody_else() {
        let places = Places::new(2);
        let mut first = places.take(false).unwrap();
        let mut second = places.take(false).unwrap();
        assert!(places.take(false).is_none());
        let known = places.take(true).unwrap();
        assert!(first.withdrawn().now_or_never().is_some());
        assert!(second.withdrawn().now_or_never().is_none());
        let other = places.take(true).unwrap();
        assert!(second.withdrawn().now_or_never().is_some());
        assert!(places.take(true).is_none(), "nobody is left to make room");
        // Their places are others' already, and are not free because they go.
        drop((first, second));
        assert!(places.take(false).is_none());
        drop(known);
        let third = places.take(false).unwrap();
        assert!(places.take(false).is_none());
        drop((other, third));
        assert!(places.take(false).is_some() && places.take(true).is_some());
        assert_eq!(places.lock().free, 2);
    }
}
