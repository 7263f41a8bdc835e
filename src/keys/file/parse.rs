//! From the text of a keys file to records.
//!
//! The text is read in chunks where its layout allows, which keeps memory low; each chunk's shapes
//! are dropped once its records are made. A syntax error may come of the cutting: then the whole
//! text is read at once.

use std::path::Path;
use std::sync::Arc;

use super::super::record::{KeyList, KeySpec, KeysSpec};
use super::chunks::plain_list;
use crate::authz::key::KeyRecord;
use crate::authz::key_map::Repeated;
use crate::authz::snapshot::Policy;
use crate::yaml::{self, FieldPath, MAX_PROBLEMS, Problems, Source};

/// Bytes of a chunk. Its events take ten times as much memory; smaller ones gain nothing more.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The records of one file or several, in the order of their items.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) list: Vec<Arc<KeyRecord>>,
    /// The numbers of the items that gave no record, for they have problems.
    without: Vec<usize>,
}

/// The whole text must be read at once.
struct NotInChunks;

impl Records {
    /// How many items were read.
    pub(super) fn items(&self) -> usize {
        self.list.len() + self.without.len()
    }

    /// What is repeated among the records, by the numbers of their items.
    pub(super) fn in_items(without: &[usize], repeated: Vec<Repeated>) -> Vec<Repeated> {
        let item = |record| {
            without
                .iter()
                .fold(record, |item, other| item + usize::from(*other <= item))
        };
        let in_items = |repeated| match repeated {
            Repeated::Id { first, second } => Repeated::Id {
                first: item(first),
                second: item(second),
            },
            Repeated::Digest {
                first,
                second: (second, place),
            } => Repeated::Digest {
                first: item(first),
                second: (item(second), place),
            },
        };
        repeated.into_iter().map(in_items).collect()
    }

    /// The records alone, and the numbers of the items that gave none.
    pub(super) fn into_parts(mut self) -> (Vec<Arc<KeyRecord>>, Vec<usize>) {
        self.list.shrink_to_fit();
        (self.list, self.without)
    }

    fn check(&mut self, specs: &[KeySpec], at: &FieldPath<'_>, policy: Option<&Policy>) {
        for (index, spec) in specs.iter().enumerate() {
            match spec.check(&at.index(index), policy) {
                Some(record) => self.list.push(Arc::new(record)),
                None => self.without.push(self.items()),
            }
        }
    }

    fn skip(&mut self, items: usize) {
        for _ in 0..items {
            self.without.push(self.items());
        }
    }
}

/// Adds the records of a file's text to `records`.
///
/// # Errors
/// All that is wrong with it; what was added serves to find what is repeated then.
pub(super) fn read_records(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
    chunk_bytes: usize,
    records: &mut Records,
) -> Result<(), Problems> {
    if yaml::is_empty(text) {
        let help = "write `keys: []` for no keys";
        return Err(Problems::one(path, None, "the file is empty", Some(help)));
    }
    let before = (records.list.len(), records.without.len());
    if text.len() > chunk_bytes
        && let Ok(done) = in_chunks(path, text, policy, chunk_bytes, records)
    {
        return done;
    }
    records.list.truncate(before.0);
    records.without.truncate(before.1);
    yaml::convert(path, text, |spec: KeysSpec, top| {
        records.check(&spec.keys, &top.field("keys"), policy);
        Some(())
    })
}

fn in_chunks(
    path: &Path,
    text: &str,
    policy: Option<&Policy>,
    chunk_bytes: usize,
    records: &mut Records,
) -> Result<Result<(), Problems>, NotInChunks> {
    let list = plain_list(text.strip_prefix('\u{feff}').unwrap_or(text), chunk_bytes)
        .ok_or(NotInChunks)?;
    let mut problems: Option<Problems> = None;
    let mut count = 0;
    for chunk in list.chunks {
        let source = Source::part(
            path,
            chunk.text,
            "keys",
            chunk.items_before,
            chunk.lines_before,
        );
        let before = records.items();
        let read = yaml::convert_source(&source, |KeyList(specs), top| {
            records.check(&specs, top, policy);
            Some(())
        });
        let Err(found) = read else {
            if records.items() - before != chunk.items {
                return Err(NotInChunks);
            }
            continue;
        };
        // Items that are only the lines of some text would put all numbers after them in disorder;
        // and a problem of no item's is of syntax.
        let is_syntax = found.iter().any(|problem| problem.path.0.is_empty());
        if is_syntax || source.items() != chunk.items {
            return Err(NotInChunks);
        }
        records.skip(chunk.items - (records.items() - before));
        count += found.iter().len();
        super::add(&mut problems, found);
        if count >= MAX_PROBLEMS {
            let message = "there may be more problems further down";
            let more = Problems::one(path, None, message, Some("fix these first"));
            super::add(&mut problems, more);
            break;
        }
    }
    Ok(problems.map_or(Ok(()), Err))
}
