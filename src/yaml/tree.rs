//! A document as a tree in which every name and value has its line and column.
//!
//! `serde_yaml` gives no positions for most problems, so a document with problems, and every
//! configuration, is read by `libyaml-safer` too: a port of the parser under `serde_yaml` that
//! gives positions. It reads only what `serde_yaml` found well-formed. Aliases share their node, so
//! that a bomb of aliases needs no memory. Records in JSON become the same tree, without positions.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::problem::{Position, Segment, YamlPath};
use super::substitute::InvalidReference;

mod builder;

pub(super) use builder::read;

/// What YAML 1.1 takes for a mapping's other members; it is refused, for YAML 1.2 has no such
/// thing.
pub(super) const MERGE_KEY: &str = "<<";

/// A value, with where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    /// None in JSON.
    pub(super) position: Option<Position>,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar(ScalarText),
    /// A number whose text is lost, or is not what its tag says.
    Inexact,
    /// A reference to the environment that cannot be replaced.
    Unset(InvalidReference),
    List(Vec<Arc<Node>>),
    Mapping(Vec<Member>),
}

#[derive(Debug)]
pub(super) struct ScalarText {
    pub(super) text: String,
    /// Unquoted, and so perhaps a number, a boolean or null.
    pub(super) plain: bool,
    /// What the file has in its place, where it came from the environment.
    pub(super) written: Option<String>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) position: Option<Position>,
    pub(super) value: Arc<Node>,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Arc<Node>,
    /// How many names and values there are, each alias counted as one.
    pub(super) count: usize,
}

/// What keeps a document from being read at all.
pub(super) struct Unreadable {
    pub(super) path: YamlPath,
    pub(super) position: Option<Position>,
    pub(super) message: String,
    pub(super) help: Option<&'static str>,
    /// Whether no other parser needs to be asked: it nests too deep, or is unreadable here.
    pub(super) is_final: bool,
}

impl Tree {
    /// Where the value at `path` begins, or the nearest one around it that exists; of the member's
    /// name instead, if that is asked for.
    pub(super) fn locate(&self, path: &YamlPath, of_name: bool) -> Option<Position> {
        let mut node = &self.root;
        let mut name = None;
        for segment in &path.0 {
            let inner = match (segment, &node.content) {
                (Segment::Index(index), Content::List(list)) => {
                    list.get(*index).map(|inner| (inner, None))
                }
                (Segment::Field(name), Content::Mapping(members)) => members
                    .iter()
                    .find(|member| member.name == *name)
                    .map(|member| (&member.value, member.position)),
                _ => None,
            };
            let Some((inner, position)) = inner else {
                return node.position;
            };
            (node, name) = (inner, position);
        }
        name.filter(|_| of_name).or(node.position)
    }
}

// === A tree of JSON ===

impl From<Node> for Tree {
    fn from(root: Node) -> Self {
        Self {
            count: root.count(),
            root: Arc::new(root),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl NodeVisitor {
    fn scalar(text: impl Into<String>, plain: bool) -> Node {
        Node::without_position(Content::Scalar(ScalarText {
            text: text.into(),
            plain,
            written: None,
        }))
    }
}

impl Node {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<String> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar.text.clone()),
            Content::Inexact | Content::Unset(_) | Content::List(_) | Content::Mapping(_) => None,
        }
    }

    /// The text of a member, if it is a scalar.
    pub(super) fn text_of(&self, name: &str) -> Option<String> {
        let Content::Mapping(members) = &self.content else {
            return None;
        };
        let mut members = members.iter();
        members.find(|member| member.name == name)?.value.text()
    }

    fn count(&self) -> usize {
        let inside: usize = match &self.content {
            Content::List(items) => items.iter().map(|item| item.count()).sum(),
            Content::Mapping(members) => members.iter().map(|member| member.value.count()).sum(),
            Content::Scalar(_) | Content::Inexact | Content::Unset(_) => 0,
        };
        inside + 1
    }

    fn without_position(content: Content) -> Self {
        let position = None;
        Self { content, position }
    }
}

macro_rules! plain {
    ($($method:ident: $value:ty),*) => {
        $(fn $method<E>(self, value: $value) -> Result<Node, E> {
            Ok(Self::scalar(value.to_string(), true))
        })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    plain!(visit_bool: bool, visit_i64: i64, visit_u64: u64);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Self::scalar("null", true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::without_position(Content::Inexact))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Self::scalar(value, false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(Arc::new(node));
        }
        Ok(Node::without_position(Content::List(nodes)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = mapping.next_entry()? {
            members.push(Member {
                name,
                position: None,
                value: Arc::new(value),
            });
        }
        Ok(Node::without_position(Content::Mapping(members)))
    }
}
