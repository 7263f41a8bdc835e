//! A request method as rules and keys name it: any token, but a common one only as HTTP spells it.
//!
//! Methods are case-sensitive (RFC 9110 section 9.1). `get` in a rule is therefore a mistake that
//! would silently match nothing, or less than meant, so it is refused with the right spelling.

use std::fmt;
use std::str::FromStr;

use super::token::is_token;

/// The methods of RFC 9110 and PATCH: their other spellings are refused.
pub const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// A method's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method(Box<str>);

/// Why a text is not a method's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethod {
    /// Not an RFC 9110 token.
    #[error("not a method; write a name such as GET")]
    NotAToken,
    /// One of [`METHODS`], spelt otherwise.
    #[error("this method is written in capitals; write `{0}`")]
    NotInCapitals(&'static str),
}

impl Method {
    /// The name, as requests send it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
impl From<&str> for Method {
    /// Any text, as no configuration can hold it.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl FromStr for Method {
    type Err = InvalidMethod;

    fn from_str(text: &str) -> Result<Self, InvalidMethod> {
        let common = METHODS.iter().find(|name| name.eq_ignore_ascii_case(text));
        match common {
            Some(name) if *name != text => Err(InvalidMethod::NotInCapitals(name)),
            None if !is_token(text) => Err(InvalidMethod::NotAToken),
            Some(_) | None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
