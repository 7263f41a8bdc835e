//! Builds the tree from the parser's events.
//!
//! It goes as deep as the document nests, which is bounded here.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each place names the events that it takes and refuses all others"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _};
use std::sync::Arc;

use libyaml_safer::{Encoding, Event, EventData, Mark, Parser, ScalarStyle};

use super::super::problem::{Position, Segment, YamlPath};
use super::super::substitute::{Environment, substitute};
use super::{Content, Member, Node, ScalarText, Tree, Unreadable};

/// How deep mappings and lists may nest: `serde_yaml`'s own limit, and far beyond any file of ours.
const MAX_DEPTH: usize = 128;

struct Builder<'e, R> {
    parser: Parser<R>,
    env: Option<&'e Environment<'e>>,
    anchors: HashMap<String, Arc<Node>>,
    /// The way to the value that is being read.
    path: Vec<Segment>,
    count: usize,
    /// The bytes of the text, where a last line break had to be added.
    end: Option<u64>,
}

/// Reads the one document in `text`, with references in it replaced from `env`.
///
/// The parser panics on a tag with a comma right behind it (`[!a, b]`), and may do so on other
/// oddities that `serde_yaml` reads. A file must not end the process, so that a panic becomes an
/// error here.
///
/// # Errors
/// When there is no document or several, or one nests too deep or within itself, or the parser
/// fails. That the syntax is right was seen before.
pub(in crate::yaml) fn read(text: &str, env: Option<&Environment<'_>>) -> Result<Tree, Unreadable> {
    let reading = std::panic::AssertUnwindSafe(|| read_events(text, env));
    std::panic::catch_unwind(reading).unwrap_or_else(|_| {
        Err(Unreadable {
            path: YamlPath::default(),
            position: tag_before_comma(text),
            message: "YAML that cannot be read here, such as a tag with a comma right behind it"
                .to_owned(),
            help: Some("put a text that begins with `!` in quotes"),
            is_final: true,
        })
    })
}

/// Where the first word stands that may be a tag with a comma right behind it.
fn tag_before_comma(text: &str) -> Option<Position> {
    let is_tag = |word: &str| word.starts_with('!') && word.contains(',');
    text.lines().enumerate().find_map(|(index, line)| {
        let words = line.split([' ', '\t', '[', '{']);
        let word = words.into_iter().find(|word| is_tag(word))?;
        let before = line.get(..line.find(word)?)?;
        Some(Position {
            line: index + 1,
            column: before.chars().count() + 1,
        })
    })
}

fn read_events(text: &str, env: Option<&Environment<'_>>) -> Result<Tree, Unreadable> {
    // The parser panics where a block scalar ends with the text and not with its line.
    let is_cut = !text.ends_with('\n');
    let last_break: &[u8] = if is_cut { b"\n" } else { b"" };
    let mut parser = Parser::new();
    // Otherwise it takes some first letters for a broken byte order mark.
    parser.set_encoding(Encoding::Utf8);
    parser.set_input(BufReader::new(text.as_bytes().chain(last_break)));
    let length = u64::try_from(text.len()).ok();
    let mut builder = Builder {
        parser,
        env,
        anchors: HashMap::new(),
        path: Vec::new(),
        count: 0,
        end: length.filter(|_| is_cut),
    };
    let mut root = None;
    loop {
        let event = builder.next()?;
        match event.data {
            EventData::StreamEnd => break,
            EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
            EventData::DocumentStart { .. } if root.is_none() => {
                let first = builder.next()?;
                root = Some(builder.value(first)?);
            }
            _ => {
                let help = "keep one document in a file";
                let second = builder.unreadable(&event, "a second document begins");
                return Err(Unreadable {
                    help: Some(help),
                    ..second
                });
            }
        }
    }
    let count = builder.count;
    root.map(|root| Tree { root, count }).ok_or(Unreadable {
        path: YamlPath::default(),
        position: None,
        message: "the file is empty".to_owned(),
        help: None,
        is_final: false,
    })
}

fn position_of(mark: Mark) -> Position {
    let count = |number| usize::try_from(number).map_or(usize::MAX, |number| number + 1);
    Position {
        line: count(mark.line),
        column: count(mark.column),
    }
}

