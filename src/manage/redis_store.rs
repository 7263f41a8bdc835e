//! Keys in Redis, to be managed.
//!
//! Takes records and writes them where lookups find them. A record is one value, written by one
//! command, so that a lookup sees it before or after a change, never between; a change is written
//! only if the record is still the one it was made from. A digest enters the index before the
//! record that has it, leaves it after, and belongs to one key at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::clock::Clock;
use crate::keys::record::{self, KeySpec};
use crate::keys::redis::layout::{Layout, RedisName};
use crate::redis::client::{CommandError, RedisClient};
use crate::redis::error_text::{Cause, describe, is_out_of_memory};
use crate::redis::{RedisCredentialsError, RedisSettings};

mod amend;
mod error;
mod index;
mod stored;
mod update;

#[cfg(test)]
mod tests;

pub use error::RedisKeyStoreError;
pub use stored::StoredKey;

/// How long one command may take, connecting included. A person waits for it, not a request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// How many names the server looks at in one step of a scan, which blocks its other clients.
const SCAN_STEP: u32 = 1000;

const READ_AT_ONCE: usize = 100;

/// Keys in Redis, to be managed.
pub struct RedisKeyStore {
    client: RedisClient,
    layout: Layout,
}

impl RedisKeyStore {
    /// The keys under names that begin with `prefix`. Connects to nothing.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(
        settings: RedisSettings,
        prefix: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RedisCredentialsError> {
        Ok(Self {
            client: RedisClient::new(settings, clock)?,
            layout: Layout::new(prefix),
        })
    }

    /// The name of that id's record in Redis.
    pub fn name_of(&self, id: &KeyId) -> String {
        self.layout.key(id)
    }

