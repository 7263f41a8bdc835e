//! Key files as operators have them, and the two ways of changing one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The digest that stands in a key file for `secret`.
pub fn digest(secret: &str) -> String {
    format!("blake3:{}", blake3::hash(secret.as_bytes()).to_hex())
}

/// The digest under a pepper, made apart from keyward: its key is derived from the pepper.
pub fn keyed_digest(secret: &str, pepper: &[u8]) -> String {
    let key = blake3::derive_key("keyward api key digest v1", pepper);
    format!(
        "blake3-keyed:{}",
        blake3::keyed_hash(&key, secret.as_bytes()).to_hex()
    )
}

/// A key file in the making.
#[derive(Clone, Debug)]
pub struct KeyFile(String);

impl KeyFile {
    pub fn new() -> Self {
        Self("keys:\n".into())
    }

    /// Adds a key with one secret; `rest` is further members, `name: value` each.
    pub fn key(self, id: &str, secret: &str, rest: &[&str]) -> Self {
        self.secrets(id, &[&format!("digest: {}", digest(secret))], rest)
    }

    /// Adds a key with secrets as given, each the inside of a flow mapping.
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

/// Puts a new content in place as editors, `keyward keys` and Kubernetes do.
pub fn replace_by_rename(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Writes a new content over the old one.
pub fn write_in_place(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}
