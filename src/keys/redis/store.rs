//! The keys in Redis as something that is written to, for whoever manages them.
//!
//! Takes records and puts them where lookups find them. A record is one value, written whole by one command, so that whoever
//! looks a key up sees it before a change or after, never between; a change is written only if the record is still what it
//! was made from. A digest is in the index before the record that has it and until after, and belongs to one key at a time.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use super::super::record::{self, KeySpec};
use super::super::source::InvalidRecord;
use super::dial::Dialer;
use super::fault::{Reason, told};
use super::files::{Files, RedisSourceError};
use super::layout::{Layout, Named};
use super::link::{Link, LinkError};
use super::settings::RedisSettings;
use crate::authz::digest::KeyDigest;
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;

mod update;

/// How long one command may take, connecting included: a person waits for it, not a request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// How many names the server may look at in one step of a scan, in which it serves nobody else.
const SCAN_STEP: u32 = 1000;

/// How many records are read at once.
const READ_AT_ONCE: usize = 100;

/// Removes a value if it is that one.
const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Keys in Redis, to be managed.
pub struct RedisKeys {
    link: Link,
    dialer: Arc<Dialer>,
    layout: Layout,
}

/// A record as it lies in Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The id under which it lies.
    pub id: KeyId,
    bytes: Vec<u8>,
}

/// Keys in Redis could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RedisKeysError {
    /// The record to be written cannot be used.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// What lies in Redis is no record that could be changed.
    #[error("Redis key `{name}`: {source}")]
    Stored {
        /// The Redis key.
        name: String,
        /// What is wrong with it.
        source: InvalidRecord,
    },
    /// There is a key of that id.
    #[error("there is a key `{0}` already; choose another id")]
    IdTaken(KeyId),
    /// Another key has one of the digests.
    #[error("Redis key `{name}`: another key has the same secret; make another one")]
    DigestTaken {
        /// The Redis key that says so.
        name: String,
    },
    /// There is no key of that id.
    #[error("there is no key `{0}`")]
    NotFound(KeyId),
    /// The record changed each time before a change of it could be written.
    #[error("the key `{0}` is being changed by others all the time; try again")]
    Contended(KeyId),
    /// Redis cannot be reached, or answers with an error. Where a command that writes was sent and its answer lost, nobody knows
    /// whether it was done.
    #[error("{0}")]
    Failed(Arc<str>),
}

// === impl StoredKey ===

impl StoredKey {
    /// The record's text, if it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// What the text says, to be changed or printed. Its values are not checked.
    ///
    /// # Errors
    /// When it is not a record, or another key's.
    pub fn spec(&self) -> Result<KeySpec, InvalidRecord> {
        // The error's own text repeats what it found, which may be a secret in the wrong place.
        let spec: KeySpec = serde_json::from_slice(&self.bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            InvalidRecord::new(format!(
                "not the record of a key, at line {line} column {column}"
            ))
        })?;
        if spec.id == self.id.as_str() {
            Ok(spec)
        } else {
            Err(InvalidRecord::new("it is the record of another key"))
        }
    }
}

impl StoredKey {
    /// The record that the text says, checked but for what only a policy can tell.
    ///
    /// # Errors
    /// When it is not a valid record, or another key's.
    pub fn record(&self) -> Result<Arc<KeyRecord>, InvalidRecord> {
        record::prove(&self.spec()?, None)
    }
}

/// Shows whose it is: any of its strings may be a secret in the wrong place.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({})", self.id)
    }
}

// === impl RedisKeys ===

