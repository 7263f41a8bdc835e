//! How a key is read: the index entry of its digest, then its record.
//!
//! Takes a digest and sends the commands of a lookup over the link. The digest that nobody has is looked up with a record that
//! nobody has: to try a source is to send all that a lookup sends, for a user may be allowed the one and not the other.

use std::time::Duration;

use redis::Value;

use super::super::record;
use super::super::source::{InvalidRecord, SourceAnswer, SourceError, probe_digest};
use super::RECORD_MAX_BYTES;
use super::fault::Reason;
use super::layout::Layout;
use super::link::{Link, LinkError};
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyId;

const NOT_A_STRING: &str = "it does not hold a string";

/// Reads keys.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) link: &'a Link,
    pub(super) layout: &'a Layout,
}

impl Reader<'_> {
    pub(super) async fn look_up(self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let entry = self.layout.digest(digest);
        let id = match self.get(&entry).await? {
            Content::None => {
                if *digest == probe_digest() {
                    self.record(&self.layout.probe_key()).await?;
                }
                return Ok(SourceAnswer::NotFound);
            }
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

    /// Fails where a lookup would.
    pub(super) async fn try_once(self, within: Duration) -> Result<(), Reason> {
        let looked_up = tokio::time::timeout(within, self.look_up(&probe_digest())).await;
        match looked_up {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(SourceError::Failed(why) | SourceError::Unreachable(why))) => Err(why),
            Ok(Err(SourceError::Timeout | SourceError::Overloaded)) | Err(_) => {
                Err("a lookup is not answered in time".into())
            }
        }
    }

    /// What has that name.
    async fn get(self, name: &str) -> Result<Content, SourceError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        content("GET", name, self.link.read(&get).await)
    }

    /// A record's text, or what it begins with: one byte more than it may have. A very long one, read whole, would hold up all other
    /// lookups on the connection.
    async fn record(self, name: &str) -> Result<Content, SourceError> {
        let mut beginning = redis::cmd("GETRANGE");
        beginning.arg(name).arg(0).arg(RECORD_MAX_BYTES);
        let read = self.link.read(&beginning).await;
        if read.as_ref().is_err_and(LinkError::is_refusal) {
            // A user that may only GET is served all the same, and so is one of a server without GETRANGE.
            return self.get(name).await;
        }
        match content("GETRANGE", name, read)? {
            // There is none, or an empty one.
            Content::String(text) if text.is_empty() => self.get(name).await,
            content @ (Content::None | Content::String(_) | Content::OfOtherType) => Ok(content),
        }
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

pub(super) fn invalid(name: &str, problem: &str) -> SourceAnswer {
    SourceAnswer::Invalid(InvalidRecord::new(format!("Redis key `{name}`: {problem}")))
}
