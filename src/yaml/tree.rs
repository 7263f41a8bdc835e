//! A document as a tree in which every name and value knows its line and column.
//!
//! `serde_yaml` gives no position for most of what can be wrong, so a document that was refused, one that
//! takes values from the environment, and one whose values turn out wrong later are read again with
//! `saphyr-parser`, which does. Repeated members are found here, environment references are replaced here,
//! and aliases share their node, so that a bomb of aliases costs no memory.

use std::borrow::Cow;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, StrInput};

use super::problem::{Position, Segment, YamlPath};
use super::substitute::Environment;
use super::syntax;
use builder::Builder;
use layout::Layout;

mod builder;
mod layout;

/// What YAML 1.1 takes for a mapping's other members; such a member is noted and left out.
pub(super) const MERGE_KEY: &str = "<<";

/// A value, with where it begins.
pub(super) struct Node<'t> {
    pub(super) content: Content<'t>,
    pub(super) position: Position,
    /// Its number among all nodes and members of the tree.
    pub(super) number: usize,
}

pub(super) enum Content<'t> {
    Scalar {
        text: Cow<'t, str>,
        /// Unquoted, and so perhaps a number, a boolean or null.
        plain: bool,
        origin: Origin<'t>,
    },
    List(Vec<Arc<Node<'t>>>),
    Mapping(Vec<Member<'t>>),
}

pub(super) enum Origin<'t> {
    File,
    /// The environment, with what the file has.
    Environment(Cow<'t, str>),
    /// A reference that names nothing, which is noted: the value says nothing.
    Nowhere,
}

pub(super) struct Member<'t> {
    pub(super) name: Cow<'t, str>,
    pub(super) position: Position,
    pub(super) number: usize,
    /// Whether its name comes again later, with a value that is left out.
    pub(super) repeated: bool,
    pub(super) value: Arc<Node<'t>>,
}

/// Something wrong, at a place.
pub(super) struct Flaw {
    pub(super) path: YamlPath,
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

pub(super) struct Tree<'t> {
    pub(super) root: Arc<Node<'t>>,
    /// Nodes and members in the tree: one more than the largest number.
    pub(super) count: usize,
    /// Repeated members, merge keys and unset names, which leave the rest of the tree readable.
    pub(super) flaws: Vec<Flaw>,
}

// === impl Tree ===

impl<'t> Tree<'t> {
    /// Reads the one document in `text`.
    ///
    /// # Errors
    /// What keeps it from being read at all: a syntax error, no document or several, or too deep a nesting.
    pub(super) fn read(text: &'t str, env: Option<&Environment<'_>>) -> Result<Self, Flaw> {
        let read = Self::read_events(text, env, &Layout::default(), |event| event);
        let read = match read {
            Err(flaw) if flaw.is_about_indentation() => layout::read_lenient(text, env, flaw),
            read => read,
        };
        read.map_err(|flaw| flaw.explained(text))
    }

    /// Reads `text`, whose lines are as `layout` has moved them.
    fn read_events<'s>(
        text: &'s str,
        env: Option<&Environment<'_>>,
        layout: &Layout,
        keep: impl Fn(Event<'s>) -> Event<'t>,
    ) -> Result<Self, Flaw> {
        let mut builder = Builder::new(env);
        let mut documents = 0;
        for event in Parser::new(StrInput::new(text)) {
            let (event, span) = event.map_err(|error| {
                Flaw::alone(layout.position(*error.marker()), error.info().to_owned())
            })?;
            let position = layout.position(span.start);
            if let Event::DocumentStart(_) = event {
                documents += 1;
                if documents > 1 {
                    let flaw = Flaw::alone(position, "a second document begins".to_owned());
                    return Err(flaw.help("keep one document in a file"));
                }
            }
            builder.take(keep(event), position)?;
        }
        builder.finish().ok_or_else(|| {
            let position = Position { line: 1, column: 1 };
            Flaw::alone(position, "the file is empty".to_owned())
        })
    }

    /// Where the value at `path` begins, or the nearest one around it that exists.
    pub(super) fn locate(&self, path: &YamlPath) -> Position {
        self.nearest(path).0.position
    }

    /// Where the name of the member at `path` stands, or else the nearest value around it.
    pub(super) fn locate_name(&self, path: &YamlPath) -> Position {
        let (node, name, rest) = self.nearest(path);
        name.filter(|_| rest == 0).unwrap_or(node.position)
    }

