//! serde's deserializer over the tree, reading scalars as `serde_yaml` does.
//!
//! It knows where it is, so every fault gets its path and position, the innermost first.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::super::problem::is_showable;
use super::super::scalar::Scalar;
use super::super::tree::{Content, Flaw, Member, Node, Origin};
use super::access::{ListAccess, MappingAccess};
use super::fault::{Fault, Kind, Site, nearest, one_of};
use super::trail::{Step, Trail};
use super::{Mark, Session};
use crate::secret_format::may_hold_secret;

/// A value in the tree, about to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'s> {
    pub(super) session: &'s Session,
    node: &'s Node<'s>,
    trail: Trail<'s>,
}

// === impl Reader ===

impl<'s> Reader<'s> {
    pub(super) fn top(session: &'s Session, node: &'s Node<'_>) -> Self {
        Self {
            session,
            node,
            trail: Trail {
                parent: None,
                step: Step::Top,
                number: node.number,
            },
        }
    }

    /// A value in the list or mapping that is here, with the number under which it can be left out.
    pub(super) fn inside<'i>(
        &'i self,
        step: Step<'i>,
        number: usize,
        node: &'i Node<'_>,
    ) -> Reader<'i> {
        Reader {
            session: self.session,
            node,
            trail: Trail {
                parent: Some(&self.trail),
                step,
                number,
            },
        }
    }

    /// Reads the value; a fault that the type finds after it was read is here too.
    pub(super) fn read<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.here(|| seed.deserialize(self))
    }

    /// Runs `read` and adds to its fault that it is here, unless it is further in.
    fn here<T>(&self, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let budget = self.session.budget.get();
        let result = if budget == 0 {
            Err(Fault::of(Kind::TooMuch))
        } else {
            self.session.budget.set(budget - 1);
            read()
        };
        result.map_err(|mut fault| {
            if fault.site.is_none() {
                if let (Kind::Missing { name, dropped }, Content::Mapping(members)) =
                    (&mut fault.kind, &self.node.content)
                {
                    *dropped = members.iter().any(|member| member.may_bring(name));
                }
                fault.site = Some(Box::new(Site {
                    path: self.trail.path(None),
                    position: self.node.position,
                    number: self.trail.number,
                    mapping: self.node.number,
                }));
            }
            fault
        })
    }

    fn scalar(&self) -> Option<Scalar<'s>> {
        match &self.node.content {
            Content::Scalar { text, plain, .. } => Some(Scalar::read(text, *plain)),
            Content::List(_) | Content::Mapping(_) => None,
        }
    }

    /// As [`Self::scalar`], where a number or boolean is asked for: within brackets a reference to the environment must stand
    /// in quotes, and its value may be one all the same.
    fn quantity(&self) -> Option<Scalar<'s>> {
        match &self.node.content {
            Content::Scalar {
                text,
                plain,
                origin,
            } => Some(Scalar::read(
                text,
                *plain || matches!(origin, Origin::Environment(_)),
            )),
            Content::List(_) | Content::Mapping(_) => None,
        }
    }

    /// Nothing at all: what was to be there may be lost, so it is neither an empty list nor an empty mapping.
    fn is_blank(&self) -> bool {
        matches!(&self.node.content, Content::Scalar { text, plain: true, .. } if text.is_empty())
    }

    fn mismatch(&self, expected: &str) -> Fault {
        let found = match (&self.node.content, self.scalar()) {
            (Content::List(_), _) => "a list",
            (Content::Mapping(_), _) => "a mapping",
            (Content::Scalar { .. }, Some(_)) if self.is_blank() => "nothing",
            (Content::Scalar { .. }, Some(scalar)) => scalar.noun(),
            (Content::Scalar { .. }, None) => "another value",
        };
        Fault::found(expected, found)
    }

    /// A type may say what its mapping looks like, in its `expecting`.
    fn not_a_mapping(&self, expected: &dyn de::Expected) -> Fault {
        let told = expected.to_string();
        let says = told.starts_with("a mapping");
        let wanted = if says { &told } else { "a mapping" };
        self.not_a(wanted, "write {} for an empty mapping")
    }

    /// As [`Self::mismatch`]; of nothing at all it tells how to write what is empty.
    fn not_a(&self, expected: &str, empty: &str) -> Fault {
        if !self.is_blank() {
            return self.mismatch(expected);
        }
        Fault::of(Kind::Wrong {
            message: "holds nothing".to_owned(),
            help: Some(format!("{empty}, or leave it out")),
        })
    }

    fn mapping<'de, V: Visitor<'de>>(
        &self,
        members: &'s [Member<'s>],
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(fields) = fields {
            self.drop_unknown(members, fields);
        }
        let fillings = self.session.fillings.borrow();
        let fillings = fillings.get(&self.node.number).cloned();
        visitor.visit_map(MappingAccess {
            reader: self,
            members: members.iter(),
            fillings: fillings.unwrap_or_default().into_iter(),
            value: None,
        })
    }

    fn drop_unknown(&self, members: &[Member<'_>], fields: &[&str]) {
        for member in members {
            if fields.contains(&member.name.as_ref())
                || member.is_merge()
                || !self.session.set_mark(member.number, Mark::Unknown)
                || self.session.omits_more()
            {
                continue;
            }
            let name = &member.name;
            let meant = nearest(name, fields).filter(|_| !may_hold_secret(name));
            // A name that is no typo may be anything, and even a secret.
            let message = if meant.is_some() || is_showable(name) {
                format!("unknown field `{}`", name.escape_debug())
            } else {
                "an unknown field".to_owned()
            };
            self.session.note(Flaw {
                path: self.trail.path(Some(name)),
                position: member.position,
                message,
                help: meant.or_else(|| Some(one_of(fields))),
            });
        }
    }
}

