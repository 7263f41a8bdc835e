//! Ids and digests that are there twice, reported with both places.
//!
//! Only these problems need a record's file and line, so they are looked up
//! again: in the plain layout by reading the one item, else by reading the whole text.

use std::path::Path;

use super::chunks::{Chunk, plain_list};
use crate::authz::key_map::Repeated;
use crate::yaml::{MAX_PROBLEMS, Position, Problem, Problems, Segment, Source, YamlPath};

/// A file's path and text, and the number of items in the files before it. Without its text no
/// lines of it are reported.
pub(super) type NumberedFile<'f> = (&'f Path, Option<&'f str>, usize);

/// A file in which items can be found again.
struct LocatedFile<'f> {
    path: &'f Path,
    start: usize,
    /// One for each item, in the plain layout.
    items: Option<Vec<Chunk<'f>>>,
    whole: Option<Source<'f>>,
}

/// The problems, one for each repetition, up to as many as are ever shown.
pub(super) fn problems(repeated: &[Repeated], files: &[NumberedFile<'_>]) -> Problems {
    let files: Vec<_> = files.iter().map(LocatedFile::new).collect();
    let find = |item: usize| files.iter().rev().find(|file| file.start <= item);
    let mut problems = None;
    for repetition in repeated.iter().take(MAX_PROBLEMS) {
        let (first, second, member, message) = match *repetition {
            Repeated::Id { first, second } => {
                let member = vec![Segment::Field("id".to_owned())];
                (first, second, member, "another key has this id")
            }
            Repeated::Digest {
                first,
                second: (second, place),
            } => {
                let message = if first == second {
                    "this key has the same digest twice"
                } else {
                    "another key has this digest"
                };
                (first, second, digest(place), message)
            }
        };
        let (Some(file), Some(other)) = (find(second), find(first)) else {
            continue;
        };
        let path = file.path_of(second, member);
        let problem = Problem {
            file: file.path.into(),
            position: file.locate(&path),
            path,
            message: message.to_owned(),
            help: Some(format!("the first is {}; keep one", other.in_words(first))),
        };
        super::add(&mut problems, problem.into());
    }
    let more = repeated.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        let path = files.last().map_or(Path::new(""), |file| file.path);
        let message = format!("{more} more ids and digests are repeated");
        super::add(&mut problems, Problems::one(path, None, message, None));
    }
    problems
        .unwrap_or_else(|| Problems::one(Path::new(""), None, "ids or digests are repeated", None))
}

/// The way from a key to the digest of one of its secrets.
fn digest(place: usize) -> Vec<Segment> {
    let name = |name: &str| Segment::Field(name.to_owned());
    vec![name("secrets"), Segment::Index(place), name("digest")]
}

impl<'f> LocatedFile<'f> {
    fn new((path, text, start): &NumberedFile<'f>) -> Self {
        let plain = |text: &'f str| plain_list(text.strip_prefix('\u{feff}').unwrap_or(text), 0);
        Self {
            path,
            start: *start,
            items: text.and_then(plain).map(|list| list.chunks),
            whole: text.map(|text| Source::new(path, text)),
        }
    }

    fn path_of(&self, item: usize, member: Vec<Segment>) -> YamlPath {
        let keys = Segment::Field("keys".to_owned());
        let mut path = vec![keys, Segment::Index(item - self.start)];
        path.extend(member);
        YamlPath(path)
    }

    fn locate(&self, path: &YamlPath) -> Option<Position> {
        let (Some(items), [_, Segment::Index(index), member @ ..]) = (&self.items, &*path.0) else {
            return self.whole.as_ref()?.locate(path);
        };
        let Chunk {
            text, lines_before, ..
        } = items.get(*index)?;
        let mut inside = vec![Segment::Index(0)];
        inside.extend_from_slice(member);
        Source::part(self.path, text, "keys", *index, *lines_before).locate(&YamlPath(inside))
    }

    /// The place of an item, in words.
    fn in_words(&self, item: usize) -> String {
        let path = self.path_of(item, Vec::new());
        let line = self.locate(&path).map(|at| format!(":{}", at.line));
        format!(
            "{path} at {}{}",
            self.path.display(),
            line.unwrap_or_default()
        )
    }
}
