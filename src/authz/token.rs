//! The small grammars of HTTP that names must follow: tokens and visible ASCII (RFC 9110 sections
//! 5.5 and 5.6.2).
//!
//! Pure predicates, shared by the checks of configuration and records.

/// Whether the text is an RFC 9110 token: at least one `tchar`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether a header value holds only visible ASCII and spaces: nothing that could end a line.
pub fn is_visible_or_space(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Whether a gateway interface may take two header names for one: they are equal once case is
/// dropped and every byte but letters and digits is replaced by `_`. CGI turns `x-a` into
/// `HTTP_X_A`; its successors differ in which other bytes they replace, and this covers all of
/// them.
pub fn is_alias(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            byte.to_ascii_lowercase()
        } else {
            b'_'
        }
    };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_rfc_9110() {
        for token in ["x-api-key", "X_Y", "!#$%&'*+-.^_`|~09azAZ"] {
            assert!(is_token(token), "{token}");
        }
        for other in ["", "a b", "a:b", ":path", "a\r\n", "é", "a,b", "(", "\""] {
            assert!(!is_token(other), "{other}");
        }
    }

    #[test]
    fn aliases_differ_in_case_and_in_what_is_neither_letter_nor_digit() {
        assert!(is_alias(b"x-keyward-client", b"X_Keyward-client"));
        for byte in b"!#$%&'*+-.^_`|~" {
            let other = [b"x", &[*byte][..], b"keyward", &[*byte][..], b"client"].concat();
            assert!(is_alias(b"x-keyward-client", &other), "{byte}");
        }
        assert!(is_alias(b"x-a", b"x-a"));
        assert!(!is_alias(b"x-a", b"xa"));
        assert!(!is_alias(b"x-a", b"x--a"));
        assert!(!is_alias(b"x-a", b"x0a"));
        assert!(!is_alias(b"x-a", b"x-b"));
    }
}
