//! A file that holds a secret of one line: a password or a bearer token.
//!
//! One final newline is not part of the secret, since editors and `echo` write one. What else a secret must be is its source's to
//! say. Nothing here repeats any of the content.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// Why a file gives no secret.
#[derive(Debug)]
pub(super) enum NoSecret {
    /// It cannot be read.
    Read(io::Error),
    /// It is empty, longer than a line or not UTF-8.
    Content,
}

/// Reads the secret of a file. Blocks.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, NoSecret> {
    let content = std::fs::read(path).map_err(NoSecret::Read)?;
    secret_in(&Zeroizing::new(content)).ok_or(NoSecret::Content)
}

fn secret_in(content: &[u8]) -> Option<Zeroizing<String>> {
    let line = content
        .strip_suffix(b"\n")
        .map_or(content, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
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
}