impl RedisKeys {
    /// The keys of these settings. Connects to nothing; their timeout is for lookups and not used.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(settings: RedisSettings) -> Result<Self, RedisSourceError> {
        let files = Files::of(&settings);
        files.read()?;
        let layout = Layout::new(&settings.prefix);
        let dialer = Arc::new(Dialer::new(settings, files));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer)),
            dialer,
            layout,
        })
    }

    /// The record of that id, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self, id: &KeyId) -> Result<Option<StoredKey>, RedisKeysError> {
        let bytes = self.get(&self.layout.key(id)).await?;
        Ok(bytes.map(|bytes| StoredKey {
            id: id.clone(),
            bytes,
        }))
    }

    /// All records, in the order of their ids. Keys that come or go meanwhile may be among them or not.
    ///
    /// # Errors
    /// When they cannot all be read.
    pub async fn list(&self) -> Result<Vec<StoredKey>, RedisKeysError> {
        let ids = self.ids().await.map_err(RedisKeysError::Failed)?;
        let ids: Vec<_> = ids.into_iter().collect();
        let mut keys = Vec::with_capacity(ids.len());
        for some in ids.chunks(READ_AT_ONCE) {
            let read = try_join_all(some.iter().map(|id| self.read(id))).await?;
            keys.extend(read.into_iter().flatten());
        }
        Ok(keys)
    }

    /// The ids of all records; names that are not of a key are left out, for no lookup finds them.
    async fn ids(&self) -> Result<BTreeSet<KeyId>, Reason> {
        let material = self.dialer.files().load().await?;
        let mut ids = BTreeSet::new();
        for master in self.dialer.masters(&material).await? {
            let mut connection = self.dialer.login(&master, &material).await?;
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor)
                    .arg("MATCH")
                    .arg(self.layout.pattern_of_keys())
                    .arg("COUNT")
                    .arg(SCAN_STEP)
                    .arg("TYPE")
                    .arg("string");
                let scanning = scan.query_async::<(u64, Vec<Vec<u8>>)>(&mut connection);
                let scanned = tokio::time::timeout(COMMAND_TIMEOUT, scanning).await;
                let (next, names) = scanned
                    .map_err(|_| Reason::from(format!("{master}: SCAN: no answer in time")))?
                    .map_err(|error| Reason::from(format!("{master}: SCAN: {}", told(&error))))?;
                let names = names.iter().map(|name| self.layout.read(name));
                ids.extend(names.filter_map(|name| match name {
                    Named::Key(id) => id.parse().ok(),
                    Named::Digest(_) | Named::Unknown => None,
                }));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(ids)
    }

    /// Puts a new key there: its digests into the index, then its record. Gives the record as it will be found.
    ///
    /// # Errors
    /// When the record is not valid, under the policy if there is one; when there is a key of that id or with one of the digests,
    /// in which case nothing has changed; and when Redis fails.
    pub async fn create(
        &self,
        spec: &KeySpec,
        policy: Option<&Policy>,
    ) -> Result<Arc<KeyRecord>, RedisKeysError> {
        let record = record::prove(spec, policy)?;
        let (name, text) = (self.layout.key(&record.id), text_of(spec));
        let digests: Vec<_> = record.secrets.iter().map(|secret| secret.digest).collect();
        let ours = self.put_digests(&digests, &record.id).await?;
        let set = redis::cmd("SET").arg(&name).arg(&text).arg("NX").to_owned();
        // Not ours to be, and what we wrote: a cluster's client sends a command again whose answer it lost.
        if self.write("SET", &name, &set).await? == Value::Nil
            && self.get(&name).await?.as_deref() != Some(text.as_bytes())
        {
            self.remove_digests(&ours, &record.id).await;
            return Err(RedisKeysError::IdTaken(record.id.clone()));
        }
        Ok(record)
    }

    /// Puts a digest into the index, for that key. Whether it was not there for that key already.
    ///
    /// # Errors
    /// When another key has it; and when Redis fails.
    pub async fn put_digest(&self, digest: &KeyDigest, id: &KeyId) -> Result<bool, RedisKeysError> {
        let name = self.layout.digest(digest);
        let set = redis::cmd("SET")
            .arg(&name)
            .arg(id.as_str())
            .arg("NX")
            .to_owned();
        if self.write("SET", &name, &set).await? != Value::Nil {
            return Ok(true);
        }
        match self.get(&name).await? {
            Some(other) if other == id.as_str().as_bytes() => Ok(false),
            Some(_) | None => Err(RedisKeysError::DigestTaken { name }),
        }
    }

    /// Removes a digest from the index, if it is there for that key. Whether it was.
    ///
    /// # Errors
    /// When Redis fails.
    pub async fn remove_digest(
        &self,
        digest: &KeyDigest,
        id: &KeyId,
    ) -> Result<bool, RedisKeysError> {
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
    async fn put_digests(
        &self,
        digests: &[KeyDigest],
        id: &KeyId,
    ) -> Result<Vec<KeyDigest>, RedisKeysError> {
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

    /// Removes digests from the index. One that stays because Redis fails is in nobody's way: it is of a secret that nobody has
    /// or that its key does not accept.
    async fn remove_digests(&self, digests: &[KeyDigest], id: &KeyId) {
        for digest in digests {
            if let Err(error) = self.remove_digest(digest, id).await {
                tracing::warn!(%error, "an index entry that is not needed any more stays");
            }
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, RedisKeysError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        let answer = in_time("GET", name, self.link.read(&get)).await?;
        if answer == Value::Nil {
            Ok(None)
        } else if let Value::BulkString(bytes) = answer {
            Ok(Some(bytes))
        } else {
            Err(failed("GET", name, "the answer is not a string"))
        }
    }

    async fn write(&self, word: &str, name: &str, command: &Cmd) -> Result<Value, RedisKeysError> {
        in_time(word, name, self.link.write(command)).await
    }
}

async fn in_time(
    word: &str,
    name: &str,
    asking: impl Future<Output = Result<Value, LinkError>>,
) -> Result<Value, RedisKeysError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(|error| match error {
            LinkError::Down(reason) => RedisKeysError::Failed(reason),
            LinkError::Failed(_) => failed(word, name, &error.reason()),
        }),
        Err(_) => Err(failed(word, name, "no answer in time")),
    }
}

fn failed(word: &str, name: &str, why: &str) -> RedisKeysError {
    RedisKeysError::Failed(format!("{word} {name}: {why}").into())
}

/// A record's text.
fn text_of(spec: &KeySpec) -> String {
    // By way of a value, as `record::prove` does, so that what is written is what was proved.
    serde_json::to_value(spec).unwrap_or_default().to_string()
}
