//! The index: which key has a digest.
//!
//! A digest belongs to one key at a time: an entry is made only where there is none, and removed
//! only if it still names that key.

use redis::Value;

use super::{RedisKeyStore, RedisKeyStoreError};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyId;

/// Removes a value if it is that one.
const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

impl RedisKeyStore {
    /// Puts a digest into the index, for that key. Whether it was not there for that key already.
    ///
    /// # Errors
    /// When another key has it; and when Redis fails.
    pub(super) async fn put_digest(
        &self,
        digest: &KeyDigest,
        id: &KeyId,
    ) -> Result<bool, RedisKeyStoreError> {
        let name = self.layout.digest(digest);
        let set = redis::cmd("SET")
            .arg(&name)
            .arg(id.as_str())
            .arg("NX")
            .to_owned();
        let answer = self.write("SET", &name, &set).await;
        let lost = match answer {
            Ok(Value::Nil) => None,
            Ok(_) => return Ok(true),
            Err(RedisKeyStoreError::Unanswered(why)) => Some(why),
            Err(error) => return Err(error),
        };
        match (self.get(&name).await?, lost) {
            (Some(holder), lost) if holder == id.as_str().as_bytes() => Ok(lost.is_some()),
            (None, Some(why)) => Err(RedisKeyStoreError::Failed(why)),
            (Some(_), _) | (None, None) => Err(RedisKeyStoreError::DigestTaken { name }),
        }
    }

    /// Removes a digest from the index, if it is there for that key. Whether it was.
    ///
    /// # Errors
    /// When Redis fails.
    pub(super) async fn remove_digest(
        &self,
        digest: &KeyDigest,
        id: &KeyId,
    ) -> Result<bool, RedisKeyStoreError> {
        let name = self.layout.digest(digest);
        let remove = redis::cmd("EVAL")
            .arg(COMPARE_AND_DELETE)
            .arg(1)
            .arg(&name)
            .arg(id.as_str())
            .to_owned();
        let removed = self.write("EVAL", &name, &remove).await?;
        Ok(removed == Value::Int(1))
    }

    /// Puts digests into the index, all or none. Gives those that were not there.
    pub(super) async fn put_digests(
        &self,
        digests: &[KeyDigest],
        id: &KeyId,
    ) -> Result<Vec<KeyDigest>, RedisKeyStoreError> {
        let mut put = Vec::with_capacity(digests.len());
        for digest in digests {
            match self.put_digest(digest, id).await {
                Ok(true) => put.push(*digest),
                Ok(false) => {}
                Err(error) => {
                    self.remove_digests(&put, id).await;
                    return Err(error);
                }
            }
        }
        Ok(put)
    }

    /// Removes digests from the index. One that stays because Redis fails does no harm: its secret
    /// was never issued, or its key does not accept it.
    pub(super) async fn remove_digests(&self, digests: &[KeyDigest], id: &KeyId) {
        for digest in digests {
            _ = self.remove_digest(digest, id).await;
        }
    }
}
