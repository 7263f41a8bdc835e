//! The id of one decision: a `UUIDv7` (RFC 9562 section 5.7), new for each check.
//!
//! It alone connects an access log entry with a decision, since callers can choose `x-request-id`.
//! Serving threads share one counter and no lock: the count and a random start give the bits beside
//! the time, so that no two decisions of a process share an id, and those of two processes collide
//! no more often than random numbers do. It is no secret.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// Generates the ids of a process.
#[derive(Debug)]
pub struct DecisionIds {
    count: AtomicU64,
    seed: u64,
}

impl Default for DecisionIds {
    /// Starts at a random count, from the randomness that seeds the standard library's hashers.
    fn default() -> Self {
        Self::starting_at(
            RandomState::new().hash_one(0),
            RandomState::new().hash_one(1),
        )
    }
}

impl DecisionIds {
    const fn starting_at(count: u64, seed: u64) -> Self {
        Self {
            count: AtomicU64::new(count),
            seed,
        }
    }

    /// An unused id, for a decision at that time.
    pub fn next(&self, now: Timestamp) -> Uuid {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let [low, high, ..] = count.to_le_bytes();
        let bits = [high, low].into_iter();
        let bits = bits.chain(mixed(count ^ self.seed).to_be_bytes());
        let mut random = [0; 10];
        random
            .iter_mut()
            .zip(bits)
            .for_each(|(slot, byte)| *slot = byte);
        // Of the first two bytes twelve bits are kept, of the others 62: ids of one millisecond
        // that shared the latter would still differ in the count.
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// A permutation of the 64-bit numbers that sends neighbours far apart (the finalizer of
/// `SplitMix64`).
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_of_version_seven_and_tell_the_time() {
        let ids = DecisionIds::default();
        let now = Timestamp::from_millisecond(1_790_000_000_123).unwrap();
        let id = ids.next(now);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.as_u128() >> 80, 1_790_000_000_123);
    }

    #[test]
    fn no_id_comes_twice_from_one_process_or_two() {
        let (one, other) = (DecisionIds::default(), DecisionIds::default());
        let now = Timestamp::UNIX_EPOCH;
        let ids: HashSet<Uuid> = (0..20_000)
            .flat_map(|_| [one.next(now), other.next(now)])
            .collect();
        assert_eq!(ids.len(), 40_000);
    }

    #[test]
    fn threads_that_share_the_ids_get_different_ones() {
        let ids = DecisionIds::default();
        let taken: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
            let take = || {
                (0..5_000)
                    .map(|_| ids.next(Timestamp::UNIX_EPOCH))
                    .collect()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let all: HashSet<Uuid> = taken.into_iter().flatten().collect();
        assert_eq!(all.len(), 20_000);
    }
}
