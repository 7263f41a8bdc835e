//! How many lookups may be under way at once, and who makes room for whom.
//!
//! A flood of digests that nobody has takes every place there is, and would keep out the keys in use when their time is over. So
//! whoever asks for a digest that was recently known and finds all places taken gets that of the stranger who came first, whose
//! lookup ends at its next turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug)]
struct Taken {
    free: usize,
    /// By number, so that the first is the one who came first.
    unknown: BTreeMap<u64, oneshot::Sender<()>>,
    last_number: u64,
}

/// The places for lookups.
#[derive(Debug, Clone)]
pub(super) struct LookupSlots(Arc<Mutex<Taken>>);

/// One of them, free again when it is dropped.
#[derive(Debug)]
pub(super) struct LookupSlot {
    slots: LookupSlots,
    unknown: Option<(u64, oneshot::Receiver<()>)>,
}

impl LookupSlots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            free: count,
            unknown: BTreeMap::new(),
            last_number: 0,
        })))
    }

    /// A place for a digest that was recently known or for a stranger's; `None` where all are taken.
    pub(super) fn take(&self, recently_known: bool) -> Option<LookupSlot> {
        let mut taken = self.lock();
        if let Some(free) = taken.free.checked_sub(1) {
            taken.free = free;
        } else if recently_known {
            // Dropping the other end tells the stranger.
            taken.unknown.pop_first()?;
        } else {
            return None;
        }
        let unknown = (!recently_known).then(|| {
            taken.last_number += 1;
            let (keep, told) = oneshot::channel();
            let number = taken.last_number;
            taken.unknown.insert(number, keep);
            (number, told)
        });
        Some(LookupSlot {
            slots: self.clone(),
            unknown,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Every change is whole before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LookupSlot {
    /// Waits until somebody else has got the place.
    pub(super) async fn preempted(&mut self) {
        match &mut self.unknown {
            Some((_, told)) => _ = told.await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for LookupSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        let is_ours = match &self.unknown {
            Some((number, _)) => taken.unknown.remove(number).is_some(),
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
        let slots = LookupSlots::new(2);
        let mut first = slots.take(false).unwrap();
        let mut second = slots.take(false).unwrap();
        assert!(slots.take(false).is_none());
        let known = slots.take(true).unwrap();
        assert!(first.preempted().now_or_never().is_some());
        assert!(second.preempted().now_or_never().is_none());
        let other = slots.take(true).unwrap();
        assert!(second.preempted().now_or_never().is_some());
        assert!(slots.take(true).is_none(), "nobody is left to make room");
        // Their places are others' already, and are not free because they go.
        drop((first, second));
        assert!(slots.take(false).is_none());
        drop(known);
        let third = slots.take(false).unwrap();
        assert!(slots.take(false).is_none());
        drop((other, third));
        assert!(slots.take(false).is_some() && slots.take(true).is_some());
        assert_eq!(slots.lock().free, 2);
    }
}
