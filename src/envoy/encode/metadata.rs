//! The dynamic metadata of an answer: `keyward: {decision, reason, decision_id, key_id, client,
//! rule, ...}`.
//!
//! Envoy's access logs, rate limits and routing read it, on allows and on refusals. It is a
//! `Struct` within a `Struct`, and its map entries are written one by one into the answer, the
//! key's already encoded.

use super::{HasEncodedKey, field_len, put_field, put_head};
use crate::authz::decision::Decision;
use crate::authz::key::KeyRecord;

/// The namespace of all of it.
const NAMESPACE: &str = "keyward";

/// The metadata of one decision.
pub(super) struct Metadata<'d> {
    decision: &'static str,
    reason: &'static str,
    /// The key's entries, encoded.
    key: &'d [u8],
    rule: Option<&'d str>,
    decision_id: &'d str,
}

impl<'d> Metadata<'d> {
    pub(super) fn of<K: HasEncodedKey>(
        decision: &'d Decision<'_, K>,
        decision_id: &'d str,
    ) -> Self {
        Self {
            decision: decision.kind().as_str(),
            reason: decision.reason().as_str(),
            key: decision
                .key()
                .map_or(&[], |key| key.encoded_key().metadata()),
            rule: decision.rule().map(|rule| &*rule.name),
            decision_id,
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        field_len(self.namespace_len())
    }

    pub(super) fn put(&self, message: &mut Vec<u8>) {
        put_head(message, structure::FIELDS, self.namespace_len());
        put_field(message, map_entry::KEY, NAMESPACE.as_bytes());
        put_head(message, map_entry::VALUE, field_len(self.entries_len()));
        put_head(message, value::STRUCT_VALUE, self.entries_len());
        for (name, text) in self.texts() {
            put_text(message, name, text);
        }
        message.extend_from_slice(self.key);
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &'d str)> {
        let always = [
            ("decision", self.decision),
            ("reason", self.reason),
            ("decision_id", self.decision_id),
        ];
        always
            .into_iter()
            .chain(self.rule.map(|rule| ("rule", rule)))
    }

    fn entries_len(&self) -> usize {
        let texts: usize = self.texts().map(|(name, text)| text_len(name, text)).sum();
        texts + self.key.len()
    }

    fn namespace_len(&self) -> usize {
        field_len(NAMESPACE.len()) + field_len(field_len(self.entries_len()))
    }
}

/// The entries that are the same in every decision on this key, encoded.
pub(super) fn of_key(record: &KeyRecord) -> Vec<u8> {
    let mut entries = Vec::new();
    put_text(&mut entries, "key_id", record.id.as_str());
    put_text(&mut entries, "client", record.client());
    if let Some(plan) = &record.plan {
        put_text(&mut entries, "plan", plan.as_str());
    }
    entries
}

/// Writes a member of a `Struct` whose value is a text.
fn put_text(message: &mut Vec<u8>, name: &str, text: &str) {
    let value_len = field_len(text.len());
    put_head(
        message,
        structure::FIELDS,
        field_len(name.len()) + field_len(value_len),
    );
    put_field(message, map_entry::KEY, name.as_bytes());
    put_head(message, map_entry::VALUE, value_len);
    put_field(message, value::STRING_VALUE, text.as_bytes());
}

fn text_len(name: &str, text: &str) -> usize {
    field_len(field_len(name.len()) + field_len(field_len(text.len())))
}

/// Field numbers of `google.protobuf.Struct`, of the entries of its map, and of `Value`.
mod structure {
    pub(super) const FIELDS: u8 = 1;
}

mod map_entry {
    pub(super) const KEY: u8 = 1;
    pub(super) const VALUE: u8 = 2;
}

mod value {
    pub(super) const STRING_VALUE: u8 = 3;
    pub(super) const STRUCT_VALUE: u8 = 5;
}
