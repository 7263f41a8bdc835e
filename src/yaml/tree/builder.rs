//! Builds the tree from the parser's events.
//!
//! Nesting is kept in a list and not on the stack, and its depth is bounded here.

use std::collections::HashMap;
use std::io::{BufReader, Read as _};
use std::sync::Arc;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::super::problem::{Position, Segment, YamlPath};
use super::super::substitute::{Environment, substitute};
use super::{Content, Member, Node, ScalarText, Tree, Unreadable};

/// How deep mappings and lists may nest: `serde_yaml`'s own limit, and far beyond any file of ours.
const MAX_DEPTH: usize = 128;

/// A list or mapping that is not closed yet.
struct Frame {
    position: Position,
    anchor: Option<String>,
    inside: Inside,
}

enum Inside {
    List(Vec<Arc<Node>>),
    Mapping(Vec<Member>, Option<(String, Position)>),
}

/// A tree of which the beginning was read.
struct Builder<'e> {
    env: Option<&'e Environment<'e>>,
    frames: Vec<Frame>,
    anchors: HashMap<String, Arc<Node>>,
    root: Option<Arc<Node>>,
    count: usize,
    /// The characters of the text, where a last line break had to be added.
    end: Option<u64>,
}

/// Reads the one document in `text`, with references in it replaced from `env`.
///
/// # Errors
/// When there is no document or several, or one nests too deep or within itself. That the syntax is
/// right was seen before.
pub(in crate::yaml) fn read(text: &str, env: Option<&Environment<'_>>) -> Result<Tree, Unreadable> {
    // The parser panics where a block scalar ends with the text and not with its line.
    let is_cut = !text.ends_with('\n');
    let last_break: &[u8] = if is_cut { b"\n" } else { b"" };
    let mut parser = Parser::new();
    parser.set_input(BufReader::new(text.as_bytes().chain(last_break)));
    let mut builder = Builder {
        env,
        frames: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        count: 0,
        end: is_cut
            .then(|| u64::try_from(text.chars().count()).ok())
            .flatten(),
    };
    let mut documents = 0;
    loop {
        let event = parser.parse().map_err(|error| Unreadable {
            path: YamlPath::default(),
            position: error.problem_mark().map(position_of),
            message: error.problem().to_owned(),
            help: None,
        })?;
        match event.data {
            EventData::StreamEnd => break,
            EventData::DocumentStart { .. } if documents > 0 => {
                return Err(Unreadable {
                    help: Some("keep one document in a file"),
                    ..builder.unreadable(position_of(event.start_mark), "a second document begins")
                });
            }
            EventData::DocumentStart { .. } => documents += 1,
            _ => builder.take(event)?,
        }
    }
    let count = builder.count;
    builder
        .root
        .map(|root| Tree { root, count })
        .ok_or_else(|| {
            let path = YamlPath::default();
            let (position, message, help) = (None, "the file is empty".to_owned(), None);
            Unreadable {
                path,
                position,
                message,
                help,
            }
        })
}

fn position_of(mark: Mark) -> Position {
    let count = |number| {
        usize::try_from(number)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    };
    Position {
        line: count(mark.line),
        column: count(mark.column),
    }
}

