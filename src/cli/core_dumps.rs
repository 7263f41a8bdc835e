//! No core dumps: one would hold the pepper, callers' secrets, and the secret of `keys new`.
//!
//! The resource limit is not enough: the kernel ignores it for a `core_pattern` that pipes to a
//! program. It makes no dump of a process that is not dumpable, which other processes of its user
//! cannot trace either. The process can still read its own files under `/proc`.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Switches core dumps of this process off.
pub(super) fn switch_off() {
    // Either fails only if a sandbox forbids the call, which is no reason not to serve.
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
