//! Keys from Redis or Valkey: one server, a cluster, or a master that sentinels know.
//!
//! Takes a digest, reads the id that its index entry holds and then the record of that id, and gives what the record
//! says. Changes are heard of on connections of their own, so that a revocation is known in milliseconds; `follow` keeps all
//! connections and notices rotated passwords, but lookups work without it. A record says whose it is: one that lies under
//! another key's name is not believed.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::push::{Pushes, Trust};
use super::record;
use super::source::{
    FollowFuture, InvalidRecord, KeySource, LookupFuture, SourceAnswer, SourceError, probe_digest,
};
use super::stillness::{Followed, News, STILL_FOR};
use crate::authz::clock::Clock;
use crate::authz::digest::KeyDigest;
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
use files::{Files, Material};
use layout::Layout;
use link::{Link, LinkError};
use listen::Listener;

/// A record may have so many bytes. A longer one is not valid: an operator's mistake, that would be read again and again if it
/// were taken for a failure.
pub const RECORD_MAX_BYTES: usize = 256 * 1024;

const NOT_A_STRING: &str = "it does not hold a string";

/// Keys from Redis or Valkey.
pub struct RedisSource {
    link: Link,
    dialer: Arc<Dialer>,
    layout: Layout,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    files: Followed,
}

impl RedisSource {
    /// A source with these settings. Connects to nothing.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Result<Self, RedisSourceError> {
        // Looked at before they are read, so that a change while they are is seen later.
        let followed = Followed::polled(files::paths(&settings));
        let files = Files::prove(&settings)?;
        let (layout, timeout) = (Layout::new(&settings.prefix), settings.timeout);
        let dialer = Arc::new(Dialer::new(settings, files));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer), Arc::clone(&clock)),
            dialer,
            layout,
            timeout,
            clock,
            files: followed,
        })
    }

    /// Tries the source once: connects, in its own time, looks up what nobody has, and has changes pushed for a moment.
    ///
    /// # Errors
    /// When it cannot be connected to, does not let us read, or does not push.
    pub async fn try_once(&self) -> Result<(), SourceError> {
        self.connect().await?;
        self.look_up_in_time(&probe_digest()).await?;
        let trust = Trust::new(true, Arc::clone(&self.clock));
        let listener = self.listener(Pushes::new(Arc::new(trust), self.name(), None));
        listener.arm().await.map(drop).map_err(|why| {
            SourceError::Failed(format!("changes of keys would not be heard: {why}").into())
        })
    }

    /// Connects, in its own time.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn connect(&self) -> Result<(), SourceError> {
        self.link.connect().await.map_err(SourceError::Unreachable)
    }

    fn listener(&self, pushes: Pushes) -> Listener<'_> {
        Listener {
            dialer: &self.dialer,
            link: &self.link,
            layout: &self.layout,
            clock: &*self.clock,
            pushes,
        }
    }

    async fn look_up_in_time(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let before = self.link.glimpse();
        let looked_up = tokio::time::timeout(self.timeout, self.look_up(digest)).await;
        looked_up.unwrap_or_else(|_| {
            if let Some(before) = before {
                self.link.suspect(before);
            }
            // It may have waited for another attempt to connect to a server that answers none.
            Err(self
                .link
                .down()
                .map_or(SourceError::Timeout, SourceError::Unreachable))
        })
    }

    async fn look_up(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let entry = self.layout.digest(digest);
        let id = match self.get(&entry).await? {
            Content::None => return Ok(SourceAnswer::NotFound),
            Content::OfOtherType => return Ok(invalid(&entry, NOT_A_STRING)),
            Content::String(id) => id,
        };
        let id = std::str::from_utf8(&id)
            .ok()
            .and_then(|id| id.parse::<KeyId>().ok());
        let Some(id) = id else {
            return Ok(invalid(&entry, "it does not hold the id of a key"));
        };
        let key = self.layout.key(&id);
        Ok(match self.record(&key).await? {
            Content::None => SourceAnswer::NotFound,
            Content::OfOtherType => invalid(&key, NOT_A_STRING),
            Content::String(text) => record_in(&key, &id, &text, digest),
        })
    }

    /// What has that name.
    async fn get(&self, name: &str) -> Result<Content, SourceError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        content("GET", name, self.link.read(&get).await)
    }

    /// A record's text, or what it begins with: one byte more than it may have. A very long one, read whole, would hold up all other
    /// lookups on the connection.
    async fn record(&self, name: &str) -> Result<Content, SourceError> {
        let mut beginning = redis::cmd("GETRANGE");
        beginning.arg(name).arg(0).arg(RECORD_MAX_BYTES);
        let read = self.link.read(&beginning).await;
        if read.as_ref().is_err_and(LinkError::is_not_allowed) {
            // A user that may only GET is served all the same.
            return self.get(name).await;
        }
        match content("GETRANGE", name, read)? {
            // There is none, or an empty one.
            Content::String(text) if text.is_empty() => self.get(name).await,
            content @ (Content::None | Content::String(_) | Content::OfOtherType) => Ok(content),
        }
    }

    /// Makes the connection anew when the files hold something else than it was made with.
    async fn follow_files(&self) {
        let mut files = self.files.clone();
        loop {
            files.due(STILL_FOR, &*self.clock).await;
            let loaded = self.dialer.files().load().await;
            let now = self.clock.monotonic();
            let mark = loaded.as_ref().ok().map(|material| material.mark);
            // What the server makes of it is no reason to read it again, nor to offer a wrong password every second.
            if files.was_read(mark, now) == News::Changing {
                continue;
            }
            let material = match loaded {
                Ok(material) => material,
                Err(why) => {
                    if files.is_untold(&why, now) {
                        refused(&why);
                    }
                    continue;
                }
            };
            files.is_well();
            match self.use_material(&material).await {
                Ok(true) => tracing::info!(
                    source = "redis",
                    "password or certificates changed and are in use"
                ),
                Ok(false) => {}
                Err(why) => refused(&why),
            }
        }
    }

    /// Whether another connection was needed.
    async fn use_material(&self, material: &Material) -> Result<bool, Reason> {
        if !self.link.was_made_without(material.mark) {
            return Ok(false);
        }
        self.link.renew().await.map(|_| true)
    }
}

/// What Redis holds under a name.
enum Content {
    None,
    String(Vec<u8>),
    /// A list or whatever: an answer, and an operator's mistake with one key.
    OfOtherType,
}

/// What was answered to that command.
fn content(
    word: &str,
    name: &str,
    answer: Result<Value, LinkError>,
) -> Result<Content, SourceError> {
    let failed = |text: String| SourceError::Failed(text.into());
    match answer {
        Ok(Value::Nil) => Ok(Content::None),
        Ok(Value::BulkString(content)) => Ok(Content::String(content)),
        Ok(_) => Err(failed(format!("{word} {name}: the answer is not a string"))),
        Err(error) if error.is_wrong_type() => Ok(Content::OfOtherType),
        Err(error) if error.is_down() => Err(SourceError::Unreachable(error.reason().into())),
        Err(error) => Err(failed(format!("{word} {name}: {}", error.reason()))),
    }
}

fn refused(why: &str) {
    tracing::error!(
        source = "redis",
        why,
        "password or certificates changed and cannot be used; the connection stays"
    );
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
        let listener = self.listener(pushes);
        Box::pin(async move {
            tokio::join!(self.link.keep(), listener.listen(), self.follow_files());
        })
    }
}
