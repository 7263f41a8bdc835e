//! Mappings whose names the operator chooses, and free-form values.
//!
//! serde's maps silently take the last of repeated members, and so do `serde_json::Value` and
//! `serde_yaml::Value`. With [`Members`] and [`Free`] a repeated member is an error at any depth.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A mapping from names to `V`, in the order of the file, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members<V>(Vec<(String, V)>);

/// Any value but a floating-point number, whose text would be lost; with each member of its
/// mappings once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free(pub serde_json::Value);

/// Up to so many members are compared one by one, which is faster than hashing them.
const COMPARED_IN_PLACE: usize = 16;

// === impl Members ===

impl<V> FromIterator<(String, V)> for Members<V> {
    /// Of names that are there once: what is read from text is checked for that, what a program
    /// makes is its own affair.
    fn from_iter<I: IntoIterator<Item = (String, V)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<V> Members<V> {
    /// Each name and value, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.0
            .iter()
            .find_map(|(member, value)| (member == name).then_some(value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for Members<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IntoIterator for Members<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                if has_repeated(&members) {
                    return Err(de::Error::custom("a member is repeated"));
                }
                Ok(Members(members))
            }
        }

        // Asked for any value, `serde_yaml` does not take a blank for an empty mapping.
        deserializer.deserialize_any(Entries(PhantomData))
    }
}

fn has_repeated<V>(members: &[(String, V)]) -> bool {
    if members.len() > COMPARED_IN_PLACE {
        let mut seen = HashSet::with_capacity(members.len());
        return !members.iter().all(|(name, _)| seen.insert(name.as_str()));
    }
    members
        .iter()
        .enumerate()
        .any(|(place, (name, _))| members.iter().take(place).any(|(other, _)| other == name))
}

impl<V: Serialize> Serialize for Members<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<V: JsonSchema> JsonSchema for Members<V> {
    fn schema_name() -> Cow<'static, str> {
        format!("Members_of_{}", V::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<V>(),
        })
    }
}

// === impl Free ===

macro_rules! as_json {
    ($($method:ident: $value:ty),*) => {
        $(fn $method<E>(self, value: $value) -> Result<Free, E> {
            Ok(Free(value.into()))
        })*
    };
}

impl<'de> Deserialize<'de> for Free {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Free;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            as_json!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_str: &str, visit_string: String);

            fn visit_unit<E>(self) -> Result<Free, E> {
                Ok(Free(serde_json::Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Free, A::Error> {
                let mut values = Vec::new();
                while let Some(Free(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Free(values.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Free, A::Error> {
                let mut members = serde_json::Map::new();
                while let Some((name, Free(value))) = map.next_entry::<String, Free>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is repeated"));
                    }
                }
                Ok(Free(members.into()))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Free {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Free {
    fn schema_name() -> Cow<'static, str> {
        "Free".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Numbers other than integers are refused, for their text is lost.
        json_schema!({"type": ["string", "boolean", "integer", "null", "array", "object"]})
    }
}