macro_rules! numbers {
    ($($method:ident: $range:literal),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.here(|| {
                let result = match self.quantity() {
                    Some(Scalar::Unsigned(value)) => visitor.visit_u64(value),
                    Some(Scalar::Signed(value)) => visitor.visit_i64(value),
                    _ => return Err(self.mismatch($range)),
                };
                // The type says which numbers it takes; derived visitors only name themselves.
                result.map_err(|fault: Fault| match (&fault.site, &fault.kind) {
                    (None, Kind::Wrong { .. }) => Fault::of(Kind::Wrong {
                        message: "out of range".to_owned(),
                        help: Some(concat!("expected ", $range).to_owned()),
                    }),
                    _ => fault,
                })
            })
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    numbers!(
        deserialize_u8: "a whole number from 0 to 255",
        deserialize_u16: "a whole number from 0 to 65535",
        deserialize_u32: "a whole number from 0 to 4294967295",
        deserialize_u64: "a whole number from 0",
        deserialize_i8: "a whole number from -128 to 127",
        deserialize_i16: "a whole number from -32768 to 32767",
        deserialize_i32: "a whole number from -2147483648 to 2147483647",
        deserialize_i64: "a whole number",
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Mapping(_) => self.deserialize_map(visitor),
            Content::Scalar { text, plain, .. } => self.here(|| match Scalar::read(text, *plain) {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Unsigned(value) => visitor.visit_u64(value),
                Scalar::Signed(value) => visitor.visit_i64(value),
                Scalar::Float(value) => visitor.visit_f64(value),
                Scalar::Text(value) => visitor.visit_str(value),
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.here(|| match self.quantity() {
            Some(Scalar::Bool(value)) => visitor.visit_bool(value),
            _ => Err(self.mismatch("true or false")),
        })
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.here(|| match self.quantity() {
            Some(Scalar::Unsigned(value)) => visitor.visit_u64(value),
            Some(Scalar::Signed(value)) => visitor.visit_i64(value),
            Some(Scalar::Float(value)) => visitor.visit_f64(value),
            _ => Err(self.mismatch("a number")),
        })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    /// Any scalar is a string where one is asked for, so that `id: 42` needs no quotes.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.here(|| match &self.node.content {
            Content::Scalar { text, .. } => visitor.visit_str(text),
            Content::List(_) | Content::Mapping(_) => {
                let expected: &dyn de::Expected = &visitor;
                Err(self.mismatch(&expected.to_string()))
            }
        })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.here(|| Err(self.mismatch("bytes")))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.scalar().is_some_and(Scalar::is_null) {
            self.here(|| visitor.visit_none())
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.here(|| {
            if self.scalar().is_some_and(Scalar::is_null) {
                visitor.visit_unit()
            } else {
                Err(self.mismatch("null"))
            }
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.here(|| visitor.visit_newtype_struct(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let nodes = match &self.node.content {
            Content::List(nodes) => nodes.as_slice(),
            Content::Scalar { .. } | Content::Mapping(_) => {
                return self.here(|| Err(self.not_a("a list", "write [] for an empty list")));
            }
        };
        self.here(|| {
            visitor.visit_seq(ListAccess {
                reader: &self,
                nodes: nodes.iter().enumerate(),
            })
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.here(|| match &self.node.content {
            Content::Mapping(members) => self.mapping(members, None, visitor),
            Content::Scalar { .. } | Content::List(_) => Err(self.not_a_mapping(&visitor)),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.here(|| match &self.node.content {
            Content::Mapping(members) => self.mapping(members, Some(fields), visitor),
            Content::Scalar { .. } | Content::List(_) => Err(self.not_a_mapping(&visitor)),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.here(|| match &self.node.content {
            Content::Scalar { text, .. } => {
                let variant: StrDeserializer<'_, Fault> = text.as_ref().into_deserializer();
                visitor.visit_enum(variant)
            }
            Content::List(_) | Content::Mapping(_) => {
                Err(self.mismatch(one_of(variants).trim_start_matches("expected ")))
            }
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}
