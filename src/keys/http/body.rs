//! The body of an answer.
//!
//! A body that is not one whole JSON value comes from something else, such as a proxy, or was cut
//! off: that is a failure and says nothing of the key. JSON that is not a valid record is the
//! service's answer, and so is a body that is too long.

use std::time::Duration;

use reqwest::Response;
use serde::de::IgnoredAny;

use super::super::record;
use super::super::source::{InvalidRecord, SourceAnswer};
use crate::authz::digest::KeyDigest;
use crate::http::encoding;
use crate::http::failure::Failure;

/// The longest body that is read: many times a record with long lists, and bounded memory with
/// `max_in_flight` lookups.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The most that is read of a body that is not used.
const MAX_SKIPPED_BYTES: usize = 16 * 1024;

/// The answer in the body of a 200.
pub(super) async fn record(
    response: Response,
    digest: &KeyDigest,
) -> Result<SourceAnswer, Failure> {
    encoding::require_identity(response.headers())?;
    let Some(body) = read(response).await? else {
        let problem = format!("it is longer than {MAX_BODY_BYTES} bytes");
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

/// The whole body; `None` if it is too long.
async fn read(mut response: Response) -> Result<Option<Vec<u8>>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::of_answer)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Reads a body that is not used, so that its connection can be used again; closes that if it takes
/// long.
pub(super) async fn skip(mut response: Response, within: Duration) {
    let read = async {
        let mut read = 0;
        while read < MAX_SKIPPED_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read += chunk.len();
        }
    };
    let _ = tokio::time::timeout(within, read).await;
}
