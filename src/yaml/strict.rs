//! Straight from text into types, without serde's and `serde_yaml`'s leniency.
//!
//! A blank is neither an empty list nor an empty mapping: it may have been lost, as in a file cut
//! short, and an empty list of restrictions opens what a full one closes. And what serde derives
//! for a struct takes a list of its members' values too. A refusal here says nothing: the document
//! is read by way of the tree then, and held against its schema.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What is read from a mapping alone.
pub(super) struct Mapping<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Only<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mapping: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(mapping))
            }
        }

        deserializer.deserialize_any(Only(PhantomData)).map(Self)
    }
}

/// For a list that is no blank: `#[serde(deserialize_with = "yaml::list")]`.
pub fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Only<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Only(PhantomData))
}

/// As [`list`], for a list of structs.
pub fn mappings<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mappings = list::<D, Mapping<T>>(deserializer)?;
    Ok(mappings.into_iter().map(|Mapping(value)| value).collect())
}

/// As [`list`], for a list of texts.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Text(String);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer).map(Self)
        }
    }

    let texts = list::<D, Text>(deserializer)?;
    Ok(texts.into_iter().map(|Text(text)| text).collect())
}

/// As [`texts`], for a list that may be absent and not null: what is absent may allow everything,
/// so that a value that got lost must not pass for absent.
pub fn given_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    texts(deserializer).map(Some)
}

/// For a string that must say something. Any scalar is a string where one is asked for, so that
/// `id: 42` needs no quotes; but null and a blank would be the strings `null` and none.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer)?.ok_or_else(|| Error::custom("null"))
}

/// Whether a member is left out: `#[serde(skip_serializing_if = "absent")]`.
pub fn absent<T>(value: &Option<T>) -> bool {
    value.is_none()
}
