//! Which files hold the keys.
//!
//! A file is itself; a directory is every `*.yaml`, `*.yml` and `*.json` in it, in the order of
//! their names. Hidden entries are left out: editors and atomic writers use them, and Kubernetes
//! keeps the real files in hidden directories behind `..data`.

use std::io;
use std::path::{Path, PathBuf};

use crate::watch::named_file::NamedFile;
use crate::yaml::Problems;

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The files of that path, in the order in which they are read.
///
/// # Errors
/// When the path or its list cannot be read, or the directory has no such file: a directory that is
/// not filled yet looks like that.
pub fn files_in(path: &NamedFile) -> Result<Vec<PathBuf>, Problems> {
    let told = path.as_shown();
    let failed = |error| Problems::one(told, None, format!("cannot be read: {error}"), None);
    let files = list(path).map_err(failed)?;
    if files.is_empty() {
        return Err(Problems::one(
            told,
            None,
            "no keys file in this directory",
            Some("put a *.yaml, *.yml or *.json there, with `keys: []` for no keys"),
        ));
    }
    Ok(files)
}

/// As `files_in`, but an empty directory gives an empty list.
///
/// # Errors
/// When the path or its list cannot be read.
pub fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let known = file
            .extension()
            .is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known));
        // A symlink that leads nowhere is kept, so that its reading says so.
        if !hidden && known && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort_unstable();
    Ok(files)
}
