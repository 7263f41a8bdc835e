//! A value that becomes whatever is asked for, in the place of one that is missing or wrong.
//!
//! It lets the reading go on to what else is wrong. It has the members that its type cannot do without, which are
//! learnt as they are missed; the others are left to their defaults. Whatever is read from it is in doubt.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::Session;
use super::fault::{Fault, Kind};

/// Any value.
#[derive(Clone, Copy)]
pub(super) struct Filler<'s> {
    pub(super) session: &'s Session,
}

struct Nothing;

/// A member for each of the names.
struct Each<'s> {
    filler: Filler<'s>,
    names: std::vec::IntoIter<&'static str>,
}

impl Filler<'_> {
    /// Makes up a value.
    pub(super) fn fill<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self).map_err(|fault| match fault.kind {
            Kind::Required { .. } => fault,
            Kind::Wrong { .. } | Kind::Missing { .. } | Kind::Unfillable | Kind::TooMuch => {
                Fault::of(Kind::Unfillable)
            }
        })
    }
}

macro_rules! fill {
    ($($method:ident => $visit:ident($value:expr)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Filler<'_> {
    type Error = Fault;

    fill!(
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i64(0),
        deserialize_i16 => visit_i64(0),
        deserialize_i32 => visit_i64(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u64(0),
        deserialize_u16 => visit_u64(0),
        deserialize_u32 => visit_u64(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f64(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_char => visit_char('a'),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
        deserialize_bytes => visit_bytes(&[]),
        deserialize_byte_buf => visit_bytes(&[]),
        deserialize_identifier => visit_str(""),
        deserialize_seq => visit_seq(Nothing),
        deserialize_map => visit_map(Nothing),
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    /// What may be absent is not made up: where this is asked for, null would be wrong.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Nothing)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(Nothing)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let of = (name, fields);
        let each = Each {
            filler: self,
            names: self.session.required(of).into_iter(),
        };
        visitor.visit_map(each).map_err(|fault| match fault.kind {
            Kind::Missing { name, .. } => Fault::of(Kind::Required { of, name }),
            Kind::Wrong { .. } | Kind::Required { .. } | Kind::Unfillable | Kind::TooMuch => fault,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant = variants.first().ok_or(Fault::of(Kind::Unfillable))?;
        let variant: StrDeserializer<'_, Fault> = (*variant).into_deserializer();
        visitor.visit_enum(variant)
    }
}

impl<'de> de::SeqAccess<'de> for Nothing {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        _: T,
    ) -> Result<Option<T::Value>, Fault> {
        Ok(None)
    }
}

impl<'de> de::MapAccess<'de> for Nothing {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Fault> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::of(Kind::Unfillable))
    }
}

impl<'de> de::MapAccess<'de> for Each<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Fault> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(self.filler)
    }
}
