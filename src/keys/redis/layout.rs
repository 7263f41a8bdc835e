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
pub(crate) enum RedisName<'a> {
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
        format!("{}{id}", self.key_prefix())
    }

    /// The name of a record that no key can have, since no id begins with an underscore.
    pub(crate) fn probe_key(&self) -> String {
        format!("{}_probe", self.key_prefix())
    }

    /// Where the id of the key that has that digest is.
    pub(crate) fn digest(&self, digest: &KeyDigest) -> String {
        format!("{}{digest}", self.digest_prefix())
    }

    /// What the names of all records begin with.
    pub(crate) fn key_prefix(&self) -> String {
        format!("{}key:", self.prefix)
    }

    /// What the names of all index entries begin with.
    pub(crate) fn digest_prefix(&self) -> String {
        format!("{}digest:", self.prefix)
    }

    /// What a name stands for.
    pub(crate) fn parse<'a>(&self, name: &'a [u8]) -> RedisName<'a> {
        let Ok(name) = std::str::from_utf8(name) else {
            return RedisName::Unknown;
        };
        if let Some(id) = name.strip_prefix(&self.key_prefix()) {
            return RedisName::Key(id);
        }
        name.strip_prefix(&self.digest_prefix())
            .and_then(|digest| digest.parse().ok())
            .map_or(RedisName::Unknown, RedisName::Digest)
    }

    /// The pattern of `SCAN` for the names of all records; the prefix is escaped.
    pub(crate) fn key_scan_pattern(&self) -> String {
        let mut pattern = String::new();
        for character in self.key_prefix().chars() {
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
            (layout.key(&id), RedisName::Key("a.b")),
            (layout.digest(&digest), RedisName::Digest(digest)),
            ("kw:digest:blake3:short".to_owned(), RedisName::Unknown),
            ("other:key:a".to_owned(), RedisName::Unknown),
        ] {
            assert_eq!(layout.parse(name.as_bytes()), want, "{name}");
        }
        assert_eq!(layout.parse(b"kw:key:\xff"), RedisName::Unknown);
    }

    #[test]
    fn a_prefix_stands_for_itself_in_a_pattern() {
        assert_eq!(Layout::new("a[1]*").key_scan_pattern(), r"a\[1\]\*key:*");
    }
}
