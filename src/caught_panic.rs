//! Panics of dependencies that are caught where they happen and reported as errors.
//!
//! Hooks that report panics leave them out, so that an operator sees the error alone.

use std::panic::PanicHookInfo;

/// Whether the panic is one of the YAML parser's, which `yaml` catches.
pub(crate) fn is_caught(panic: &PanicHookInfo<'_>) -> bool {
    let location = panic.location();
    location.is_some_and(|location| location.file().contains("libyaml-safer"))
}
