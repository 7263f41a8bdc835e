//! All keys of a file, by digest: part of a file source's `Snapshot`.
//!
//! Immutable once built; a reload builds another one. Ids and digests are unique in it, which is
//! checked here because only here all keys are seen together.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::digest::{DigestHasher, KeyDigest};
use super::key::{KeyRecord, Secret};

/// Up to so many secrets of a key are compared one by one.
const COMPARED_IN_PLACE: usize = 16;

/// The keys of a file.
#[derive(Debug, Default)]
pub struct KeyMap {
    records: Vec<Arc<KeyRecord>>,
    /// Indices of records, found by the digests that the records hold: no digest is stored twice.
    by_digest: HashTable<u32>,
    hasher: DigestHasher,
}

/// Two records share what must be one record's alone. Numbers count records from 0, in the order
/// given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// Two keys have one id.
    Id {
        /// The earlier record.
        first: usize,
        /// The later record.
        second: usize,
    },
    /// Two secrets, of one key or of two, have one digest.
    Digest {
        /// The earlier record.
        first: usize,
        /// The later record, and which of its secrets.
        second: (usize, usize),
    },
}

impl KeyMap {
    /// A map of these records.
    ///
    /// # Errors
    /// Every id and digest that is there more than once.
    pub fn new(records: Vec<Arc<KeyRecord>>) -> Result<Self, Vec<Repeated>> {
        let hasher = DigestHasher::default();
        let secrets = records.iter().map(|record| record.secrets.len()).sum();
        let mut by_digest: HashTable<u32> = HashTable::with_capacity(secrets);
        let mut ids: HashMap<&str, usize> = HashMap::with_capacity(records.len());
        let mut repeated = Vec::new();
        for (second, record) in records.iter().enumerate() {
            match ids.entry(record.id.as_str()) {
                Entry::Vacant(free) => _ = free.insert(second),
                Entry::Occupied(taken) => {
                    let first = *taken.get();
                    repeated.push(Repeated::Id { first, second });
                }
            }
            let Ok(number) = u32::try_from(second) else {
                break;
            };
            // For many secrets a set is faster than comparing with all earlier ones.
            let is_long = record.secrets.len() > COMPARED_IN_PLACE;
            let mut seen = HashSet::with_hasher(hasher.clone());
            for (place, Secret { digest, .. }) in record.secrets.iter().enumerate() {
                let hash = hasher.hash_one(digest);
                let in_another = by_digest
                    .find(hash, |taken| {
                        *taken != number && holds(&records, *taken, digest)
                    })
                    .and_then(|taken| usize::try_from(*taken).ok());
                let mut earlier = record.secrets.iter().take(place);
                let in_itself = if is_long {
                    !seen.insert(digest)
                } else {
                    earlier.any(|secret| secret.digest == *digest)
                };
                if let Some(first) = in_another.or(in_itself.then_some(second)) {
                    let second = (second, place);
                    repeated.push(Repeated::Digest { first, second });
                    continue;
                }
                // There is room for every secret, so the table never rehashes.
                by_digest.insert_unique(hash, number, |_| hash);
            }
        }
        drop(ids);
        if !repeated.is_empty() {
            return Err(repeated);
        }
        Ok(Self {
            records,
            by_digest,
            hasher,
        })
    }

    /// The key that has a secret with that digest.
    pub fn get(&self, digest: &KeyDigest) -> Option<&Arc<KeyRecord>> {
        let hash = self.hasher.hash_one(digest);
        let found = self
            .by_digest
            .find(hash, |number| holds(&self.records, *number, digest));
        self.records.get(usize::try_from(*found?).ok()?)
    }

    /// Every key, by its number.
    pub fn records(&self) -> &[Arc<KeyRecord>] {
        &self.records
    }

    /// Every key, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.records.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Whether the record of that number has a secret with that digest.
fn holds(records: &[Arc<KeyRecord>], number: u32, digest: &KeyDigest) -> bool {
    let record = usize::try_from(number)
        .ok()
        .and_then(|number| records.get(number));
    record.is_some_and(|record| record.secrets.iter().any(|secret| secret.digest == *digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::key::tests::{digest_of, record};

    #[test]
    fn a_key_is_found_by_each_of_its_digests() {
        let mut two = record("a");
        two.secrets = [two.secrets[0].clone(), record("b").secrets[0].clone()].into();
        let map = KeyMap::new(vec![Arc::new(two), Arc::new(record("c"))]).unwrap();
        for (secret, id) in [
            ("a", Some("a")),
            ("b", Some("a")),
            ("c", Some("c")),
            ("d", None),
        ] {
            assert_eq!(
                map.get(&digest_of(secret)).map(|record| record.id.as_str()),
                id,
                "{secret}"
            );
        }
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn repeated_ids_and_digests_are_all_reported() {
        let records = ["a", "b", "a"].map(|id| Arc::new(record(id)));
        let repeated = KeyMap::new(records.to_vec()).unwrap_err();
        assert_eq!(
            repeated,
            [
                Repeated::Id {
                    first: 0,
                    second: 2
                },
                Repeated::Digest {
                    first: 0,
                    second: (2, 0)
                }
            ]
        );
    }

    #[test]
    fn a_repeated_secret_among_very_many_of_one_key_is_reported() {
        let mut key = record("0");
        let secret = |number: usize| record(&number.to_string()).secrets[0].clone();
        key.secrets = (0..40_000).map(secret).collect();
        let map = KeyMap::new(vec![Arc::new(key.clone())]).unwrap();
        assert!(map.get(&digest_of("39999")).is_some());
        key.secrets = key.secrets.iter().cloned().chain([secret(7)]).collect();
        let repeated = Repeated::Digest {
            first: 0,
            second: (0, 40_000),
        };
        assert_eq!(
            KeyMap::new(vec![Arc::new(key)]).unwrap_err(),
            vec![repeated]
        );
    }
}
