//! Revokes, enables and disables a key.
//!
//! Changes single members of the record and leaves the others as they are, valid or not: neither an
//! invalid member nor one that this version does not know may keep a key from being revoked.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::update::{TRIES, pause};
use super::{RedisKeyStore, RedisKeyStoreError, StoredKey};
use crate::authz::key::KeyId;
use crate::keys::source::InvalidRecord;
use crate::units::TimeSpec;

impl RedisKeyStore {
    /// Revokes a key permanently. It is disabled as well, so that sidecars whose clocks are behind
    /// refuse it at once too. Gives the time of revocation: `now`, or an earlier one that is in the
    /// record.
    ///
    /// # Errors
    /// When there is no such key, when the stored value is not its record, or when Redis fails.
    pub async fn revoke(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Timestamp, RedisKeyStoreError> {
        let mut since = now;
        self.amend(id, |members| {
            let before = members.get("revoked_at");
            let before = before.and_then(|value| value.as_str()?.parse::<TimeSpec>().ok());
            since = before.map_or(now, |before| before.0.min(now));
            members.set("revoked_at", &since.to_string().into());
            members.set("enabled", &false.into());
            Ok(())
        })
        .await
        .map_err(|error| error.while_revoking(&self.layout.key(id)))?;
        Ok(since)
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    /// Those of [`revoke`](Self::revoke), and when a revoked key is to be enabled.
    pub async fn switch(&self, id: &KeyId, on: bool) -> Result<(), RedisKeyStoreError> {
        self.amend(id, |members| {
            match members.get("revoked_at") {
                Some(since) if on && !since.is_null() => {
                    return Err(RedisKeyStoreError::Revoked {
                        id: id.clone(),
                        since: since
                            .as_str()
                            .unwrap_or("a moment that cannot be read")
                            .to_owned(),
                    });
                }
                Some(_) | None => {}
            }
            members.set("enabled", &on.into());
            Ok(())
        })
        .await
    }

    /// Changes members of a record; `change` is called again whenever another writer changed the
    /// record meanwhile.
    async fn amend(
        &self,
        id: &KeyId,
        mut change: impl FnMut(&mut Members<'_>) -> Result<(), RedisKeyStoreError>,
    ) -> Result<(), RedisKeyStoreError> {
        for tries in 1..=TRIES {
            let stored = self.read(id).await?;
            let stored = stored.ok_or_else(|| RedisKeyStoreError::NotFound(id.clone()))?;
            let mut members = members(&stored).map_err(|source| RedisKeyStoreError::Stored {
                name: self.layout.key(id),
                source,
            })?;
            change(&mut members)?;
            if self.replace(&stored, &members.text()).await? {
                return Ok(());
            }
            pause(tries).await;
        }
        Err(RedisKeyStoreError::Contended(id.clone()))
    }
}

/// The members of a record, each with the JSON text of its value, since parsing and printing a
/// number may change it.
struct Members<'t>(Vec<(String, Cow<'t, str>)>);

fn members(stored: &StoredKey) -> Result<Members<'_>, InvalidRecord> {
    // serde_json's message may repeat a value.
    let members: Members<'_> = serde_json::from_str(stored.text()?)
        .map_err(|_| InvalidRecord::new("it is not a JSON object"))?;
    let id = members.get("id");
    if id.as_ref().and_then(Value::as_str) == Some(stored.id.as_str()) {
        Ok(members)
    } else {
        Err(InvalidRecord::new("it is not the record of this key"))
    }
}

impl Members<'_> {
    /// The value of that name; the last, where it is there more than once.
    fn get(&self, name: &str) -> Option<Value> {
        let mut members = self.0.iter().rev();
        let (_, text) = members.find(|(member, _)| member == name)?;
        // A value that cannot be parsed, such as 1e400, is present anyway.
        Some(serde_json::from_str(text).unwrap_or(Value::Bool(true)))
    }

    /// Sets the member of that name, once, to this value.
    fn set(&mut self, name: &str, value: &Value) {
        let place = self.0.iter().position(|(member, _)| member == name);
        self.0.retain(|(member, _)| member != name);
        let place = place.unwrap_or(self.0.len());
        self.0
            .insert(place, (name.to_owned(), value.to_string().into()));
    }

    fn text(&self) -> String {
        let member = |(name, value): &(String, Cow<'_, str>)| {
            format!("{}:{value}", Value::from(name.as_str()))
        };
        let members: Vec<_> = self.0.iter().map(member).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get().into()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Texts)
    }
}
