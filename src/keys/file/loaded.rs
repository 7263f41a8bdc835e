//! The active keys, by file, and which of them stay active when some of the files change.
//!
//! A file that has problems keeps its last valid keys while the others change. Ids and digests are
//! unique among all files, so that one file can conflict with another: the file that takes an
//! active id or digest from another is then at fault. Pure but for the texts that it is given;
//! others decide when to read the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::record;
use super::super::source::InvalidRecord;
use super::repeated;
use crate::authz::key::KeyRecord;
use crate::authz::key_map::{KeyMap, Repeated};
use crate::authz::snapshot::Policy;
use crate::yaml::Problems;

/// The active keys, by file.
#[derive(Debug, Clone, Default)]
pub struct LoadedKeys {
    map: Arc<KeyMap>,
    /// The files in the order of their names, and how many of the map's records are each one's.
    files: Vec<(PathBuf, usize)>,
}

/// A file that changed.
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// What it holds now; `None` if it is gone, and its keys with it.
    pub text: Option<String>,
}

/// What is active after some files changed.
#[derive(Debug)]
pub struct CheckedFiles {
    /// The keys.
    pub keys: LoadedKeys,
    /// What is wrong with the files that are at fault.
    pub faults: BTreeMap<PathBuf, Problems>,
    /// Those of the files at fault that conflict with nothing but files that are missing, and will
    /// be right once those are gone.
    pub waiting: BTreeSet<PathBuf>,
}

/// A file while it is checked.
struct File<'k> {
    path: PathBuf,
    before: &'k [Arc<KeyRecord>],
    /// What would be active of it, and its text.
    after: Option<(Vec<Arc<KeyRecord>>, String)>,
}

impl File<'_> {
    fn records(&self) -> &[Arc<KeyRecord>] {
        self.after
            .as_ref()
            .map_or(self.before, |(records, _)| records)
    }

    fn text(&self) -> Option<&str> {
        self.after.as_ref().map(|(_, text)| text.as_str())
    }
}

impl LoadedKeys {
    /// The keys of these files: the number of each one's first record, in order.
    pub(super) fn new(map: KeyMap, files: impl Iterator<Item = (PathBuf, usize)>) -> Self {
        let (paths, starts): (Vec<_>, Vec<_>) = files.unzip();
        let ends = starts.iter().skip(1).copied().chain([map.len()]);
        let counts = starts.iter().zip(ends).map(|(start, end)| end - start);
        Self {
            files: paths.into_iter().zip(counts).collect(),
            map: Arc::new(map),
        }
    }

    /// All keys.
    pub fn map(&self) -> &Arc<KeyMap> {
        &self.map
    }

    /// Whether these are the very same records.
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.map.records(), other.map.records());
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// The first active key of that file which cannot be used under that policy.
    pub fn first_unusable(&self, path: &Path, policy: &Policy) -> Option<InvalidRecord> {
        let file = self.files().find(|file| file.path == path)?;
        let mut records = file.before.iter();
        records.find_map(|record| record::check_policy(record, policy).err())
    }

    /// What is active when these files changed together. `missing` are files that are not there
    /// just now but keep their keys.
    pub fn check(
        &self,
        changes: Vec<FileChange>,
        missing: &BTreeSet<PathBuf>,
        policy: &Policy,
    ) -> CheckedFiles {
        let mut faults = BTreeMap::new();
        let mut waiting = BTreeSet::new();
        let mut files: BTreeMap<PathBuf, File<'_>> =
            self.files().map(|file| (file.path.clone(), file)).collect();
        for FileChange { path, text } in changes {
            let Some(text) = text else {
                files.remove(&path);
                continue;
            };
            match super::records_of(&path, &text, Some(policy)) {
                Err(problems) => _ = faults.insert(path, problems),
                Ok(records) => {
                    let file = files.entry(path.clone()).or_insert(File {
                        path,
                        before: &[],
                        after: None,
                    });
                    file.after = Some((records, text));
                }
            }
        }
        let mut files: Vec<File<'_>> = files.into_values().collect();
        // Each round reverts at least one changed file, and without changes there is no conflict,
        // so this ends.
        let map = loop {
            let mut records =
                Vec::with_capacity(files.iter().map(|file| file.records().len()).sum());
            for file in &files {
                records.extend_from_slice(file.records());
            }
            let repeated = match KeyMap::new(records) {
                Ok(map) => break map,
                Err(repeated) => repeated,
            };
            let conflicts = Conflicts::among(&files, &repeated);
            for (file, problems, others) in conflicts.by_file(&files) {
                if others.iter().all(|other| missing.contains(other)) {
                    waiting.insert(file.clone());
                }
                faults.insert(file, problems);
            }
            for (number, file) in files.iter_mut().enumerate() {
                if conflicts.at_fault.contains_key(&number) || conflicts.at_fault.is_empty() {
                    file.after = None;
                }
            }
        };
        let counts = files
            .iter()
            .map(|file| (file.path.clone(), file.records().len()));
        let files = counts.filter(|(path, count)| *count > 0 || !faults.contains_key(path));
        let files = files.collect();
        CheckedFiles {
            keys: Self {
                map: Arc::new(map),
                files,
            },
            faults,
            waiting,
        }
    }

    fn files(&self) -> impl Iterator<Item = File<'_>> {
        let mut rest = self.map.records();
        self.files.iter().map(move |(path, count)| {
            let (before, after) = rest.split_at_checked(*count).unwrap_or_default();
            rest = after;
            File {
                path: path.clone(),
                before,
                after: None,
            }
        })
    }
}

