//! All keys of a file, by digest: what a file source's `Snapshot` holds.
//!
//! Immutable once built; a reload builds another one. Ids and digests are unique in it, which is checked here
//! because only here all keys are seen together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::digest::{DigestHasher, KeyDigest};
use super::key::KeyRecord;

/// The keys of a file.
#[derive(Debug, Default)]
pub struct KeyMap {
    records: Vec<Arc<KeyRecord>>,
    by_digest: HashMap<KeyDigest, u32, DigestHasher>,
}

/// Two records share what must be one record's alone. Numbers count records from 0, in the order given.
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
        let mut repeated = Vec::new();
        let mut ids: HashMap<&str, usize> = HashMap::with_capacity(records.len());
        let mut by_digest =
            HashMap::with_capacity_and_hasher(records.len(), DigestHasher::default());
        for (number, record) in records.iter().enumerate() {
            match ids.entry(record.id.as_str()) {
                Entry::Vacant(free) => _ = free.insert(number),
                Entry::Occupied(taken) => repeated.push(Repeated::Id {
                    first: *taken.get(),
                    second: number,
                }),
            }
            let Ok(short) = u32::try_from(number) else {
                break;
            };
            for (place, secret) in record.secrets.iter().enumerate() {
                match by_digest.entry(secret.digest) {
                    Entry::Vacant(free) => _ = free.insert(short),
                    Entry::Occupied(taken) => {
                        let first = usize::try_from(*taken.get()).unwrap_or(usize::MAX);
                        repeated.push(Repeated::Digest {
                            first,
                            second: (number, place),
                        });
                    }
                }
            }
        }
        if repeated.is_empty() {
            Ok(Self { records, by_digest })
        } else {
            Err(repeated)
        }
    }

    /// The key that has a secret with that digest.
    pub fn get(&self, digest: &KeyDigest) -> Option<&Arc<KeyRecord>> {
        let number = self.by_digest.get(digest)?;
        self.records.get(usize::try_from(*number).ok()?)
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
}
