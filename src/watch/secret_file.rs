//! A file with a secret of one line, such as a password or a bearer token.
//!
//! One final newline is not part of the secret, since editors and `echo` write one. The caller may
//! require more of a secret. No error repeats any of the content.

use std::io;

use zeroize::Zeroizing;

use super::named_file::NamedFile;

/// U+FEFF in UTF-8, which some editors put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file of a secret, which a member of the configuration names.
pub(crate) struct SecretFile<'a> {
    pub(crate) member: &'static str,
    pub(crate) path: &'a NamedFile,
    /// What it is to hold, for errors.
    pub(crate) wanted: &'static str,
}

/// A file of a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("{member}: {} cannot be read", path.display())]
    Read {
        /// The member that names it.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It does not hold such a secret.
    #[error("{member}: {} does not hold {wanted}", path.display())]
    Content {
        /// The member that names it.
        member: &'static str,
        /// The file.
        path: NamedFile,
        /// What it is to hold.
        wanted: &'static str,
    },
}

impl SecretFileError {
    /// The member of the configuration that names the file.
    pub fn member(&self) -> &'static str {
        match self {
            Self::Read { member, .. } | Self::Content { member, .. } => member,
        }
    }
}

impl SecretFile<'_> {
    /// Reads the secret: one line of UTF-8 that is not empty. Blocks.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, SecretFileError> {
        let content = std::fs::read(self.path).map_err(|cause| SecretFileError::Read {
            member: self.member,
            path: self.path.clone(),
            cause,
        })?;
        secret_in(&Zeroizing::new(content)).ok_or_else(|| self.unusable())
    }

    /// The error for a content that is not the wanted one.
    pub(crate) fn unusable(&self) -> SecretFileError {
        SecretFileError::Content {
            member: self.member,
            path: self.path.clone(),
            wanted: self.wanted,
        }
    }
}

/// A part of the secret that is likely a mistake: what an editor or a shell adds unseen. The final
/// line break is never a part of it.
pub fn likely_mistake(content: &[u8]) -> Option<&'static str> {
    if content.starts_with(BYTE_ORDER_MARK) {
        return Some("begins with a byte order mark");
    }
    match without_line_break(content).last()? {
        b'\n' => Some("ends in a second line break"),
        last if last.is_ascii_whitespace() => Some("ends in white space"),
        _ => None,
    }
}

fn without_line_break(content: &[u8]) -> &[u8] {
    content
        .strip_suffix(b"\n")
        .map_or(content, |rest| rest.strip_suffix(b"\r").unwrap_or(rest))
}

fn secret_in(content: &[u8]) -> Option<Zeroizing<String>> {
    let line = without_line_break(content);
    let text = std::str::from_utf8(line).ok()?;
    (!text.is_empty() && !text.contains('\n')).then(|| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_without_its_end() {
        for (content, want) in [
            (&b"s"[..], Some("s")),
            (b"s\n", Some("s")),
            (b"s\r\n", Some("s")),
            (b" s ", Some(" s ")),
            (b"\xc3\xa4\n", Some("\u{e4}")),
            (b"s\r", Some("s\r")),
            (b"", None),
            (b"\n", None),
            (b"\r\n", None),
            (b"s\n\n", None),
            (b"s\nt", None),
            (b"\xff", None),
        ] {
            let secret = secret_in(content);
            let secret = secret.as_ref().map(|secret| secret.as_str());
            assert_eq!(secret, want, "{content:?}");
        }
    }

    #[test]
    fn what_is_added_unseen_is_odd() {
        for (content, want) in [
            (&b"s"[..], None),
            (b"s\n", None),
            (b"s\r\n", None),
            (b" s", None),
            (b"", None),
            (b"\n", None),
            (b"\xef\xbb\xbfs\n", Some("begins with a byte order mark")),
            (b"s\n\n", Some("ends in a second line break")),
            (b"s\r\n\r\n", Some("ends in a second line break")),
            (b"s \n", Some("ends in white space")),
            (b"s\t", Some("ends in white space")),
            (b"s\r", Some("ends in white space")),
        ] {
            assert_eq!(likely_mistake(content), want, "{content:?}");
        }
    }
}
