//! What the body of an answer says.
//!
//! A body that is not one whole JSON value comes from somebody else, such as a proxy, or was cut off: it is a failure and says
//! nothing of the key. JSON that is no valid record is the service's answer, and `record` judges it; so is one that is too long.

use std::time::Duration;

use reqwest::Response;
use serde::de::IgnoredAny;

use super::super::record;
use super::super::source::{InvalidRecord, SourceAnswer};
use super::encoding;
use super::failure::Failure;
use crate::authz::digest::KeyDigest;

/// The longest body that is read: many times a record with long lists, and with `max_in_flight` lookups no danger to the memory.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// The most that is read of a body that says nothing, so that its connection can be used again.
const SKIPPED_MAX_BYTES: usize = 16 * 1024;

/// The answer in the body of a 200.
pub(super) async fn record(
    response: Response,
    digest: &KeyDigest,
) -> Result<SourceAnswer, Failure> {
    encoding::require_identity(response.headers())?;
    let Some(body) = read(response).await? else {
        let problem = format!("it is longer than {BODY_MAX_BYTES} bytes");
        return Ok(SourceAnswer::Invalid(InvalidRecord::new(problem)));
    };
    let text = str::from_utf8(&body).map_err(|_| Failure::permanent("its answer is not UTF-8"))?;
    record::answer(text, digest).or_else(|not_json| {
        // JSON that nests too deep to be read is the service's answer all the same.
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(SourceAnswer::Invalid(not_json.into())),
            Err(_) => Err(Failure::permanent("its answer is not one whole JSON value")),
        }
    })
}

/// The whole body; `None` if it is too long to be read.
async fn read(mut response: Response) -> Result<Option<Vec<u8>>, Failure> {
    let mut body = Vec::new();
    // Once an answer has begun it is not asked for again.
    while let Some(chunk) = response.chunk().await.map_err(Failure::of_answer)? {
        if body.len() + chunk.len() > BODY_MAX_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Reads what nobody wants to know, or hangs up if that takes long. The status has said all, so that nothing that goes wrong here
/// matters.
pub(super) async fn skip(mut response: Response, within: Duration) {
    let read = async {
        let mut read = 0;
        while read < SKIPPED_MAX_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read += chunk.len();
        }
    };
    let _ = tokio::time::timeout(within, read).await;
}
