//! A record as it is stored in Redis, valid or not.
//!
//! It is read as a lookup reads it, so that whatever sidecars accept can be shown and changed here.
//! Values are checked only on request, and errors do not repeat them.

use std::fmt;
use std::sync::Arc;

use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::keys::record::{self, KeySpec};
use crate::keys::source::InvalidRecord;

/// A record as it is stored in Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The id under which it is stored.
    pub id: KeyId,
    pub(super) bytes: Vec<u8>,
}

impl StoredKey {
    /// Its members, to be changed or printed. Values are not checked.
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

    /// The record, checked under the policy; without one, plans and the like are not checked.
    ///
    /// # Errors
    /// When it is not a valid record, or another key's.
    pub fn record(&self, policy: Option<&Policy>) -> Result<Arc<KeyRecord>, InvalidRecord> {
        record::validate(&self.spec()?, policy)
    }

    pub(super) fn text(&self) -> Result<&str, InvalidRecord> {
        std::str::from_utf8(&self.bytes).map_err(|_| InvalidRecord::new("it is not UTF-8"))
    }
}

/// Shows the id alone: any string of the record may be a secret in the wrong place.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({})", self.id)
    }
}
