//! Checks how digests are computed.
//!
//! The pepper is read here, once. keyward does not watch its file, since every digest would change
//! with it. No message and no `Debug` output shows any of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::NOT_SUPPORTED_YET;
use super::server::file;
use super::spec::{DigestKindSpec, DigestSpec};
use super::warnings::warn_of_mistake;
use crate::authz::digest::{self, DigestKind, Digester, InvalidDigester, PEPPER_MIN_BYTES};
use crate::yaml::FieldPath;

/// Largest pepper file in bytes: what is longer is not the file that was meant.
const MAX_PEPPER_BYTES: u64 = 64 * 1024;

/// What is remembered of a pepper file to tell whether another configuration has the same: a digest
/// of its content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pepper(Option<blake3::Hash>);

/// Shows nothing of it.
impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// The kinds that are looked up: those named, or the one that fits.
pub(super) fn accepted(spec: &DigestSpec) -> Vec<DigestKindSpec> {
    spec.accept.clone().unwrap_or_else(|| {
        vec![if spec.pepper_file.is_some() {
            DigestKindSpec::Blake3Keyed
        } else {
            DigestKindSpec::Blake3
        }]
    })
}

/// The checked form.
pub(super) fn check(
    spec: &DigestSpec,
    at: &FieldPath<'_>,
    base: &Path,
) -> Option<(Digester, Pepper)> {
    let pepper = match &spec.pepper_file {
        Some(path) => read_pepper(path, &at.field("pepper_file"), base)
            .map(|(pepper, hash)| (Some(pepper), Some(hash))),
        None => Some((None, None)),
    };
    let accepted = accepted(spec);
    let asked = accepted.len();
    let help = if accepted.iter().all(|kind| *kind == DigestKindSpec::Sha256) {
        "leave `accept` out"
    } else {
        "leave `sha256` out"
    };
    let kinds: Vec<_> = accepted
        .into_iter()
        .enumerate()
        .filter_map(|(index, kind)| match kind {
            DigestKindSpec::Blake3 => Some(DigestKind::Blake3),
            DigestKindSpec::Blake3Keyed => Some(DigestKind::Blake3Keyed),
            DigestKindSpec::Sha256 => {
                at.field("accept")
                    .index(index)
                    .problem_with_help(NOT_SUPPORTED_YET, help);
                None
            }
        })
        .collect();
    // What is not supported is reported above; a list of nothing else is not empty, as its writer
    // sees it.
    let is_told = kinds.is_empty() && asked > 0;
    if is_told {
        return None;
    }
    let Some((pepper, hash)) = pepper else {
        // What is wrong with the kinds is wrong under any pepper, but for the lack of one.
        let result = Digester::new(kinds, None);
        if let Err(error @ (InvalidDigester::Empty | InvalidDigester::Repeated(_))) = result {
            note(error, &at.field("accept"));
        }
        return None;
    };
    match Digester::new(kinds, pepper) {
        Ok(digester) => Some((digester, Pepper(hash))),
        Err(error) => {
            note(error, &at.field("accept"));
            None
        }
    }
}

fn note(error: InvalidDigester, at: &FieldPath<'_>) {
    let help = match error {
        InvalidDigester::NoPepper => "set `digest.pepper_file`, or accept `blake3`",
        InvalidDigester::Empty => "name at least one kind, or leave `accept` out",
        InvalidDigester::Repeated(_) => "name each kind once",
    };
    at.problem_with_help(error.to_string(), help);
}

fn read_pepper(
    path: &str,
    at: &FieldPath<'_>,
    base: &Path,
) -> Option<(digest::Pepper, blake3::Hash)> {
    let path = file(path, at, base)?;
    let content = match read(&path) {
        Ok(content) => content,
        Err(error) => {
            at.problem(format!("cannot read {}: {error}", path.display()));
            return None;
        }
    };
    warn_of_mistake(&content, &path, at);
    let pepper = digest::Pepper::new(&content);
    if pepper.is_none() {
        at.problem_with_help(
            format!("{} is too short for a pepper", path.display()),
            format!("it needs at least {PEPPER_MIN_BYTES} bytes, one final newline not counted"),
        );
    }
    // Hashed under a key of its own, so that it is no digest of anything a caller could present.
    let hash = blake3::Hash::from(blake3::derive_key(
        "keyward pepper file fingerprint v1",
        &content,
    ));
    pepper.map(|pepper| (pepper, hash))
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?
        .take(MAX_PEPPER_BYTES + 1)
        .read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_PEPPER_BYTES) {
        return Err(io::Error::other(
            "it is larger than 64KiB, which no pepper is",
        ));
    }
    Ok(content)
}
