//! Changes a record, by compare and set.
//!
//! A change is a function from the old record to the new one: if another writer changed the record
//! between reading and writing, it is read and changed again, so that no change is lost. New
//! digests enter the index before the record that has them, and old ones leave it after, so that at
//! every moment each secret that the record accepts is found.

use std::sync::Arc;
use std::time::Duration;

use super::{RedisKeyStore, RedisKeyStoreError, StoredKey, text_of};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::backoff::jitter;
use crate::keys::record::{self, KeySpec};
use crate::keys::source::InvalidRecord;

/// How many times a change is tried while others change the record. Of concurrent writers, one
/// always succeeds.
pub(super) const TRIES: u32 = 100;

/// How much longer the pause before each further try may be, up to ten times: a few round trips.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// Sets a value if the stored one is still the one that was read; the expiry stays.
const COMPARE_AND_SET: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
     redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0";

impl RedisKeyStore {
    /// Changes the record of that id, and the index with it. `change` is called again with the
    /// newest record whenever another writer changed it meanwhile, so it should have no side
    /// effects. Gives the record as lookups find it.
    ///
    /// # Errors
    /// Those of `change`; when there is no such key, the stored value is not its record, or the
    /// changed record is not valid, under the policy if there is one; when another key has an added
    /// digest; and when Redis fails.
    pub async fn update<E: From<RedisKeyStoreError>>(
        &self,
        id: &KeyId,
        policy: Option<&Policy>,
        mut change: impl FnMut(&mut KeySpec) -> Result<(), E>,
    ) -> Result<Arc<KeyRecord>, E> {
        // Digests that may be in the index without being in the record.
        let mut leftover = Vec::new();
        let mut outcome = Ok(None);
        for tries in 1..=TRIES {
            outcome = self
                .try_update(id, policy, &mut change, &mut leftover)
                .await;
            if !matches!(outcome, Ok(None)) {
                break;
            }
            pause(tries).await;
        }
        self.remove_leftover(&leftover, id).await;
        outcome?.ok_or_else(|| RedisKeyStoreError::Contended(id.clone()).into())
    }

    /// The changed record, or `None` where another writer changed it meanwhile.
    async fn try_update<E: From<RedisKeyStoreError>>(
        &self,
        id: &KeyId,
        policy: Option<&Policy>,
        change: &mut impl FnMut(&mut KeySpec) -> Result<(), E>,
        leftover: &mut Vec<KeyDigest>,
    ) -> Result<Option<Arc<KeyRecord>>, E> {
        let name = self.layout.key(id);
        let stored = self.read(id).await?;
        let stored = stored.ok_or_else(|| RedisKeyStoreError::NotFound(id.clone()))?;
        let mut spec = stored.spec().map_err(|source| RedisKeyStoreError::Stored {
            name: name.clone(),
            source,
        })?;
        let before = digests_of(&spec);
        change(&mut spec)?;
        if spec.id != id.as_str() {
            let problem = InvalidRecord::new("id: a key keeps its id");
            return Err(RedisKeyStoreError::from(problem).into());
        }
        let record =
            record::validate(&spec, policy).map_err(|source| RedisKeyStoreError::Stored {
                name: name.clone(),
                source,
            })?;
        let after: Vec<_> = record.secrets.iter().map(|secret| secret.digest).collect();
        let added: Vec<_> = after
            .iter()
            .filter(|new| !before.contains(new))
            .copied()
            .collect();
        leftover.extend(self.put_digests(&added, id).await?);
        if !self.replace(&stored, &text_of(&spec)).await? {
            return Ok(None);
        }
        leftover.extend(before.iter().filter(|old| !after.contains(old)));
        Ok(Some(record))
    }

    /// Replaces a record by a text, if it is still what was read.
    pub(super) async fn replace(
        &self,
        stored: &StoredKey,
        text: &str,
    ) -> Result<bool, RedisKeyStoreError> {
        let name = self.layout.key(&stored.id);
        let set = redis::cmd("EVAL")
            .arg(COMPARE_AND_SET)
            .arg(1)
            .arg(&name)
            .arg(&stored.bytes)
            .arg(text)
            .to_owned();
        self.write_record("EVAL", &name, &set, text).await
    }

    /// Removes those of the digests from the index that the record does not have. If the record
    /// cannot be read they stay.
    async fn remove_leftover(&self, digests: &[KeyDigest], id: &KeyId) {
        if digests.is_empty() {
            return;
        }
        let Ok(stored) = self.read(id).await else {
            return;
        };
        let has = match stored.as_ref().map(StoredKey::spec) {
            Some(Ok(spec)) => digests_of(&spec),
            Some(Err(_)) => return,
            None => Vec::new(),
        };
        let gone: Vec<_> = digests
            .iter()
            .filter(|old| !has.contains(old))
            .copied()
            .collect();
        self.remove_digests(&gone, id).await;
    }
}

/// Waits before the next try, so that other writers of the record can finish.
pub(super) async fn pause(tries: u32) {
    tokio::time::sleep(jitter(PAUSE_STEP * tries.min(10))).await;
}

/// The valid digests of a record.
fn digests_of(spec: &KeySpec) -> Vec<KeyDigest> {
    let digests = spec.secrets.iter();
    digests
        .filter_map(|secret| secret.digest.parse().ok())
        .collect()
}
