//! `tests/crd-check`, which contains the published schemas of custom resources: the directory in
//! `KEYWARD_TEST_CRDS`, else `target/crd`. If it is missing, tests fail, because nothing else
//! checks the custom resources.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checker's output for some files.
pub struct Verdict {
    pub all_well: bool,
    /// One line per document and per problem: `FILE:LINE: …`.
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

/// Checks every custom resource in `files`; ignores built-in resources and other kinds of files.
///
/// # Panics
/// If the checker itself fails.
pub fn check(files: &[PathBuf]) -> Verdict {
    let dir = installed();
    let output = Command::new(dir.join("node"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crd-check/check.mjs"))
        .arg(&dir)
        .args(files)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)) && output.stderr.is_empty(),
        "the checker failed ({code:?}): {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Verdict {
        all_well: code == Some(0),
        lines: text.lines().map(str::to_owned).collect(),
    }
}
