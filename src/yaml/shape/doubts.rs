//! What of a value is not the file's, though it was read from the file.
//!
//! A value whose shape was wrong was left out, and its type's default or something made up stands in its place. Of such a value
//! nothing must be told, and nothing because of it.

use std::cell::Cell;
use std::collections::HashMap;

use super::super::problem::{Segment, YamlPath};
use super::super::tree::{Content, Node, Tree};
use super::Mark;

/// What was left out and what was made up, by the numbers of the tree.
pub(in crate::yaml) struct Doubts {
    marks: Vec<Cell<Mark>>,
    fillings: HashMap<usize, Vec<&'static str>>,
}

/// What stands at a path.
enum Sight<'n, 't> {
    /// Something else than the file has.
    Doubtful,
    /// Nothing, in the file too.
    Absent,
    There {
        node: &'n Node<'t>,
        repeated: bool,
    },
}

impl Doubts {
    pub(super) fn new(marks: Vec<Cell<Mark>>, fillings: HashMap<usize, Vec<&'static str>>) -> Self {
        Self { marks, fillings }
    }

    /// Whether what is at `path`, or anything that it is in, is not the file's.
    pub(in crate::yaml) fn is_doubtful(&self, tree: &Tree<'_>, path: &YamlPath) -> bool {
        matches!(self.look(tree, path), Sight::Doubtful)
    }

    /// Whether what is at `path` is as the file has it, no member or element left out or made up, and the only value there.
    pub(in crate::yaml) fn is_known(&self, tree: &Tree<'_>, path: &YamlPath) -> bool {
        match self.look(tree, path) {
            Sight::Doubtful => false,
            Sight::Absent => true,
            Sight::There { node, repeated } => !repeated && self.is_complete(node),
        }
    }

    fn look<'n, 't>(&self, tree: &'n Tree<'t>, path: &YamlPath) -> Sight<'n, 't> {
        let mut node = &*tree.root;
        let mut repeated = false;
        for segment in &path.0 {
            let inner = match (segment, &node.content) {
                (Segment::Field(name), _) if self.is_filled(node, name) => return Sight::Doubtful,
                (Segment::Index(index), Content::List(list)) => {
                    list.get(*index).map(|node| (node, node.number, false))
                }
                (Segment::Field(name), Content::Mapping(members)) => members
                    .iter()
                    .find(|member| member.name == name.as_str())
                    .map(|member| (&member.value, member.number, member.repeated)),
                (_, Content::Scalar { .. } | Content::List(_) | Content::Mapping(_)) => None,
            };
            let Some((inner, number, again)) = inner else {
                // It may be there under a name that is misspelt.
                return if self.has_unknown(node) {
                    Sight::Doubtful
                } else {
                    Sight::Absent
                };
            };
            if self.is_left_out(number, inner) {
                return Sight::Doubtful;
            }
            (node, repeated) = (inner, again);
        }
        Sight::There { node, repeated }
    }

    fn is_filled(&self, node: &Node<'_>, name: &str) -> bool {
        self.fillings
            .get(&node.number)
            .is_some_and(|names| names.contains(&name))
    }

    fn is_left_out(&self, number: usize, node: &Node<'_>) -> bool {
        node.is_unset() || matches!(self.mark(number), Mark::Dropped | Mark::Unknown)
    }

    fn has_unknown(&self, node: &Node<'_>) -> bool {
        match &node.content {
            Content::Mapping(members) => members
                .iter()
                .any(|member| member.is_merge() || self.mark(member.number) == Mark::Unknown),
            Content::Scalar { .. } | Content::List(_) => false,
        }
    }

    fn mark(&self, number: usize) -> Mark {
        self.marks.get(number).map_or(Mark::Unread, Cell::get)
    }

    fn is_complete(&self, node: &Node<'_>) -> bool {
        let left_out = match &node.content {
            Content::Scalar { .. } => false,
            Content::List(list) => list.iter().any(|node| self.is_left_out(node.number, node)),
            Content::Mapping(members) => members
                .iter()
                .any(|member| member.is_merge() || self.is_left_out(member.number, &member.value)),
        };
        !left_out && !self.fillings.contains_key(&node.number)
    }
}
