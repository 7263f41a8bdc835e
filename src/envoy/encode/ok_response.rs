//! An `OkHttpResponse`: what changes in an allowed request, as Envoy's fields.
//!
//! Envoy merges the fields of two of them that follow each other, so that the key's part, encoded
//! once, and the request's can be joined as bytes.

use prost::Message as _;

use super::header;
use crate::answer::upstream::UpstreamChanges;
use crate::envoy::proto::envoy::service::auth::v3::OkHttpResponse;

/// The fields of the message; nothing for no changes.
pub(super) fn encode(changes: UpstreamChanges<'_>) -> Vec<u8> {
    let set = changes.set.into_iter();
    let removed = changes.remove.into_iter();
    let parameters = changes.remove_query.into_iter();
    OkHttpResponse {
        headers: set
            .map(|(name, value)| header(name, value.into_owned()))
            .collect(),
        headers_to_remove: removed.map(Into::into).collect(),
        query_parameters_to_remove: parameters.map(Into::into).collect(),
    }
    .encode_to_vec()
}
