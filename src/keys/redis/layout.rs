//! The names of keyward's Redis keys.
//!
//! `{prefix}key:{id}` holds a record and `{prefix}digest:{kind}:{hex}` the id of the key that has
//! the digest, so that one write of the record changes a key, however many secrets it has. Pushes
//! name the same Redis keys, and are parsed here.

use std::sync::Arc;

use crate::authz::digest::KeyDigest;
use crate::authz::key::KeyId;

/// Formats and parses names.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    prefix: Arc<str>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    Key(&'a str),
    Digest(KeyDigest),
    /// Not a name that this program could have given.
    Unknown,
}

impl Layout {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// Where the record of the key with that id is.
    pub(crate) fn key(&self, id: &KeyId) -> String {
        format!("{}{id}", self.keys())
    }

    /// The name of a record that no key can have, since no id begins with an underscore.
    pub(crate) fn probe_key(&self) -> String {
        format!("{}_probe", self.keys())
    }

    /// Where the id of the key that has that digest is.
    pub(crate) fn digest(&self, digest: &KeyDigest) -> String {
        format!("{}{digest}", self.digests())
    }

    /// What the names of all records begin with.
    pub(crate) fn keys(&self) -> String {
        format!("{}key:", self.prefix)
    }

    /// What the names of all index entries begin with.
    pub(crate) fn digests(&self) -> String {
        format!("{}digest:", self.prefix)
    }

    /// What a name stands for.
    pub(crate) fn read<'a>(&self, name: &'a [u8]) -> Named<'a> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Named::Unknown;
        };
        if let Some(id) = name.strip_prefix(&self.keys()) {
            return Named::Key(id);
        }
        name.strip_prefix(&self.digests())
            .and_then(|digest| digest.parse().ok())
            .map_or(Named::Unknown, Named::Digest)
    }

    /// The pattern of `SCAN` for the names of all records; the prefix is escaped.
    pub(crate) fn pattern_of_keys(&self) -> String {
        let mut pattern = String::new();
        for character in self.keys().chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::key::tests::digest_of;

    #[test]
    fn names_are_read_as_they_were_made() {
        let layout = Layout::new("kw:");
        let (id, digest) = ("a.b".parse().unwrap(), digest_of("a"));
        assert_eq!(layout.key(&id), "kw:key:a.b");
        assert_eq!(layout.digest(&digest), format!("kw:digest:{digest}"));
        for (name, want) in [
            (layout.key(&id), Named::Key("a.b")),
            (layout.digest(&digest), Named::Digest(digest)),
            ("kw:digest:blake3:short".to_owned(), Named::Unknown),
            ("other:key:a".to_owned(), Named::Unknown),
        ] {
            assert_eq!(layout.read(name.as_bytes()), want, "{name}");
        }
        assert_eq!(layout.read(b"kw:key:\xff"), Named::Unknown);
    }

    #[test]
    fn a_prefix_stands_for_itself_in_a_pattern() {
        assert_eq!(Layout::new("a[1]*").pattern_of_keys(), r"a\[1\]\*key:*");
    }
}