    /// What the file has at `path`, where its value is the environment's.
    pub(super) fn written(&self, path: &YamlPath) -> Option<&str> {
        match self.nearest(path) {
            (node, _, 0) => match &node.content {
                Content::Scalar {
                    origin: Origin::Environment(written),
                    ..
                } => Some(written),
                Content::Scalar { .. } | Content::List(_) | Content::Mapping(_) => None,
            },
            _ => None,
        }
    }

    /// The text of the scalar at `path`.
    pub(super) fn scalar(&self, path: &YamlPath) -> Option<&str> {
        match self.nearest(path) {
            (node, _, 0) => match &node.content {
                Content::Scalar { text, .. } => Some(text),
                Content::List(_) | Content::Mapping(_) => None,
            },
            _ => None,
        }
    }

    /// The node at `path` or the nearest one around it, the place of its name if it is a member, and how many steps are left.
    fn nearest(&self, path: &YamlPath) -> (&Node<'t>, Option<Position>, usize) {
        let mut node = &self.root;
        let mut name = None;
        let mut left = path.0.len();
        for segment in &path.0 {
            let inner = match (segment, &node.content) {
                (Segment::Index(index), Content::List(list)) => {
                    list.get(*index).map(|inner| (inner, None))
                }
                (Segment::Field(name), Content::Mapping(members)) => members
                    .iter()
                    .find(|member| member.name == name.as_str())
                    .map(|member| (&member.value, Some(member.position))),
                (_, Content::Scalar { .. } | Content::List(_) | Content::Mapping(_)) => None,
            };
            let Some((inner, position)) = inner else {
                break;
            };
            (node, name) = (inner, position);
            left -= 1;
        }
        (node, name, left)
    }

    /// Each place whose value came from the environment, with what the file has there.
    pub(super) fn substituted(&self) -> Vec<(YamlPath, String)> {
        let mut places = Vec::new();
        // What aliases repeat is visited again: as often as the shape check allowed.
        let mut budget = visit_budget(self.count);
        let mut waiting = vec![(YamlPath::default(), &self.root)];
        while let Some((path, node)) = waiting.pop() {
            if budget == 0 {
                break;
            }
            budget -= 1;
            let below = |segment| {
                let mut path = path.clone();
                path.0.push(segment);
                path
            };
            match &node.content {
                Content::Scalar {
                    origin: Origin::Environment(written),
                    ..
                } => {
                    places.push((path, written.to_string()));
                }
                Content::Scalar { .. } => {}
                Content::List(list) => {
                    for (index, node) in list.iter().enumerate() {
                        waiting.push((below(Segment::Index(index)), node));
                    }
                }
                Content::Mapping(members) => {
                    for member in members {
                        let name = member.name.to_string();
                        waiting.push((below(Segment::Field(name)), &member.value));
                    }
                }
            }
        }
        places
    }
}

/// How many values may be visited in a tree of `count`: aliases repeat what they name, and a few of them, nested, would
/// repeat it a billion times.
pub(super) fn visit_budget(count: usize) -> usize {
    count.saturating_mul(64).saturating_add(4096)
}

// === impl Member ===

impl Member<'_> {
    /// Whether it stands for others, as YAML 1.1 had it. In quotes it is a name like any other, which nobody gives.
    pub(super) fn is_merge(&self) -> bool {
        self.name == MERGE_KEY
    }

    /// Whether it is the member of that name, or may have been meant to bring it.
    pub(super) fn may_bring(&self, name: &str) -> bool {
        self.name == name || self.is_merge()
    }
}

// === impl Node ===

impl Node<'_> {
    /// Whether it is a reference to the environment that names nothing.
    pub(super) fn is_unset(&self) -> bool {
        matches!(
            self.content,
            Content::Scalar {
                origin: Origin::Nowhere,
                ..
            }
        )
    }
}

// === impl Flaw ===

impl Flaw {
    fn alone(position: Position, message: String) -> Self {
        Self {
            path: YamlPath::default(),
            position,
            message,
            help: None,
        }
    }

    /// In words for whoever wrote the text.
    fn explained(self, text: &str) -> Self {
        let told = syntax::explain(&self.message, self.position, text);
        Self {
            position: told.position,
            message: told.message,
            help: told.help.map(str::to_owned).or(self.help),
            path: self.path,
        }
    }

    /// Whether the parser found a line to begin too far left.
    fn is_about_indentation(&self) -> bool {
        self.message.starts_with("invalid indentation")
    }

    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}
