//! Ids and digests that are there twice, told with both places.
//!
//! Only here does anyone want to know in which file and line a record stands, so it is looked up again: in the plain layout by
//! reading the one item, else by reading the whole text.

use std::collections::HashMap;
use std::path::Path;

use super::super::record::KeySpec;
use super::chunks::plain_list;
use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyId;
use crate::authz::key_map::Repeated;
use crate::yaml::{self, MAX_PROBLEMS, Place, Position, Problem, Problems, Segment, YamlPath};

/// What must be there once of a key that may have something else wrong: only what is right.
pub(super) struct Names {
    id: Option<KeyId>,
    digests: Vec<Option<KeyDigest>>,
}

impl Names {
    pub(super) fn of(spec: &KeySpec, at: &Place<'_>) -> Self {
        let at_secrets = at.field("secrets");
        let digest = |index, text: &str| {
            let at = at_secrets.index(index);
            let digest = text.parse().ok();
            digest.filter(|_| at.field("digest").is_known())
        };
        let secrets = spec.secrets.iter().enumerate();
        Self {
            id: spec.id.parse().ok().filter(|_| at.field("id").is_known()),
            digests: secrets
                .map(|(index, secret)| digest(index, &secret.digest))
                .collect(),
        }
    }
}

/// What is there more than once, as the map of keys would tell it if nothing else were wrong.
pub(super) fn among(names: &[Names]) -> Vec<Repeated> {
    let mut repeated = Vec::new();
    let mut ids = HashMap::new();
    let mut digests = HashMap::new();
    for (number, names) in names.iter().enumerate() {
        if let Some(id) = &names.id {
            let first = *ids.entry(id.as_str()).or_insert(number);
            if first != number {
                let second = number;
                repeated.push(Repeated::Id { first, second });
            }
        }
        for (place, digest) in names.digests.iter().enumerate() {
            let Some(digest) = digest else { continue };
            let first = *digests.entry(*digest).or_insert((number, place));
            if first != (number, place) {
                repeated.push(Repeated::Digest {
                    first: first.0,
                    second: (number, place),
                });
            }
        }
    }
    repeated
}

/// A file's path and text, and the number of records in the files before it. Without its text no lines of it are told.
pub(super) type NumberedFile<'f> = (&'f Path, Option<&'f str>, usize);

/// The problems, one for each repetition, up to as many as are ever shown.
pub(super) fn problems(repeated: &[Repeated], files: &[NumberedFile<'_>]) -> Problems {
    let files: Vec<_> = files.iter().map(LocatedFile::new).collect();
    let mut problems = None;
    for repetition in repeated.iter().take(MAX_PROBLEMS) {
        let (first, second, member, message) = match *repetition {
            Repeated::Id { first, second } => (first, second, id(), "another key has this id"),
            Repeated::Digest {
                first,
                second: (second, _),
            } if first == second => (
                first,
                second,
                secret(repetition),
                "this key has the same digest twice",
            ),
            Repeated::Digest {
                first,
                second: (second, _),
            } => (
                first,
                second,
                secret(repetition),
                "another key has this digest",
            ),
        };
        let Some((file, index)) = find(&files, second) else {
            continue;
        };
        let mut path = YamlPath(vec![
            Segment::Field("keys".to_owned()),
            Segment::Index(index),
        ]);
        path.0.extend(member);
        let other = find(&files, first)
            .map(|(file, index)| file.told(index))
            .unwrap_or_default();
        let problem = Problem {
            file: file.path.into(),
            position: file.locate(&path),
            path,
            message: message.to_owned(),
            help: Some(format!("the first is {other}; keep one")),
        };
        super::add(&mut problems, problem.into());
    }
    let more = repeated.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        let path = files.last().map_or(Path::new(""), |file| file.path);
        super::add(
            &mut problems,
            Problems::one(
                path,
                None,
                format!("{more} more ids and digests are repeated"),
                None,
            ),
        );
    }
    problems
        .unwrap_or_else(|| Problems::one(Path::new(""), None, "ids or digests are repeated", None))
}

fn id() -> Vec<Segment> {
    vec![Segment::Field("id".to_owned())]
}

fn secret(repetition: &Repeated) -> Vec<Segment> {
    let place = match repetition {
        Repeated::Digest {
            second: (_, place), ..
        } => *place,
        Repeated::Id { .. } => 0,
    };
    vec![
        Segment::Field("secrets".to_owned()),
        Segment::Index(place),
        Segment::Field("digest".to_owned()),
    ]
}

/// The file with that record, and its number in it.
fn find<'l, 'f>(
    files: &'l [LocatedFile<'f>],
    record: usize,
) -> Option<(&'l LocatedFile<'f>, usize)> {
    let file = files.iter().rev().find(|file| file.start <= record)?;
    Some((file, record - file.start))
}

/// A file in which records can be found again.
struct LocatedFile<'f> {
    path: &'f Path,
    start: usize,
    layout: Layout<'f>,
}

enum Layout<'f> {
    /// Each item's text, and the number of lines in front of it.
    Items(Vec<(&'f str, usize)>),
    Whole(yaml::Source<'f>),
    Unknown,
}

impl<'f> Layout<'f> {
    fn of(path: &'f Path, text: &'f str) -> Self {
        match plain_list(text.strip_prefix('\u{feff}').unwrap_or(text), 0) {
            None => Self::Whole(yaml::Source::new(path, text)),
            Some(list) => {
                let chunks = list.chunks.iter();
                Self::Items(
                    chunks
                        .map(|chunk| (chunk.text, chunk.lines_before))
                        .collect(),
                )
            }
        }
    }
}

impl<'f> LocatedFile<'f> {
    fn new((path, text, start): &NumberedFile<'f>) -> Self {
        Self {
            path,
            start: *start,
            layout: text.map_or(Layout::Unknown, |text| Layout::of(path, text)),
        }
    }

    fn locate(&self, path: &YamlPath) -> Option<Position> {
        match (&self.layout, path.0.get(1), path.0.get(2..)) {
            (Layout::Items(items), Some(Segment::Index(index)), Some(member)) => {
                let (text, lines_before) = items.get(*index)?;
                let mut inside = vec![Segment::Index(0)];
                inside.extend_from_slice(member);
                let at = yaml::Source::new(self.path, text).locate(&YamlPath(inside))?;
                Some(Position {
                    line: at.line + lines_before,
                    column: at.column,
                })
            }
            (Layout::Whole(source), ..) => source.locate(path),
            (Layout::Items(_) | Layout::Unknown, ..) => None,
        }
    }

    /// The place of a record, in words.
    fn told(&self, index: usize) -> String {
        let path = YamlPath(vec![
            Segment::Field("keys".to_owned()),
            Segment::Index(index),
        ]);
        let line = self
            .locate(&path)
            .map(|at| format!(":{}", at.line))
            .unwrap_or_default();
        format!("{path} at {}{line}", self.path.display())
    }
}
