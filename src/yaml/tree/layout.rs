//! Reads what people write within brackets as `serde_yaml` reads it: however far left.
//!
//! YAML wants every line within brackets or quotes further right than what they belong to. `serde_yaml` does not care,
//! people neither (a closing bracket stands below the member that it closes), but `saphyr-parser` does. Such
//! lines are moved right before it reads, and columns are told as they were. That nothing else changed by it is
//! for `serde_yaml` to say: it must read both texts as the same.

use std::borrow::Cow;
use std::fmt;

use saphyr_parser::{Event, Marker};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::problem::Position;
use super::super::substitute::Environment;
use super::{Flaw, Tree};

/// How far a line is moved, in columns: further than anything nests.
const SHIFT: usize = 256;

/// How many lines may need moving that do not begin with a closing bracket; each costs a reading.
const MAX_MOVED_ONE_BY_ONE: usize = 100;

/// How many bytes may be read in all to find such lines: what a second or two allows.
const MAX_BYTES_READ: usize = 64 << 20;

/// By how many columns each line was moved right; lines past the end were not.
#[derive(Default)]
pub(super) struct Layout {
    moved: Vec<usize>,
}

impl Layout {
    /// Where that is in the text as it was.
    pub(super) fn position(&self, marker: Marker) -> Position {
        let line = marker.line().max(1);
        let moved = self.moved.get(line - 1).copied().unwrap_or_default();
        Position {
            line,
            column: (marker.col() + 1).saturating_sub(moved).max(1),
        }
    }

    fn apply(&self, text: &str) -> String {
        let lines = text.split_inclusive('\n').zip(&self.moved);
        lines
            .flat_map(|(line, moved)| [" ".repeat(*moved), line.to_owned()])
            .collect()
    }
}

/// Reads the text with lines moved; `flaw` is what is wrong without.
pub(super) fn read_lenient<'t>(
    text: &str,
    env: Option<&Environment<'_>>,
    flaw: Flaw,
) -> Result<Tree<'t>, Flaw> {
    // Outside of brackets no line begins with a closing one but in block scalars, whose text must not be moved.
    let closers = |line: &str| {
        if line.trim_start().starts_with([']', '}']) {
            SHIFT
        } else {
            0
        }
    };
    for move_closers in [true, false] {
        let moved = text
            .split_inclusive('\n')
            .map(|line| if move_closers { closers(line) } else { 0 });
        let mut layout = Layout {
            moved: moved.collect(),
        };
        let tries = MAX_MOVED_ONE_BY_ONE.min(MAX_BYTES_READ / text.len().max(1));
        for _ in 0..=tries {
            let changed = layout.apply(text);
            match Tree::read_events(&changed, env, &layout, into_owned) {
                Ok(tree) if is_same(text, &changed) => return Ok(tree),
                Err(other) if other.is_about_indentation() => {
                    // Of quoted text it is the beginning that is told, and a later line that is meant.
                    let first =
                        other.position.line - usize::from(!other.message.contains("quoted"));
                    match layout
                        .moved
                        .iter_mut()
                        .skip(first)
                        .find(|moved| **moved == 0)
                    {
                        Some(moved) => *moved = SHIFT,
                        None => break,
                    }
                }
                Err(other) if is_same(text, &changed) => return Err(other),
                Ok(_) | Err(_) => break,
            }
        }
    }
    Err(flaw)
}

fn into_owned<'t>(event: Event<'_>) -> Event<'t> {
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let tag = tag.map(|tag| Cow::Owned(tag.into_owned()));
            Event::Scalar(Cow::Owned(text.into_owned()), style, anchor, tag)
        }
        Event::SequenceStart(anchor, _) => Event::SequenceStart(anchor, None),
        Event::MappingStart(anchor, _) => Event::MappingStart(anchor, None),
        Event::Nothing => Event::Nothing,
        Event::StreamStart => Event::StreamStart,
        Event::StreamEnd => Event::StreamEnd,
        Event::DocumentStart(explicit) => Event::DocumentStart(explicit),
        Event::DocumentEnd => Event::DocumentEnd,
        Event::SequenceEnd => Event::SequenceEnd,
        Event::MappingEnd => Event::MappingEnd,
        Event::Alias(anchor) => Event::Alias(anchor),
    }
}

/// Whether `serde_yaml` reads both as the same.
fn is_same(one: &str, other: &str) -> bool {
    let read = |text| serde_yaml::from_str::<Outline>(text).ok();
    read(one).is_some_and(|outline| read(other) == Some(outline))
}

/// All that a document says, repeated members included.
#[derive(PartialEq)]
enum Outline {
    Scalar(String),
    List(Vec<Outline>),
    Mapping(Vec<(Outline, Outline)>),
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OutlineVisitor)
    }
}

struct OutlineVisitor;

impl<'de> Visitor<'de> for OutlineVisitor {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::Scalar("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Outline, E> {
        Ok(Outline::Scalar(format!("bool {value}")))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Outline, E> {
        Ok(Outline::Scalar(format!("number {value}")))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Outline, E> {
        Ok(Outline::Scalar(format!("number {value}")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Outline, E> {
        Ok(Outline::Scalar(format!("number {value}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Outline, E> {
        Ok(Outline::Scalar(format!("text {value}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Outline, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Outline::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Outline::Mapping(members))
    }
}