impl<R: BufRead> Builder<'_, R> {
    fn next(&mut self) -> Result<Event, Unreadable> {
        self.parser.parse().map_err(|error| Unreadable {
            path: YamlPath(self.path.clone()),
            position: error.problem_mark().map(position_of),
            message: error.problem().to_owned(),
            help: None,
            is_final: false,
        })
    }

    fn value(&mut self, event: Event) -> Result<Arc<Node>, Unreadable> {
        self.count += 1;
        if self.path.len() > MAX_DEPTH {
            let message = format!("mappings and lists nest deeper than {MAX_DEPTH}");
            self.path.clear();
            return Err(Unreadable {
                is_final: true,
                ..self.unreadable(&event, &message)
            });
        }
        let position = Some(position_of(event.start_mark));
        let (content, anchor) = match event.data {
            EventData::Scalar { .. } => self.scalar(event),
            EventData::SequenceStart { anchor, .. } => (Content::List(self.items()?), anchor),
            EventData::MappingStart { anchor, .. } => (Content::Mapping(self.members()?), anchor),
            EventData::Alias { ref anchor } => {
                let known = self.anchors.get(anchor).cloned();
                let message = "an alias is inside the value that it names";
                return known.ok_or_else(|| self.unreadable(&event, message));
            }
            _ => return Err(self.unreadable(&event, "a value is missing")),
        };
        let node = Arc::new(Node { content, position });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        Ok(node)
    }

    fn items(&mut self) -> Result<Vec<Arc<Node>>, Unreadable> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if let EventData::SequenceEnd = event.data {
                return Ok(items);
            }
            self.path.push(Segment::Index(items.len()));
            items.push(self.value(event)?);
            self.path.pop();
        }
    }

    fn members(&mut self) -> Result<Vec<Member>, Unreadable> {
        let mut members = Vec::new();
        loop {
            let event = self.next()?;
            let position = Some(position_of(event.start_mark));
            let name = match &event.data {
                EventData::MappingEnd => return Ok(members),
                EventData::Scalar { value, .. } => Some(value.clone()),
                EventData::Alias { anchor } => {
                    self.anchors.get(anchor).and_then(|node| node.text())
                }
                _ => None,
            };
            let message = "a list or mapping in place of a name";
            let name = name.ok_or_else(|| self.unreadable(&event, message))?;
            self.path.push(Segment::Field(name.clone()));
            let event = self.next()?;
            let value = self.value(event)?;
            self.path.pop();
            members.push(Member {
                name,
                position,
                value,
            });
        }
    }

    fn scalar(&self, event: Event) -> (Content, Option<String>) {
        let EventData::Scalar {
            anchor,
            tag,
            value: mut text,
            style,
            ..
        } = event.data
        else {
            return (Content::Inexact, None);
        };
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        if is_block && self.end.is_some_and(|end| event.end_mark.index >= end) {
            // Without the line break that was added.
            text.truncate(text.strip_suffix('\n').map_or(text.len(), str::len));
        }
        let tag = tag.as_deref();
        let plain = match tag.map(|tag| tag.strip_prefix("tag:yaml.org,2002:").ok_or(tag)) {
            Some(Ok("float")) => return (Content::Inexact, anchor),
            Some(Ok("null" | "bool" | "int")) => true,
            Some(Ok(_) | Err("!")) => false,
            Some(Err(_)) | None => style == ScalarStyle::Plain,
        };
        let content = match self.env.map_or(Ok(None), |env| substitute(&text, env)) {
            Ok(None) => ScalarText {
                text,
                plain,
                written: None,
            },
            // An empty variable is an empty string, and no way to lose a member.
            Ok(Some(value)) => ScalarText {
                plain: plain && !value.is_empty(),
                text: value,
                written: Some(text),
            },
            Err(invalid) => return (Content::Unset(invalid), anchor),
        };
        (Content::Scalar(content), anchor)
    }

    fn unreadable(&self, event: &Event, message: &str) -> Unreadable {
        Unreadable {
            path: YamlPath(self.path.clone()),
            position: Some(position_of(event.start_mark)),
            message: message.to_owned(),
            help: None,
            is_final: false,
        }
    }
}
