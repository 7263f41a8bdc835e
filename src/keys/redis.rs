//! Keys from Redis or Valkey: one server, a cluster, or a master that sentinels know.
//!
//! Takes a digest, reads the id that its index entry holds and then the record of that id, and gives what the record
//! says. Changes are heard of on connections of their own, so that a revocation is known in milliseconds; `follow` keeps all
//! connections and notices rotated passwords, but lookups work without it. A record says whose it is: one that lies under
//! another key's name is not believed.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::push::Pushes;
use super::record;
use super::source::{
    FollowFuture, InvalidRecord, KeySource, LookupFuture, SourceAnswer, SourceError,
};
use crate::authz::digest::{DigestKind, KeyDigest};
use crate::authz::key::KeyId;

mod dial;
mod fault;
mod files;
mod layout;
mod link;
mod listen;
pub mod settings;
mod store;

#[cfg(test)]
mod tests;

pub use files::RedisSourceError;
pub use settings::{InvalidRedisUrl, RedisServers, RedisSettings, RedisUrl};
pub use store::{RedisKeys, RedisKeysError, StoredKey};

use dial::Dialer;
use fault::Reason;
use files::Files;
use layout::Layout;
use link::{Link, LinkError};
use listen::Listener;

/// A record may have so many bytes. A longer one is not valid: an operator's mistake, that would be read again and again if it
/// were taken for a failure.
pub const RECORD_MAX_BYTES: usize = 256 * 1024;

/// Keys from Redis or Valkey.
pub struct RedisSource {
    link: Link,
    dialer: Arc<Dialer>,
    layout: Layout,
    timeout: Duration,
}

impl RedisSource {
    /// A source with these settings. Connects to nothing.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(settings: RedisSettings) -> Result<Self, RedisSourceError> {
        let files = Files::of(&settings);
        files.read()?;
        let (layout, timeout) = (Layout::new(&settings.prefix), settings.timeout);
        let dialer = Arc::new(Dialer::new(settings, files));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer)),
            dialer,
            layout,
            timeout,
        })
    }

    /// Tries the source once: connects, in its own time, and looks up a digest that nobody has.
    ///
    /// # Errors
    /// When it cannot be connected to, or does not let us read.
    pub async fn connect(&self) -> Result<(), SourceError> {
        self.link.connect().await.map_err(SourceError::Failed)?;
        let nobodys = KeyDigest::new(DigestKind::Blake3, [0; 32]);
        self.look_up_in_time(&nobodys).await.map(drop)
    }

    async fn look_up_in_time(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let before = self.link.glimpse();
        let looked_up = tokio::time::timeout(self.timeout, self.look_up(digest)).await;
        looked_up.unwrap_or_else(|_| {
            if let Some(before) = before {
                self.link.suspect(before);
            }
            Err(SourceError::Timeout)
        })
    }

    async fn look_up(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let entry = self.layout.digest(digest);
        let Some(id) = self.get(&entry).await? else {
            return Ok(SourceAnswer::NotFound);
        };
        let id = std::str::from_utf8(&id)
            .ok()
            .and_then(|id| id.parse::<KeyId>().ok());
        let Some(id) = id else {
            return Ok(invalid(&entry, "it does not hold the id of a key"));
        };
        let key = self.layout.key(&id);
        Ok(match self.get(&key).await? {
            None => SourceAnswer::NotFound,
            Some(text) => record_in(&key, &id, &text, digest),
        })
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        let failed = |text: String| SourceError::Failed(text.into());
        match self.link.read(&get).await {
            Ok(Value::Nil) => Ok(None),
            Ok(Value::BulkString(content)) => Ok(Some(content)),
            Ok(_) => Err(failed(format!("GET {name}: the answer is not a string"))),
            Err(error @ LinkError::Down(_)) => Err(failed(error.reason())),
            Err(error) => Err(failed(format!("GET {name}: {}", error.reason()))),
        }
    }

    /// Makes the connection anew when the files hold something else than it was made with.
    async fn follow_files(&self) {
        let files = self.dialer.files();
        if files.is_empty() {
            return;
        }
        let mut seen = files.look().await;
        loop {
            match self.use_files().await {
                Ok(true) => tracing::info!(
                    source = "redis",
                    "password or certificates changed and are in use"
                ),
                Ok(false) => {}
                Err(why) => tracing::error!(
                    source = "redis",
                    why = &*why,
                    "password or certificates changed and cannot be used; the connection stays"
                ),
            }
            seen = files.changed(&seen).await;
        }
    }

    /// Whether another connection was needed.
    async fn use_files(&self) -> Result<bool, Reason> {
        let material = self.dialer.files().load().await?;
        if !self.link.was_made_without(material.mark) {
            return Ok(false);
        }
        self.link.renew().await.map(|()| true)
    }
}

/// What a record says, if it is that key's.
fn record_in(key: &str, id: &KeyId, text: &[u8], digest: &KeyDigest) -> SourceAnswer {
    if text.len() > RECORD_MAX_BYTES {
        return invalid(key, "it holds more than 256 KiB");
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return invalid(key, "it does not hold UTF-8");
    };
    match record::answer(text, digest) {
        SourceAnswer::Found(record) if record.id != *id => {
            let problem = format!("it holds the record of the key `{}`", record.id);
            invalid(key, &problem)
        }
        SourceAnswer::Invalid(problem) => invalid(key, &problem.problem),
        answer @ (SourceAnswer::Found(_) | SourceAnswer::NotFound) => answer,
    }
}

fn invalid(name: &str, problem: &str) -> SourceAnswer {
    SourceAnswer::Invalid(InvalidRecord::new(format!("Redis key `{name}`: {problem}")))
}

impl KeySource for RedisSource {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async { self.look_up_in_time(digest).await.map(Into::into) })
    }

    fn is_pushing(&self) -> bool {
        true
    }

    fn follow(&self, pushes: Pushes) -> FollowFuture<'_> {
        let listener = Listener {
            dialer: &self.dialer,
            link: &self.link,
            layout: &self.layout,
            pushes,
        };
        Box::pin(async move {
            tokio::join!(self.link.keep(), listener.listen(), self.follow_files());
        })
    }
}
