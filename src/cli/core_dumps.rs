//! No core dumps: one would hold the pepper, callers' secrets, and what `keys new` has just made.
//!
//! The limit alone does not do: a `core_pattern` that pipes to a program is asked all the same, but not of a process that
//! is not dumpable. Such a process can't be traced by others of its user either. What it reads of itself under `/proc` it
//! may still read.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Switches core dumps of this process off, for good.
pub(super) fn switch_off() {
    // Either can fail only where a sandbox forbids the call; there is no reason not to serve then.
    _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    _ = setrlimit(Resource::Core, none);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_process_without_core_dumps_still_reads_what_its_metrics_tell() {
        switch_off();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        for name in ["stat", "limits", "status"] {
            fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        }
        assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 0);
    }
}
