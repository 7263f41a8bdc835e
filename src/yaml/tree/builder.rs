//! Builds the tree from the parser's events.
//!
//! Nesting is kept in a list and not on the stack, and its depth is bounded here. Names that repeat are left out and
//! noted, so that the rest of the document can still be judged.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, ScalarStyle, Tag};

use super::super::problem::{Position, Segment, YamlPath, is_showable};
use super::super::substitute::{Environment, substitute};
use super::{Content, Flaw, MERGE_KEY, Member, Node, Origin, Tree};

/// How deep mappings and lists may nest: `serde_yaml`'s own limit, and far beyond any file of ours.
const MAX_DEPTH: usize = 128;

/// A tree of which the beginning was read.
pub(super) struct Builder<'t, 'e> {
    env: Option<&'e Environment<'e>>,
    frames: Vec<Frame<'t>>,
    anchors: HashMap<usize, Arc<Node<'t>>>,
    root: Option<Arc<Node<'t>>>,
    count: usize,
    flaws: Vec<Flaw>,
}

/// A list or mapping that is not closed yet.
struct Frame<'t> {
    position: Position,
    anchor: usize,
    inside: Inside<'t>,
}

enum Inside<'t> {
    List(Vec<Arc<Node<'t>>>),
    Mapping {
        members: Vec<Member<'t>>,
        /// Where each name is, in the file and among the members.
        places: HashMap<Cow<'t, str>, (Position, usize)>,
        key: Option<(Cow<'t, str>, Position)>,
    },
}

impl<'t, 'e> Builder<'t, 'e> {
    pub(super) fn new(env: Option<&'e Environment<'e>>) -> Self {
        Self {
            env,
            frames: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            count: 0,
            flaws: Vec::new(),
        }
    }

    /// The tree; `None` when there was no value.
    pub(super) fn finish(self) -> Option<Tree<'t>> {
        Some(Tree {
            root: self.root?,
            count: self.count,
            flaws: self.flaws,
        })
    }

    pub(super) fn take(&mut self, event: Event<'t>, position: Position) -> Result<(), Flaw> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    self.flaw_here(position, "an alias stands inside what it names")
                })?;
                if let (Content::Scalar { text, .. }, true) = (&node.content, self.wants_name()) {
                    self.name(text.clone(), position);
                    return Ok(());
                }
                self.value(node, position)
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_name() {
                    let is_merge = style == ScalarStyle::Plain && text == MERGE_KEY;
                    self.name(text, position);
                    if is_merge {
                        self.refuse_merge(position);
                    }
                    return Ok(());
                }
                let plain = style == ScalarStyle::Plain && !is_string_tag(tag.as_deref());
                let content = self.scalar(text, plain, position);
                self.value_new(content, position, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(position, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, _) => self.open(
                position,
                anchor,
                Inside::Mapping {
                    members: Vec::new(),
                    places: HashMap::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn number(&mut self) -> usize {
        let number = self.count;
        self.count += 1;
        number
    }

    fn scalar(&mut self, text: Cow<'t, str>, plain: bool, position: Position) -> Content<'t> {
        let (text, origin) = match self.env.map_or(Ok(None), |env| substitute(&text, env)) {
            Ok(None) => (text, Origin::File),
            Ok(Some(value)) => (value.into(), Origin::Environment(text)),
            Err(error) => {
                let flaw = self.flaw_here(position, &error.to_string());
                self.flaws.push(flaw.help(error.help()));
                (text, Origin::Nowhere)
            }
        };
        // Nothing in the file is null; an empty variable is an empty string, and no way to lose a member.
        let plain = plain && !(text.is_empty() && matches!(origin, Origin::Environment(_)));
        Content::Scalar {
            text,
            plain,
            origin,
        }
    }

    fn wants_name(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame {
                inside: Inside::Mapping { key: None, .. },
                ..
            })
        )
    }

    fn name(&mut self, name: Cow<'t, str>, position: Position) {
        if let Some(Frame {
            inside: Inside::Mapping { key, .. },
            ..
        }) = self.frames.last_mut()
        {
            *key = Some((name, position));
        }
    }

    /// YAML 1.2 has no merge keys: whoever writes one means its members, which are not there.
    fn refuse_merge(&mut self, position: Position) {
        // The path is that of the mapping: the member's name says nothing of its own.
        let mut flaw = self.flaw_here(position, "merge keys (`<<`) are not supported");
        flaw.path.0.pop();
        self.flaws.push(
            flaw.help("write the members out; an alias (`*name`) may stand for a whole value"),
        );
    }

    fn open(&mut self, position: Position, anchor: usize, inside: Inside<'t>) -> Result<(), Flaw> {
        if self.wants_name() {
            return Err(self.flaw_here(position, "a list or mapping stands where a name should"));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(Flaw::alone(
                position,
                format!("mappings and lists nest deeper than {MAX_DEPTH}"),
            ));
        }
        self.frames.push(Frame {
            position,
            anchor,
            inside,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let content = match frame.inside {
            Inside::List(list) => Content::List(list),
            Inside::Mapping { members, .. } => Content::Mapping(members),
        };
        self.value_new(content, frame.position, frame.anchor)
    }

    fn value_new(
        &mut self,
        content: Content<'t>,
        position: Position,
        anchor: usize,
    ) -> Result<(), Flaw> {
        let node = Arc::new(Node {
            content,
            position,
            number: self.number(),
        });
        if anchor > 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.value(node, position)
    }

    fn value(&mut self, node: Arc<Node<'t>>, position: Position) -> Result<(), Flaw> {
        if self.wants_name() {
            return Err(self.flaw_here(position, "a list or mapping stands where a name should"));
        }
        let path = self.path();
        let number = self.number();
        match self.frames.last_mut().map(|frame| &mut frame.inside) {
            None => self.root = Some(node),
            Some(Inside::List(list)) => list.push(node),
            Some(Inside::Mapping {
                members,
                places,
                key,
            }) => {
                let Some((name, position)) = key.take() else {
                    return Ok(());
                };
                if let Some((Position { line, .. }, place)) = places.get(&name) {
                    if let Some(first) = members.get_mut(*place) {
                        first.repeated = true;
                    }
                    let message = if is_showable(&name) {
                        format!("repeated member `{name}`")
                    } else {
                        "a repeated member".to_owned()
                    };
                    self.flaws.push(Flaw {
                        path,
                        position,
                        message,
                        help: Some(format!("it is already in line {line}; keep one")),
                    });
                    return Ok(());
                }
                places.insert(name.clone(), (position, members.len()));
                members.push(Member {
                    name,
                    position,
                    number,
                    repeated: false,
                    value: node,
                });
            }
        }
        Ok(())
    }

    fn flaw_here(&self, position: Position, message: &str) -> Flaw {
        Flaw {
            path: self.path(),
            position,
            message: message.to_owned(),
            help: None,
        }
    }

    fn path(&self) -> YamlPath {
        let segments = self.frames.iter().filter_map(|frame| match &frame.inside {
            Inside::List(list) => Some(Segment::Index(list.len())),
            Inside::Mapping { key, .. } => key
                .as_ref()
                .map(|(name, _)| Segment::Field(name.to_string())),
        });
        YamlPath(segments.collect())
    }
}

/// A tag of YAML's own that is none of the core schema's other scalars, or the lone `!` that says "as it stands".
fn is_string_tag(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| {
        (tag.is_yaml_core_schema()
            && !matches!(tag.suffix.as_str(), "null" | "bool" | "int" | "float"))
            || (tag.handle.is_empty() && tag.suffix == "!")
    })
}
