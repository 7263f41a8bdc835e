//! Changes of a record that is there.
//!
//! Takes what is to be changed as a function, for a record may change between reading and writing it: then it is read and changed
//! anew, so that of two changes at once none is lost. New digests are in the index before the record that has them, and old ones
//! leave it after: at every moment each secret that the record accepts is found.

use std::sync::Arc;
use std::time::Duration;

use super::{RedisKeyStore, RedisKeyStoreError, StoredKey, text_of};
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::backoff::part_of;
use crate::keys::record::{self, KeySpec};
use crate::keys::source::InvalidRecord;

/// How often a change is made anew because the record changed meanwhile. Of those who write at once one always gets through.
pub(super) const TRIES: u32 = 100;

/// How much longer the pause before each further try may be, up to ten times: a few round trips.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// Writes a value if the one there is still the one that was read, and leaves alone when it expires.
const COMPARE_AND_SET: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
     redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0";

impl RedisKeyStore {
    /// Changes the record of that id, and the index with it. `change` is called anew, with the record as it is then, as often as
    /// somebody else changes the record meanwhile; so it should do nothing but change what it is given. Gives the record as it
    /// will be found.
    ///
    /// # Errors
    /// Those of `change`; when there is no such key, what lies there is not its record, or the changed record is not valid,
    /// under the policy if there is one; when another key has a digest that is added; and when Redis fails.
    pub async fn update<E: From<RedisKeyStoreError>>(
        &self,
        id: &KeyId,
        policy: Option<&Policy>,
        mut change: impl FnMut(&mut KeySpec) -> Result<(), E>,
    ) -> Result<Arc<KeyRecord>, E> {
        // Digests in the index that the record may not have.
        let mut doubtful = Vec::new();
        let mut outcome = Ok(None);
        for tries in 1..=TRIES {
            outcome = self
                .try_update(id, policy, &mut change, &mut doubtful)
                .await;
            if !matches!(outcome, Ok(None)) {
                break;
            }
            pause(tries).await;
        }
        self.tidy(&doubtful, id).await;
        outcome?.ok_or_else(|| RedisKeyStoreError::Contended(id.clone()).into())
    }

    /// The changed record, or nothing where it changed meanwhile.
    async fn try_update<E: From<RedisKeyStoreError>>(
        &self,
        id: &KeyId,
        policy: Option<&Policy>,
        change: &mut impl FnMut(&mut KeySpec) -> Result<(), E>,
        doubtful: &mut Vec<KeyDigest>,
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
        let record = record::prove(&spec, policy).map_err(|source| RedisKeyStoreError::Stored {
            name: name.clone(),
            source,
        })?;
        let after: Vec<_> = record.secrets.iter().map(|secret| secret.digest).collect();
        let added: Vec<_> = after
            .iter()
            .filter(|new| !before.contains(new))
            .copied()
            .collect();
        doubtful.extend(self.put_digests(&added, id).await?);
        if !self.replace(&stored, &text_of(&spec)).await? {
            return Ok(None);
        }
        doubtful.extend(before.iter().filter(|old| !after.contains(old)));
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

    /// Removes digests from the index that the record does not have. Where that cannot be told they stay.
    async fn tidy(&self, digests: &[KeyDigest], id: &KeyId) {
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

/// Lets others go first, who write the same record.
pub(super) async fn pause(tries: u32) {
    tokio::time::sleep(part_of(PAUSE_STEP * tries.min(10))).await;
}

/// The digests of a record that are digests.
fn digests_of(spec: &KeySpec) -> Vec<KeyDigest> {
    let digests = spec.secrets.iter();
    digests
        .filter_map(|secret| secret.digest.parse().ok())
        .collect()
}
