//! `tests/crd-check`, which knows the published schemas of custom resources: the directory that `KEYWARD_TEST_CRDS` names,
//! else the one in `target/crd`. Without it, what is claimed about custom resources would be unchecked, so that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the checker says of some files.
pub struct Verdict {
    pub all_well: bool,
    /// A line each for documents and for what is wrong with them: `FILE:LINE: …`.
    pub lines: Vec<String>,
}

fn installed() -> PathBuf {
    let named = std::env::var_os("KEYWARD_TEST_CRDS").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/crd"));
    assert!(
        path.join("node").exists(),
        "no checker of custom resources in {}: run tests/crd-install, or name a directory that it made in KEYWARD_TEST_CRDS",
        path.display()
    );
    path
}

/// Checks every custom resource in `files`; built-in resources and files of other kinds are left alone.
///
/// # Panics
/// When the checker itself fails.
pub fn check(files: &[PathBuf]) -> Verdict {
    let dir = installed();
    let output = Command::new(dir.join("node"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crd-check/check.mjs"))
        .arg(&dir)
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)) && output.stderr.is_empty(),
        "the checker failed ({code:?}): {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Verdict {
        all_well: code == Some(0),
        lines: said.lines().map(str::to_owned).collect(),
    }
}
