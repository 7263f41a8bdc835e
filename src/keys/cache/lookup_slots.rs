//! Lookup slots: how many lookups may be in flight at once, and which one is preempted.
//!
//! A flood of unknown digests takes all slots, and would keep out the keys in use when their
//! entries expire. So the lookup of a recently known digest that finds no slot free takes that of
//! the oldest lookup of an unknown digest, which ends at its next poll.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mutex::lock;
use tokio::sync::oneshot;

#[derive(Debug)]
struct State {
    free: usize,
    /// Lookups of unknown digests by number, so that the first is the oldest.
    preemptible: BTreeMap<u64, oneshot::Sender<()>>,
    last_number: u64,
}

/// The slots of a source.
#[derive(Debug, Clone)]
pub(super) struct LookupSlots(Arc<Mutex<State>>);

/// One of them, free again when it is dropped.
#[derive(Debug)]
pub(super) struct LookupSlot {
    slots: LookupSlots,
    /// For an unknown digest: its number, and a channel that closes when another lookup takes the
    /// slot.
    preemptible: Option<(u64, oneshot::Receiver<()>)>,
}

impl LookupSlots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: count,
            preemptible: BTreeMap::new(),
            last_number: 0,
        })))
    }

    /// A slot for the lookup of a digest; `None` where all are taken and none can be preempted.
    pub(super) fn take(&self, is_recently_known: bool) -> Option<LookupSlot> {
        let mut state = self.lock();
        if let Some(free) = state.free.checked_sub(1) {
            state.free = free;
        } else if is_recently_known {
            state.preemptible.pop_first()?;
        } else {
            return None;
        }
        let preemptible = (!is_recently_known).then(|| {
            state.last_number += 1;
            let (sender, receiver) = oneshot::channel();
            let number = state.last_number;
            state.preemptible.insert(number, sender);
            (number, receiver)
        });
        Some(LookupSlot {
            slots: self.clone(),
            preemptible,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl LookupSlot {
    /// Waits until another lookup has taken the slot.
    pub(super) async fn preempted(&mut self) {
        match &mut self.preemptible {
            Some((_, preempted)) => _ = preempted.await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for LookupSlot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        let is_ours = match &self.preemptible {
            Some((number, _)) => state.preemptible.remove(number).is_some(),
            None => true,
        };
        if is_ours {
            state.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn lookups_of_unknown_digests_are_preempted_by_those_of_recently_known_ones_alone() {
        let slots = LookupSlots::new(2);
        let mut first = slots.take(false).unwrap();
        let mut second = slots.take(false).unwrap();
        assert!(slots.take(false).is_none());
        let known = slots.take(true).unwrap();
        assert!(first.preempted().now_or_never().is_some());
        assert!(second.preempted().now_or_never().is_none());
        let other = slots.take(true).unwrap();
        assert!(second.preempted().now_or_never().is_some());
        assert!(slots.take(true).is_none(), "none is left to be preempted");
        // Their slots are others' already, and are not free because they go.
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
