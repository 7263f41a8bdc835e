//! What is inside a list or mapping, element by element.
//!
//! Here is skipped what earlier readings found wrong or saw pass, and made up what they missed. In the last reading no
//! list element is skipped: what is not read is made up, so that those after it keep their numbers.

use std::sync::Arc;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer};

use super::super::tree::{Member, Node};
use super::fault::Fault;
use super::filler::Filler;
use super::reader::Reader;
use super::trail::Step;
use super::{Mark, Session, Stage};

/// The elements of a list.
pub(super) struct ListAccess<'r, 's> {
    pub(super) reader: &'r Reader<'s>,
    pub(super) nodes: std::iter::Enumerate<std::slice::Iter<'s, Arc<Node<'s>>>>,
}

impl<'de> de::SeqAccess<'de> for ListAccess<'_, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let session: &Session = self.reader.session;
        let stage = session.stage.get();
        for (index, node) in self.nodes.by_ref() {
            let mark = session.mark(node.number);
            match stage {
                Stage::Last if node.is_unset() || mark == Mark::Dropped => {
                    return Filler { session }.fill(seed).map(Some);
                }
                Stage::First | Stage::Again if node.is_unset() || mark != Mark::Unread => continue,
                Stage::First | Stage::Again | Stage::Last => {}
            }
            let value = self
                .reader
                .inside(Step::Index(index), node.number, node)
                .read(seed)?;
            if stage == Stage::Again {
                session.set_mark(node.number, Mark::Passed);
            }
            return Ok(Some(value));
        }
        Ok(None)
    }
}

/// The members of a mapping.
pub(super) struct MappingAccess<'r, 's> {
    pub(super) reader: &'r Reader<'s>,
    pub(super) members: std::slice::Iter<'s, Member<'s>>,
    pub(super) fillings: std::vec::IntoIter<&'static str>,
    /// The member whose name was read; none for one that is made up.
    pub(super) value: Option<&'s Member<'s>>,
}

impl<'de> de::MapAccess<'de> for MappingAccess<'_, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let session: &Session = self.reader.session;
        self.value = self.members.by_ref().find(|member| {
            let is_left_out = matches!(session.mark(member.number), Mark::Dropped | Mark::Unknown);
            !member.value.is_unset() && !member.is_merge() && !is_left_out
        });
        let name = match self.value {
            Some(member) => member.name.as_ref(),
            None => match self.fillings.next() {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let name: StrDeserializer<'_, Fault> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(member) = self.value else {
            let session = self.reader.session;
            return Filler { session }.fill(seed);
        };
        self.reader
            .inside(Step::Field(&member.name), member.number, &member.value)
            .read(seed)
    }
}
