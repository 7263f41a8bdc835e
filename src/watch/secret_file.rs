//! A file that holds a secret of one line: a password or a bearer token. And what is odd about any file that holds a secret.
//!
//! One final newline is not part of the secret, since editors and `echo` write one. What else a secret must be is its source's to
//! say. Nothing here repeats any of the content.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// U+FEFF in UTF-8, which some editors put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file gives no secret.
#[derive(Debug)]
pub(crate) enum NoSecret {
    /// It cannot be read.
    Read(io::Error),
    /// It is empty, longer than a line or not UTF-8.
    Content,
}

/// Reads the secret of a file. Blocks.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, NoSecret> {
    let content = std::fs::read(path).map_err(NoSecret::Read)?;
    secret_in(&Zeroizing::new(content)).ok_or(NoSecret::Content)
}

/// What of the content is likely not meant, though it is a part of the secret: what an editor or a shell adds unseen. One final
/// line break is left out of every secret.
pub fn oddity(content: &[u8]) -> Option<&'static str> {
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
            assert_eq!(oddity(content), want, "{content:?}");
        }
    }
}