impl Builder<'_> {
    fn take(&mut self, event: Event) -> Result<(), Unreadable> {
        let position = position_of(event.start_mark);
        match event.data {
            EventData::Alias { anchor } => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    self.unreadable(position, "an alias stands inside what it names")
                })?;
                match (&node.content, self.wants_name()) {
                    (Content::Scalar(scalar), true) => self.name(scalar.text.clone(), position),
                    _ => return self.add(node, position),
                }
            }
            EventData::Scalar { value, .. } if self.wants_name() => self.name(value, position),
            EventData::Scalar {
                anchor,
                tag,
                mut value,
                style,
                ..
            } => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block && self.end.is_some_and(|end| event.end_mark.index >= end) {
                    // Without the line break that was added.
                    value.truncate(value.strip_suffix('\n').map_or(value.len(), str::len));
                }
                let content = self.scalar(value, style == ScalarStyle::Plain, tag.as_deref());
                return self.add_new(content, position, anchor);
            }
            EventData::SequenceStart { anchor, .. } => {
                return self.open(position, anchor, Inside::List(Vec::new()));
            }
            EventData::MappingStart { anchor, .. } => {
                return self.open(position, anchor, Inside::Mapping(Vec::new(), None));
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                if let Some(frame) = self.frames.pop() {
                    let content = match frame.inside {
                        Inside::List(list) => Content::List(list),
                        Inside::Mapping(members, _) => Content::Mapping(members),
                    };
                    return self.add_new(content, frame.position, frame.anchor);
                }
            }
            EventData::StreamStart { .. }
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => {}
        }
        Ok(())
    }

    fn scalar(&self, text: String, is_plain: bool, tag: Option<&str>) -> Content {
        let plain = match tag.map(|tag| tag.strip_prefix("tag:yaml.org,2002:").ok_or(tag)) {
            Some(Ok("float")) => return Content::Inexact,
            Some(Ok("null" | "bool" | "int")) => true,
            Some(Ok(_) | Err("!")) => false,
            Some(Err(_)) | None => is_plain,
        };
        match self.env.map_or(Ok(None), |env| substitute(&text, env)) {
            Ok(None) => Content::Scalar(ScalarText {
                text,
                plain,
                written: None,
            }),
            // An empty variable is an empty string, and no way to lose a member.
            Ok(Some(value)) => Content::Scalar(ScalarText {
                plain: plain && !value.is_empty(),
                text: value,
                written: Some(text),
            }),
            Err(invalid) => Content::Unset(invalid),
        }
    }

    fn wants_name(&self) -> bool {
        let last = self.frames.last().map(|frame| &frame.inside);
        matches!(last, Some(Inside::Mapping(_, None)))
    }

    fn name(&mut self, text: String, position: Position) {
        if let Some(Inside::Mapping(_, name)) =
            self.frames.last_mut().map(|frame| &mut frame.inside)
        {
            *name = Some((text, position));
        }
    }

    fn open(
        &mut self,
        position: Position,
        anchor: Option<String>,
        inside: Inside,
    ) -> Result<(), Unreadable> {
        if self.wants_name() {
            return Err(self.no_name(position));
        }
        if self.frames.len() >= MAX_DEPTH {
            let mut unreadable = self.unreadable(position, "");
            unreadable.path = YamlPath::default();
            unreadable.message = format!("mappings and lists nest deeper than {MAX_DEPTH}");
            return Err(unreadable);
        }
        self.frames.push(Frame {
            position,
            anchor,
            inside,
        });
        Ok(())
    }

    fn add_new(
        &mut self,
        content: Content,
        position: Position,
        anchor: Option<String>,
    ) -> Result<(), Unreadable> {
        let node = Arc::new(Node {
            content,
            position: Some(position),
        });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.add(node, position)
    }

    fn add(&mut self, value: Arc<Node>, position: Position) -> Result<(), Unreadable> {
        if self.wants_name() {
            return Err(self.no_name(position));
        }
        self.count += 1;
        match self.frames.last_mut().map(|frame| &mut frame.inside) {
            None => self.root = Some(value),
            Some(Inside::List(list)) => list.push(value),
            Some(Inside::Mapping(members, name)) => {
                if let Some((name, position)) = name.take() {
                    let position = Some(position);
                    members.push(Member {
                        name,
                        position,
                        value,
                    });
                }
            }
        }
        Ok(())
    }

    fn no_name(&self, position: Position) -> Unreadable {
        self.unreadable(position, "a list or mapping stands where a name should")
    }

    fn unreadable(&self, position: Position, message: &str) -> Unreadable {
        let segments = self.frames.iter().filter_map(|frame| match &frame.inside {
            Inside::List(list) => Some(Segment::Index(list.len())),
            Inside::Mapping(_, name) => name.as_ref().map(|(name, _)| Segment::Field(name.clone())),
        });
        Unreadable {
            path: YamlPath(segments.collect()),
            position: Some(position),
            message: message.to_owned(),
            help: None,
        }
    }
}
