//! The part that all answers on one key have in common, encoded once and cached with the key.
//!
//! Identity headers and the key's metadata follow from its record and the policy alone, so they are
//! encoded before a request arrives. They are valid for one generation, since another may have
//! other headers or plans.

use std::fmt;

use super::{metadata, ok_response};
use crate::answer::upstream::UpstreamChanges;
use crate::authorizer::PresentedKey;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::Policy;

/// The key's part of an answer: its identity headers and its metadata, as bytes of the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedKey {
    /// The fields of `OkHttpResponse`, then the entries of the metadata, in one allocation, since
    /// there are many keys.
    bytes: Box<[u8]>,
    /// Where the metadata begins.
    split: usize,
}

impl EncodedKey {
    /// Encodes the key's part of answers under this policy.
    pub fn of(record: &KeyRecord, policy: &Policy) -> Self {
        let mut bytes = ok_response::encode(UpstreamChanges::by_key(record, policy));
        let split = bytes.len();
        bytes.extend(metadata::of_key(record));
        Self {
            bytes: bytes.into(),
            split,
        }
    }

    /// What an allow of this key sets and removes, whatever the request: fields of an
    /// `OkHttpResponse`.
    pub(super) fn ok_response(&self) -> &[u8] {
        self.bytes.get(..self.split).unwrap_or_default()
    }

    /// Entries of the metadata.
    pub(super) fn metadata(&self) -> &[u8] {
        self.bytes.get(self.split..).unwrap_or_default()
    }
}

/// The bytes are no secret, but of no use to a reader.
impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedKey")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// A known key with its encoded part of the answers.
pub trait HasEncodedKey {
    /// The bytes, encoded under the policy by which the key was decided.
    fn encoded_key(&self) -> &EncodedKey;
}

impl HasEncodedKey for EncodedKey {
    fn encoded_key(&self) -> &EncodedKey {
        self
    }
}

impl<P: HasEncodedKey> HasEncodedKey for PresentedKey<P> {
    fn encoded_key(&self) -> &EncodedKey {
        self.prepared.encoded_key()
    }
}
