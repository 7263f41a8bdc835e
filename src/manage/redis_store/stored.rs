//! A record as it lies in Redis, valid or not.
//!
//! It is read as a lookup reads it, so that whatever sidecars accept can be shown and changed here. What it says is checked only
//! where that is asked for, and nothing that is wrong with it is repeated.

use std::fmt;
use std::sync::Arc;

use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::keys::record::{self, KeySpec};
use crate::keys::source::InvalidRecord;

/// A record as it lies in Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The id under which it lies.
    pub id: KeyId,
    pub(super) bytes: Vec<u8>,
}

impl StoredKey {
    /// What it says, read as a lookup reads it, to be changed or printed. Its values are not checked.
    ///
    /// # Errors
    /// When it is not a record, or another key's.
    pub fn spec(&self) -> Result<KeySpec, InvalidRecord> {
        let spec = record::spec_from_json(self.text()?)?;
        if spec.id == self.id.as_str() {
            Ok(spec)
        } else {
            Err(InvalidRecord::new("it is the record of another key"))
        }
    }

    /// The record that it says, checked under the policy, or without one but for what only a policy can tell.
    ///
    /// # Errors
    /// When it is not a valid record, or another key's.
    pub fn record(&self, policy: Option<&Policy>) -> Result<Arc<KeyRecord>, InvalidRecord> {
        record::prove(&self.spec()?, policy)
    }

    pub(super) fn text(&self) -> Result<&str, InvalidRecord> {
        std::str::from_utf8(&self.bytes).map_err(|_| InvalidRecord::new("it is not UTF-8"))
    }
}

/// Shows whose it is: any of its strings may be a secret in the wrong place.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({})", self.id)
    }
}