/// What is there twice, by the file that is at fault for it.
struct Conflicts {
    /// Of each file's number: each repetition with its own record as the second, and the number of
    /// the other file.
    at_fault: BTreeMap<usize, Vec<(Repeated, usize)>>,
    starts: Vec<usize>,
}

impl Conflicts {
    fn among(files: &[File<'_>], repeated: &[Repeated]) -> Self {
        let starts: Vec<usize> = files
            .iter()
            .scan(0, |next, file| {
                let start = *next;
                *next += file.records().len();
                Some(start)
            })
            .collect();
        let mut at_fault: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        // Once for two files: a file that is at fault for one conflict is taken back whole.
        let mut decided: HashMap<(usize, usize), bool> = HashMap::new();
        for repetition in repeated {
            let (first, second) = match *repetition {
                Repeated::Id { first, second } => (first, second),
                Repeated::Digest { first, second } => (first, second.0),
            };
            let (one, other) = (file_of(&starts, first), file_of(&starts, second));
            let is_first = *decided
                .entry((one, other))
                .or_insert_with(|| is_first_at_fault(files, &starts, *repetition, one, other));
            if is_first {
                let flipped = flipped(files, &starts, *repetition);
                at_fault.entry(one).or_default().push((flipped, other));
            } else {
                at_fault.entry(other).or_default().push((*repetition, one));
            }
        }
        at_fault.retain(|number, _| files.get(*number).is_some_and(|file| file.after.is_some()));
        Self { at_fault, starts }
    }

    /// The files at fault, what is wrong with each, and which files each conflicts with.
    fn by_file<'c>(
        &'c self,
        files: &'c [File<'_>],
    ) -> impl Iterator<Item = (PathBuf, Problems, Vec<PathBuf>)> + 'c {
        let numbered: Vec<_> = files
            .iter()
            .zip(&self.starts)
            .map(|(file, start)| (file.path.as_path(), file.text(), *start))
            .collect();
        self.at_fault.iter().filter_map(move |(number, conflicts)| {
            let repeated: Vec<Repeated> = conflicts.iter().map(|(repeated, _)| *repeated).collect();
            let others = conflicts.iter().filter_map(|(_, other)| files.get(*other));
            Some((
                files.get(*number)?.path.clone(),
                repeated::problems(&repeated, &numbered),
                others.map(|other| other.path.clone()).collect(),
            ))
        })
    }
}

/// The number of the file that has that record.
fn file_of(starts: &[usize], record: usize) -> usize {
    starts
        .partition_point(|start| *start <= record)
        .saturating_sub(1)
}

fn record_of<'f>(files: &'f [File<'_>], starts: &[usize], record: usize) -> Option<&'f KeyRecord> {
    let number = file_of(starts, record);
    let records = files.get(number)?.records();
    records
        .get(record - starts.get(number)?)
        .map(|record| &**record)
}

/// Whether of two files that conflict the first is at fault: the one that changed; of two that
/// changed, the one that takes what the other had before; else the second.
fn is_first_at_fault(
    files: &[File<'_>],
    starts: &[usize],
    repetition: Repeated,
    one: usize,
    other: usize,
) -> bool {
    let (Some(first), Some(second)) = (files.get(one), files.get(other)) else {
        return false;
    };
    if second.after.is_none() {
        return true;
    }
    if first.after.is_none() || one == other {
        return false;
    }
    let had = |file: &File<'_>| match repetition {
        Repeated::Id { second, .. } => record_of(files, starts, second)
            .is_some_and(|record| file.before.iter().any(|before| before.id == record.id)),
        Repeated::Digest {
            second: (second, place),
            ..
        } => record_of(files, starts, second)
            .and_then(|record| record.secrets.get(place))
            .is_some_and(|secret| {
                let mut before = file.before.iter().flat_map(|before| &before.secrets);
                before.any(|before| before.digest == secret.digest)
            }),
    };
    had(second) && !had(first)
}

/// The repetition with its first record as the second.
fn flipped(files: &[File<'_>], starts: &[usize], repetition: Repeated) -> Repeated {
    match repetition {
        Repeated::Id { first, second } => Repeated::Id {
            first: second,
            second: first,
        },
        Repeated::Digest {
            first,
            second: (second, place),
        } => {
            let digest = record_of(files, starts, second)
                .and_then(|record| record.secrets.get(place))
                .map(|secret| secret.digest);
            let mut secrets = record_of(files, starts, first)
                .into_iter()
                .flat_map(|record| &record.secrets);
            let place = secrets.position(|secret| Some(secret.digest) == digest);
            Repeated::Digest {
                first: second,
                second: (first, place.unwrap_or_default()),
            }
        }
    }
}
