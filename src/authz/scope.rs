//! Scope tokens (RFC 6749 section 3.3): what a rule requires and a key or its plan grants.
//!
//! A token is checked when it is parsed, so that a challenge can quote it and an identity header
//! can carry several, separated by spaces.

use std::fmt;
use std::str::FromStr;

/// One scope token: visible ASCII without `"` and `\`, so that it fits in a quoted string as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

/// The text is not a scope token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is one or more visible ASCII characters other than `\"` and `\\` (RFC 6749 section 3.3)"
)]
pub struct InvalidScope;

impl Scope {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(InvalidScope);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_hold_nothing_that_could_leave_a_quoted_string() {
        for text in [
            "admin",
            "invoices:read",
            "https://example.com/scope",
            "!#[]~",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a\"b", "a\\b", "é", "a\n"] {
            assert_eq!(text.parse::<Scope>(), Err(InvalidScope), "{text:?}");
        }
    }
}
