//! An error as it is printed where it ends: once, with its causes.
//!
//! Errors name their cause in `source()` and do not repeat it in their own text, so that whoever logs one, prints it or hands it
//! on as text puts them together, here.

use std::error::Error;

/// An error with its causes, one after the other: in one line, but for errors that tell of several problems.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
