//! From the text of a keys file to records.
//!
//! The text is read in chunks where its layout allows, which keeps memory low; each chunk's shapes are dropped once its
//! records are made. A chunk with anything wrong in it is read again with as many line breaks in front as the file has there, so
//! that lines are right everywhere in the messages. A syntax error may come of the cutting: then the whole text is read at once.

use std::path::Path;
use std::sync::Arc;

use super::super::record::{KeySpec, KeysSpec};
use super::chunks::{Chunk, plain_list};
use super::repeated::Names;
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::Policy;
use crate::yaml::{self, MAX_PROBLEMS, Place, Problem, Problems, Segment, YamlPath};

/// Bytes of a chunk. Its events take ten times as much memory; smaller ones gain nothing more.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The whole text must be read at once.
struct NotInChunks;

/// Adds the records of a file's text to `records`.
///
/// # Errors
/// All that is wrong with it; what was added is of no use then.
pub(super) fn read_records(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
    chunk_bytes: usize,
    records: &mut Vec<Arc<KeyRecord>>,
) -> Result<(), Problems> {
    if yaml::is_empty(text) {
        let help = "write `keys: []` for no keys";
        return Err(Problems::one(path, None, "the file is empty", Some(help)));
    }
    let start = records.len();
    if text.len() > chunk_bytes
        && let Ok(done) = in_chunks(path, text, policy, chunk_bytes, records)
    {
        return done;
    }
    records.truncate(start);
    records.extend(yaml::convert(path, text, |spec: KeysSpec, top| {
        Some(check(&spec.keys, &top.field("keys"), policy))
    })?);
    Ok(())
}

fn check(specs: &[KeySpec], at: &Place<'_>, policy: Option<&Policy>) -> Vec<Arc<KeyRecord>> {
    let check = |(index, spec): (usize, &KeySpec)| spec.check(&at.index(index), policy);
    let records = specs.iter().enumerate().filter_map(check);
    records.map(Arc::new).collect()
}

fn in_chunks(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
    chunk_bytes: usize,
    records: &mut Vec<Arc<KeyRecord>>,
) -> Result<Result<(), Problems>, NotInChunks> {
    let list = plain_list(text.strip_prefix('\u{feff}').unwrap_or(text), chunk_bytes)
        .ok_or(NotInChunks)?;
    let mut problems: Option<Problems> = None;
    let mut count = 0;
    for chunk in list.chunks {
        if read_chunk(path, chunk.text, &chunk, policy, records)?.is_ok() {
            continue;
        }
        // The lines in front are worth their reading only now that something is to be said.
        let text = "\n".repeat(chunk.lines_before) + chunk.text;
        let Err(found) = read_chunk(path, &text, &chunk, policy, records)? else {
            return Err(NotInChunks);
        };
        for problem in &found {
            super::add(&mut problems, in_whole(problem, &chunk)?.into());
            count += 1;
        }
        if count >= MAX_PROBLEMS {
            let message = "there may be more problems further down";
            super::add(
                &mut problems,
                Problems::one(path, None, message, Some("mend these first")),
            );
            break;
        }
    }
    Ok(problems.map_or(Ok(()), Err))
}

/// Adds the records of a chunk, or tells what is wrong with paths that count from its own first item.
fn read_chunk(
    path: &Path,
    text: &str,
    chunk: &Chunk<'_>,
    policy: Option<&Policy>,
    records: &mut Vec<Arc<KeyRecord>>,
) -> Result<Result<(), Problems>, NotInChunks> {
    let mut items = None;
    let result = yaml::convert(path, text, |specs: Vec<KeySpec>, top| {
        items = Some(specs.len());
        Some(check(&specs, top, policy))
    });
    // Items that are only the lines of some text would put all numbers after them in disorder.
    if items.is_some_and(|items| items != chunk.items) {
        return Err(NotInChunks);
    }
    Ok(result.map(|checked| records.extend(checked)))
}

/// The problem with its path in the whole file. One of no item's is of syntax.
fn in_whole(problem: &Problem, chunk: &Chunk<'_>) -> Result<Problem, NotInChunks> {
    let Some((Segment::Index(index), rest)) = problem.path.0.split_first() else {
        return Err(NotInChunks);
    };
    let mut path = vec![
        Segment::Field("keys".to_owned()),
        Segment::Index(chunk.items_before + index),
    ];
    path.extend_from_slice(rest);
    Ok(Problem {
        path: YamlPath(path),
        ..problem.clone()
    })
}

/// What must be there once of each key in a file's text, as far as it can be told.
pub(super) fn read_names(path: &Path, text: &str, chunk_bytes: usize) -> Vec<Names> {
    names_in_chunks(path, text, chunk_bytes).unwrap_or_else(|| {
        let mut names = Vec::new();
        // What is wrong with the text is told already.
        _ = yaml::convert(path, text, |spec: KeysSpec, top| {
            names = names_of(&spec.keys, &top.field("keys"));
            Some(())
        });
        names
    })
}

fn names_in_chunks(path: &Path, text: &str, chunk_bytes: usize) -> Option<Vec<Names>> {
    let list = plain_list(text.strip_prefix('\u{feff}').unwrap_or(text), chunk_bytes)?;
    let mut names = Vec::new();
    for chunk in list.chunks {
        _ = yaml::convert(path, chunk.text, |specs: Vec<KeySpec>, top| {
            names.extend(names_of(&specs, top));
            Some(())
        });
        if names.len() != chunk.items_before + chunk.items {
            return None;
        }
    }
    Some(names)
}

fn names_of(specs: &[KeySpec], at: &Place<'_>) -> Vec<Names> {
    let names = specs.iter().enumerate();
    names
        .map(|(index, spec)| Names::of(spec, &at.index(index)))
        .collect()
}
