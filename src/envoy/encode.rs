//! Encodes a `Decision` as the bytes of a `CheckResponse`: the one place that builds answers to
//! Envoy.
//!
//! It is one total function, since Envoy takes an empty `CheckResponse` for an allow, and any other
//! whose status is zero. Every refusal gets its status here and nowhere else, and a test goes
//! through all reasons. The key's part of an answer does not change between requests, so it is
//! encoded once and cached with the key ([`EncodedKey`]): an allow is the key's bytes followed by
//! the request's, copied once.

mod denied_response;
mod encoded_key;
mod metadata;
mod ok_response;

use std::borrow::Cow;

use bytes::Bytes;
use prost::length_delimiter_len;

use self::metadata::Metadata;
use crate::answer::denial::{CallerProtocol, Denial};
use crate::answer::upstream::UpstreamChanges;
use crate::authz::decision::{Decision, Grounds, Refusal};
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::Policy;
use crate::envoy::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

pub use self::encoded_key::{EncodedKey, HasEncodedKey};

/// The bytes of the `CheckResponse` for a decision.
///
/// `policy` is the one that the decision was made and the key's bytes were encoded under; `request`
/// is `None` where Envoy sent no HTTP attributes.
pub fn encode_response<K: HasEncodedKey>(
    decision: &Decision<'_, K>,
    policy: &Policy,
    request: Option<&RequestAttributes<'_>>,
    decision_id: &str,
) -> Bytes {
    let metadata = Metadata::of(decision, decision_id);
    match decision {
        Decision::Allow(grant) => {
            let by_key = match &grant.grounds {
                Grounds::Key(key) => Cow::Borrowed(key.encoded_key().ok_response()),
                Grounds::Public | Grounds::Observed(_) => {
                    Cow::Owned(ok_response::encode(UpstreamChanges::without_key(policy)))
                }
            };
            let by_request = request.map_or_else(Vec::new, |request| {
                ok_response::encode(UpstreamChanges::by_request(request, policy))
            });
            let parts = [&*by_key, &by_request];
            answer(&[], check_response::OK_RESPONSE, parts, &metadata)
        }
        Decision::Deny(refusal) => {
            let denial = Denial::of(refusal, policy, CallerProtocol::of(request));
            let status = denied_response::status(&denial, refusal.reason);
            let response = denied_response::encode(denial);
            let parts = [&*response, &[]];
            answer(&status, response_field(refusal), parts, &metadata)
        }
    }
}

/// The field of the answer that holds a refusal. Envoy counts only an `error_response` as an error,
/// and `failure_mode_allow` lets a request with one through. So it is used for a source that fails,
/// and never for what an attacker can cause with a flood of requests.
fn response_field<K>(refusal: &Refusal<'_, K>) -> u8 {
    if refusal.reason == Reason::SourceUnavailable {
        check_response::ERROR_RESPONSE
    } else {
        check_response::DENIED_RESPONSE
    }
}

/// Assembles an answer. The `parts` are concatenated in one response message, which merges their
/// fields.
fn answer(status: &[u8], response_field: u8, parts: [&[u8]; 2], metadata: &Metadata<'_>) -> Bytes {
    let response_len = parts.iter().map(|part| part.len()).sum();
    let metadata_len = metadata.encoded_len();
    let len = field_len(status.len()) + field_len(response_len) + field_len(metadata_len);
    let mut message = Vec::with_capacity(len);
    put_field(&mut message, check_response::STATUS, status);
    put_head(&mut message, response_field, response_len);
    for part in parts {
        message.extend_from_slice(part);
    }
    put_head(&mut message, check_response::DYNAMIC_METADATA, metadata_len);
    metadata.put(&mut message);
    debug_assert_eq!(message.len(), len, "the precomputed length is wrong");
    message.into()
}

/// A header that replaces all lines of its name. Envoy goes by `append` here, not by
/// `append_action`.
fn header(name: &str, value: String) -> HeaderValueOption {
    let value = HeaderValue {
        key: name.to_owned(),
        value,
        raw_value: Bytes::new(),
    };
    HeaderValueOption {
        header: Some(value),
        append: Some(false),
    }
}

/// Field numbers of `CheckResponse`.
mod check_response {
    pub(super) const STATUS: u8 = 1;
    pub(super) const DENIED_RESPONSE: u8 = 2;
    pub(super) const OK_RESPONSE: u8 = 3;
    pub(super) const DYNAMIC_METADATA: u8 = 4;
    pub(super) const ERROR_RESPONSE: u8 = 5;
}

/// The encoded length of a field with so many bytes of content. All field numbers are below 16.
fn field_len(content_len: usize) -> usize {
    1 + length_delimiter_len(content_len) + content_len
}

/// Writes a field of bytes, of text or of an encoded message.
fn put_field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_head(message, number, content.len());
    message.extend_from_slice(content);
}

/// Writes a field's key and length, which precede its content.
fn put_head(message: &mut Vec<u8>, number: u8, mut content_len: usize) {
    const LENGTH_DELIMITED: u8 = 2;
    message.push(number << 3 | LENGTH_DELIMITED);
    while content_len >= 0x80 {
        let [low, ..] = content_len.to_le_bytes();
        message.push(low | 0x80);
        content_len >>= 7;
    }
    let [low, ..] = content_len.to_le_bytes();
    message.push(low);
}

#[cfg(test)]
mod tests;
