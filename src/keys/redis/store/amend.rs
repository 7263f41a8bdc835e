//! Revoking a key, and switching it on and off.
//!
//! Changes single members of the record and leaves alone whatever else stands in it, right or wrong: no flaw of a record, and nothing
//! in it that this version does not know, may keep a key from being revoked.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::super::source::InvalidRecord;
use super::update::{TRIES, pause};
use super::{RedisKeys, RedisKeysError, StoredKey};
use crate::authz::key::KeyId;
use crate::yaml::TimeSpec;

impl RedisKeys {
    /// Has a key refused for ever. It is disabled as well, so that the sidecars whose clocks are behind refuse it at once too.
    /// Gives the moment from which on it is revoked: `now`, or an earlier one that is in the record.
    ///
    /// # Errors
    /// When there is no such key, what lies there is not its record, or Redis fails.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<Timestamp, RedisKeysError> {
        let mut since = now;
        self.amend(id, |members| {
            let before = members.get("revoked_at").and_then(Value::as_str);
            let before = before.and_then(|text| text.parse::<TimeSpec>().ok());
            since = before.map_or(now, |before| before.0.min(now));
            members.insert("revoked_at".to_owned(), since.to_string().into());
            members.insert("enabled".to_owned(), false.into());
            Ok(())
        })
        .await
        .map_err(|error| error.while_revoking(&self.layout.key(id)))?;
        Ok(since)
    }

    /// Switches a key on or off.
    ///
    /// # Errors
    /// Those of [`revoke`](Self::revoke), and when a key is to be switched on that is revoked.
    pub async fn switch(&self, id: &KeyId, on: bool) -> Result<(), RedisKeysError> {
        self.amend(id, |members| {
            match members.get("revoked_at") {
                Some(since) if on && !since.is_null() => {
                    return Err(RedisKeysError::Revoked {
                        id: id.clone(),
                        since: since
                            .as_str()
                            .unwrap_or("a moment that cannot be read")
                            .to_owned(),
                    });
                }
                Some(_) | None => {}
            }
            members.insert("enabled".to_owned(), on.into());
            Ok(())
        })
        .await
    }

    /// Changes members of a record; `change` is called anew as often as somebody else changes the record meanwhile.
    async fn amend(
        &self,
        id: &KeyId,
        mut change: impl FnMut(&mut Map<String, Value>) -> Result<(), RedisKeysError>,
    ) -> Result<(), RedisKeysError> {
        for tries in 1..=TRIES {
            let stored = self.read(id).await?;
            let stored = stored.ok_or_else(|| RedisKeysError::NotFound(id.clone()))?;
            let mut members = members(&stored).map_err(|source| RedisKeysError::Stored {
                name: self.layout.key(id),
                source,
            })?;
            change(&mut members)?;
            if self
                .replace(&stored, &Value::Object(members).to_string())
                .await?
            {
                return Ok(());
            }
            pause(tries).await;
        }
        Err(RedisKeysError::Contended(id.clone()))
    }
}

/// The members of a record.
fn members(stored: &StoredKey) -> Result<Map<String, Value>, InvalidRecord> {
    // The error's own text may repeat what it found.
    match serde_json::from_str(stored.text()?) {
        Ok(Value::Object(members)) => {
            let is_its = members.get("id").and_then(Value::as_str) == Some(stored.id.as_str());
            let members = is_its.then_some(members);
            members.ok_or_else(|| InvalidRecord::new("it is not the record of this key"))
        }
        Ok(_) | Err(_) => Err(InvalidRecord::new("it is not a JSON object")),
    }
}