    /// The record of that id, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self, id: &KeyId) -> Result<Option<StoredKey>, RedisKeyStoreError> {
        let bytes = self.get(&self.layout.key(id)).await?;
        Ok(bytes.map(|bytes| StoredKey {
            id: id.clone(),
            bytes,
        }))
    }

    /// All records, ordered by id. Keys added or removed meanwhile may be among them or not.
    ///
    /// # Errors
    /// When they cannot all be read.
    pub async fn list(&self) -> Result<Vec<StoredKey>, RedisKeyStoreError> {
        let ids = self.ids().await.map_err(RedisKeyStoreError::Failed)?;
        let ids: Vec<_> = ids.into_iter().collect();
        let mut keys = Vec::with_capacity(ids.len());
        for some in ids.chunks(READ_AT_ONCE) {
            let read = try_join_all(some.iter().map(|id| self.read(id))).await?;
            keys.extend(read.into_iter().flatten());
        }
        Ok(keys)
    }

    /// The ids of all records, without names that are no valid id: no lookup finds those.
    async fn ids(&self) -> Result<BTreeSet<KeyId>, Cause> {
        let connector = self.client.connector();
        let credentials = connector.files().load().await?;
        let mut ids = BTreeSet::new();
        for master in connector.masters(&credentials).await? {
            let mut connection = connector.login(&master, &credentials).await?;
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor)
                    .arg("MATCH")
                    .arg(self.layout.key_scan_pattern())
                    .arg("COUNT")
                    .arg(SCAN_STEP)
                    .arg("TYPE")
                    .arg("string");
                let scanning = scan.query_async::<(u64, Vec<Vec<u8>>)>(&mut connection);
                let scanned = tokio::time::timeout(COMMAND_TIMEOUT, scanning).await;
                let (next, names) = scanned
                    .map_err(|_| Cause::from(format!("{master}: SCAN: no answer in time")))?
                    .map_err(|error| {
                        Cause::from(format!("{master}: SCAN: {}", describe(&error)))
                    })?;
                let names = names.iter().map(|name| self.layout.parse(name));
                ids.extend(names.filter_map(|name| match name {
                    RedisName::Key(id) => id.parse().ok(),
                    RedisName::Digest(_) | RedisName::Unknown => None,
                }));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(ids)
    }

    /// Creates a key: puts its digests into the index, then writes its record. Gives the record as
    /// lookups find it.
    ///
    /// # Errors
    /// When the record is not valid, under the policy if there is one; when the id or a digest is
    /// taken, in which case nothing has changed; and when Redis fails.
    pub async fn create(
        &self,
        spec: &KeySpec,
        policy: Option<&Policy>,
    ) -> Result<Arc<KeyRecord>, RedisKeyStoreError> {
        let record = record::validate(spec, policy)?;
        let (name, text) = (self.layout.key(&record.id), text_of(spec));
        let digests: Vec<_> = record.secrets.iter().map(|secret| secret.digest).collect();
        let ours = self.put_digests(&digests, &record.id).await?;
        let set = redis::cmd("SET").arg(&name).arg(&text).arg("NX").to_owned();
        match self.write_record("SET", &name, &set, &text).await {
            Ok(true) => Ok(record),
            Ok(false) => {
                self.remove_digests(&ours, &record.id).await;
                Err(RedisKeyStoreError::IdTaken(record.id.clone()))
            }
            // The record may have been written, so its digests stay.
            Err(error) => Err(error),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, RedisKeyStoreError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        let answer = with_timeout("GET", name, self.client.read(&get)).await;
        // A lost answer to a read leaves nothing unknown.
        let answer = answer.map_err(RedisKeyStoreError::nothing_written)?;
        if answer == Value::Nil {
            Ok(None)
        } else if let Value::BulkString(bytes) = answer {
            Ok(Some(bytes))
        } else {
            let why = format!("GET {name}: the answer is not a string");
            Err(RedisKeyStoreError::Failed(why.into()))
        }
    }

    async fn write(
        &self,
        command_name: &str,
        name: &str,
        command: &Cmd,
    ) -> Result<Value, RedisKeyStoreError> {
        with_timeout(command_name, name, self.client.write(command)).await
    }

    /// Writes a record by a command that answers whether it did. If the answer is lost, or is of a
    /// command that redis-rs' cluster client sent twice, reading the record tells whether it was
    /// written.
    async fn write_record(
        &self,
        command_name: &str,
        name: &str,
        command: &Cmd,
        text: &str,
    ) -> Result<bool, RedisKeyStoreError> {
        let answer = self.write(command_name, name, command).await;
        if matches!(answer, Ok(Value::Okay | Value::Int(1))) {
            return Ok(true);
        }
        let read = self.get(name).await;
        match (
            answer,
            read.map(|found| found.as_deref() == Some(text.as_bytes())),
        ) {
            (_, Ok(true)) => Ok(true),
            (Ok(_), Ok(false)) => Ok(false),
            (Err(error), Ok(false)) => Err(error.nothing_written()),
            (Err(error), Err(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }
}

async fn with_timeout(
    command_name: &str,
    name: &str,
    asking: impl Future<Output = Result<Value, CommandError>>,
) -> Result<Value, RedisKeyStoreError> {
    let failed = |why: &str| Arc::from(format!("{command_name} {name}: {why}"));
    match tokio::time::timeout(COMMAND_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(|error| match &error {
            CommandError::Down(cause) => RedisKeyStoreError::Failed(Arc::clone(cause)),
            CommandError::Failed(failure) if is_out_of_memory(failure) => {
                RedisKeyStoreError::Full(failed(&error.cause()))
            }
            CommandError::Failed(failure) if failure.code().is_some() => {
                RedisKeyStoreError::Failed(failed(&error.cause()))
            }
            CommandError::Failed(_) => RedisKeyStoreError::Unanswered(failed(&error.cause())),
        }),
        Err(_) => Err(RedisKeyStoreError::Unanswered(failed("no answer in time"))),
    }
}

fn text_of(spec: &KeySpec) -> String {
    // By way of a JSON value, as the record was checked, so that what is written is what was
    // checked.
    serde_json::to_value(spec).unwrap_or_default().to_string()
}
