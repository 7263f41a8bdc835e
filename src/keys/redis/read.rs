//! How a key is read: the index entry of its digest, then its record.
//!
//! Takes a digest and sends the commands of a lookup. The probe digest, which no key has, is looked
//! up with a record that no key has: a probe sends every command of a lookup, since the user may be
//! allowed one and not the other.

use std::time::Duration;

use redis::Value;

use super::super::record;
use super::super::source::{InvalidRecord, SourceAnswer, SourceError, probe_digest};
use super::MAX_RECORD_BYTES;
use super::layout::Layout;
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyId;
use crate::redis::client::{CommandError, RedisClient};
use crate::redis::error_text::Cause;

const NOT_A_STRING: &str = "it does not hold a string";

/// Reads keys.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) client: &'a RedisClient,
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

    /// Looks up the probe digest; fails where a lookup would.
    pub(super) async fn probe(self, within: Duration) -> Result<(), Cause> {
        let looked_up = tokio::time::timeout(within, self.look_up(&probe_digest())).await;
        match looked_up {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(SourceError::Failed(why) | SourceError::Unreachable(why))) => Err(why),
            Ok(Err(SourceError::Timeout | SourceError::Overloaded)) | Err(_) => {
                Err("a lookup is not answered in time".into())
            }
        }
    }

    async fn get(self, name: &str) -> Result<Content, SourceError> {
        let get = redis::cmd("GET").arg(name).to_owned();
        content("GET", name, self.client.read(&get).await)
    }

    /// A record's text, up to one byte more than it may have. A very long one, read whole, would
    /// hold up all other lookups on the connection.
    async fn record(self, name: &str) -> Result<Content, SourceError> {
        let mut beginning = redis::cmd("GETRANGE");
        beginning.arg(name).arg(0).arg(MAX_RECORD_BYTES);
        let read = self.client.read(&beginning).await;
        if read.as_ref().is_err_and(CommandError::is_refusal) {
            // The user may only GET, or the server has no GETRANGE.
            return self.get(name).await;
        }
        match content("GETRANGE", name, read)? {
            // GETRANGE does not tell an absent record from an empty one.
            Content::String(text) if text.is_empty() => self.get(name).await,
            content @ (Content::None | Content::String(_) | Content::OfOtherType) => Ok(content),
        }
    }
}

enum Content {
    None,
    String(Vec<u8>),
    /// A list, a hash, …: an invalid record, not a failure of the source.
    OfOtherType,
}

/// The content that a command answered with.
fn content(
    word: &str,
    name: &str,
    answer: Result<Value, CommandError>,
) -> Result<Content, SourceError> {
    let failed = |text: String| SourceError::Failed(text.into());
    match answer {
        Ok(Value::Nil) => Ok(Content::None),
        Ok(Value::BulkString(content)) => Ok(Content::String(content)),
        Ok(_) => Err(failed(format!("{word} {name}: the answer is not a string"))),
        Err(error) if error.is_wrong_type() => Ok(Content::OfOtherType),
        Err(error) if error.is_down() => Err(SourceError::Unreachable(error.cause().into())),
        Err(error) => Err(failed(format!("{word} {name}: {}", error.cause()))),
    }
}

/// The answer that a record gives, if it is that key's.
fn record_in(key: &str, id: &KeyId, text: &[u8], digest: &KeyDigest) -> SourceAnswer {
    if text.len() > MAX_RECORD_BYTES {
        return invalid(key, "it holds more than 256 KiB");
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return invalid(key, "it does not hold UTF-8");
    };
    let answer = record::answer(text, digest)
        .unwrap_or_else(|not_json| SourceAnswer::Invalid(not_json.into()));
    match answer {
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
