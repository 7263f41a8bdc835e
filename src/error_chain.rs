//! An error with its causes, as one text.
//!
//! Errors name their cause in `source()` and do not repeat it in their own text. Code that logs an
//! error, prints it or passes it on as text joins them here.

use std::error::Error;

/// The error and its causes, joined by `: `. One line, unless an error reports several problems.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
