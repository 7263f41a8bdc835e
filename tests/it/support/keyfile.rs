//! Key files, and the two ways to change one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The digest of `secret` in a key file.
pub fn digest(secret: &str) -> String {
    format!("blake3:{}", blake3::hash(secret.as_bytes()).to_hex())
}

/// The digest under a pepper, computed independently of keyward: its key is derived from the
/// pepper.
pub fn keyed_digest(secret: &str, pepper: &[u8]) -> String {
    let key = blake3::derive_key("keyward api key digest v1", pepper);
    format!(
        "blake3-keyed:{}",
        blake3::keyed_hash(&key, secret.as_bytes()).to_hex()
    )
}

/// A key file under construction.
#[derive(Clone, Debug)]
pub struct KeyFile(String);

impl KeyFile {
    pub fn new() -> Self {
        Self("keys:\n".into())
    }

    /// Adds a key with one secret; `rest` is additional members, `name: value` each.
    pub fn key(self, id: &str, secret: &str, rest: &[&str]) -> Self {
        self.secrets(id, &[&format!("digest: {}", digest(secret))], rest)
    }

    /// Adds a key with these secrets, each the inside of a flow mapping.
    pub fn secrets(mut self, id: &str, secrets: &[&str], rest: &[&str]) -> Self {
        write!(self.0, "  - id: {id}\n    secrets:\n").unwrap();
        for secret in secrets {
            writeln!(self.0, "      - {{{secret}}}").unwrap();
        }
        for member in rest {
            writeln!(self.0, "    {member}").unwrap();
        }
        self
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Puts new content in place by rename, as editors, `keyward keys` and Kubernetes do.
pub fn replace_by_rename(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Writes new content over the old.
pub fn write_in_place(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}
