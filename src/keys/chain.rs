//! An error as it is printed where it ends: once, with its causes.
//!
//! Errors name their cause in `source()` and do not repeat it in their own text, so that whoever logs one or hands it on as text
//! puts them together, here. The command line has its own way, for it prints line by line.

use std::error::Error;

/// An error with its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
