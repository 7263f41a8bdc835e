//! Names that are known, and which of them a mistyped one was meant to be.
//!
//! Messages about unknown members and unknown values end with what would be right: the nearest
//! name, or all of them where none is near.

/// The longest name that may be a mistyped one of ours.
const MAX_TYPO_BYTES: usize = 64;

/// The one of the names that was meant, if one is near.
pub(super) fn nearest(found: &str, known: &[&str]) -> Option<String> {
    // Comparing takes time by the length of both, and nothing so long is a typo.
    if found.len() > MAX_TYPO_BYTES {
        return None;
    }
    let found = found.to_lowercase();
    let by_letters = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found, name), name))
        .min();
    // A third of the letters may be wrong, as in `pahts` or `exires_at`; more is another word.
    let near =
        by_letters.filter(|(distance, name)| *distance <= 1.max(name.len().min(found.len()) / 3));
    // Or it was cut short, as in `time`.
    let cut_short = || {
        known
            .iter()
            .find(|name| found.len() > 2 && name.starts_with(&found))
    };
    near.map(|(_, name)| name)
        .or_else(cut_short)
        .map(|name| format!("did you mean `{name}`?"))
}

/// All names that there are: "`a`", or "one of `a`, `b`".
pub(super) fn one_of(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing here".to_owned(),
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}
