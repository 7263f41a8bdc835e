//! Finds the secret that a request presents, in the places that the operator configured.
//!
//! All places are looked at, for a request that presents two different secrets must not be judged by the luck of
//! the order. What is found is borrowed from the request; nothing here copies or prints a secret.

use std::fmt;

use zeroize::Zeroize;

use super::digest::hex_digit;
use super::reason::Reason;
use super::request::RequestAttributes;

/// A secret may have at most this many bytes; far more than any real one, and little enough to hash at leisure.
pub const SECRET_MAX_BYTES: usize = 512;

/// A place in a request where a secret may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The whole value of a header; the name is in lower case.
    Header {
        /// The header's name, in lower case.
        name: Box<str>,
    },
    /// What follows an authentication scheme in a header (RFC 9110 section 11.6.2).
    Scheme {
        /// The header's name, in lower case.
        name: Box<str>,
        /// The scheme, compared without regard to case.
        scheme: Box<str>,
    },
    /// The value of a query parameter.
    Query {
        /// The parameter's name, compared to the letter.
        name: Box<str>,
    },
    /// The value of a cookie.
    Cookie {
        /// The cookie's name, compared to the letter.
        name: Box<str>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name } => write!(f, "header {name}"),
            Self::Scheme { name, scheme } => write!(f, "header {name} with scheme {scheme}"),
            Self::Query { name } => write!(f, "query parameter {name}"),
            Self::Cookie { name } => write!(f, "cookie {name}"),
        }
    }
}

impl Place {
    /// The header in which this place lies, in lower case; `None` for a query parameter.
    pub fn header_name(&self) -> Option<&str> {
        match self {
            Self::Header { name } | Self::Scheme { name, .. } => Some(name),
            Self::Cookie { .. } => Some("cookie"),
            Self::Query { .. } => None,
        }
    }

    /// What stands at this place of the request.
    fn look<'a>(&self, request: &RequestAttributes<'a>) -> Found<'a> {
        match self {
            Self::Header { name } => whole_value(request, name),
            Self::Scheme { name, scheme } => after_scheme(request, name, scheme),
            Self::Query { name } => Found::of_all(query_values(request, name), true),
            Self::Cookie { name } => Found::of_all(cookie_values(request, name), false),
        }
    }
}

/// What stands at one place.
enum Found<'a> {
    Nothing,
    One(Credential<'a>),
    Twice,
}

impl<'a> Found<'a> {
    fn value(bytes: &'a [u8], percent_encoded: bool) -> Self {
        if bytes.is_empty() {
            Self::Nothing
        } else {
            Self::One(Credential {
                bytes,
                percent_encoded,
            })
        }
    }

    fn of_all(mut values: impl Iterator<Item = &'a [u8]>, percent_encoded: bool) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::value(value, percent_encoded),
            (Some(_), Some(_)) => Self::Twice,
        }
    }
}

/// A comma means two values: Envoy's `headers` map has joined duplicates with one.
fn whole_value<'a>(request: &RequestAttributes<'a>, name: &str) -> Found<'a> {
    let mut values = request.headers.values(name);
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) if !value.contains(&b',') => Found::value(value, false),
        (Some(_), _) => Found::Twice,
    }
}

fn after_scheme<'a>(request: &RequestAttributes<'a>, name: &str, scheme: &str) -> Found<'a> {
    let mut pieces = request
        .headers
        .values(name)
        .flat_map(|value| value.split(|byte| *byte == b','));
    let first = pieces.next().and_then(|piece| strip_scheme(piece, scheme));
    let mut rest = pieces.peekable();
    match first {
        Some(secret) if rest.peek().is_none() => Found::value(secret, false),
        Some(_) => Found::Twice,
        // Another scheme comes first. If ours hides behind a comma, whoever reads the header next may take that one.
        None if rest.any(|piece| strip_scheme(trim_start(piece), scheme).is_some()) => Found::Twice,
        None => Found::Nothing,
    }
}

/// What follows the scheme and its spaces; `None` if the value begins with another scheme.
fn strip_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (found, rest) = value.split_at_checked(end)?;
    let start = rest
        .iter()
        .position(|byte| *byte != b' ')
        .unwrap_or(rest.len());
    found
        .eq_ignore_ascii_case(scheme.as_bytes())
        .then(|| rest.get(start..).unwrap_or_default())
}

fn trim_start(value: &[u8]) -> &[u8] {
    let start = value
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    value.get(start..).unwrap_or_default()
}

/// Whether the first scheme of that header is this one, with or without something after it.
pub(super) fn begins_with_scheme(
    request: &RequestAttributes<'_>,
    name: &str,
    scheme: &str,
) -> bool {
    request.headers.values(name).any(|value| {
        value
            .split(|byte| *byte == b',')
            .any(|piece| strip_scheme(trim_start(piece), scheme).is_some())
    })
}

/// The raw values of a query parameter; names are compared undecoded, as Envoy does when it removes one.
pub(super) fn query_values<'a>(
    request: &RequestAttributes<'a>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    let pairs = request
        .query()
        .unwrap_or_default()
        .split(|byte| *byte == b'&');
    pairs.filter_map(move |pair| value_of(pair, name))
}

/// The pieces of all cookie lines. HTTP/1 lines reach us joined by a comma, which no cookie value may hold.
pub(super) fn cookie_pieces<'a>(request: &RequestAttributes<'a>) -> impl Iterator<Item = &'a [u8]> {
    let lines = request.headers.values("cookie");
    lines
        .flat_map(|line| line.split(|byte| matches!(byte, b';' | b',')))
        .map(<[u8]>::trim_ascii)
}

fn cookie_values<'a>(
    request: &RequestAttributes<'a>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    cookie_pieces(request).filter_map(move |piece| value_of(piece, name))
}

/// The value of `name=value`; a bare `name` has an empty one.
pub(super) fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    match pair.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}

/// The places that are looked at, in the operator's order. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialPlaces {
    places: Box<[Place]>,
}

impl CredentialPlaces {
    /// These places; `None` if there is none, for then nobody could ever present a key.
    pub fn new(places: Vec<Place>) -> Option<Self> {
        (!places.is_empty()).then(|| Self {
            places: places.into(),
        })
    }

    /// Every place, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// Whether one of them is a bearer token (RFC 6750 section 2.1), which decides the challenge.
    pub fn has_bearer(&self) -> bool {
        self.iter().any(|place| {
            matches!(place, Place::Scheme { name, scheme }
                if &**name == "authorization" && scheme.eq_ignore_ascii_case("bearer"))
        })
    }

    /// The one secret that the request presents, and where; `None` if every place holds nothing.
    ///
    /// # Errors
    /// `ambiguous_key` if a place is filled twice or two places differ, `malformed_key` if what is presented cannot be
    /// a secret.
    pub fn find<'a>(
        &self,
        request: &RequestAttributes<'a>,
    ) -> Result<Option<Credential<'a>>, Reason> {
        let mut presented: Option<Credential<'a>> = None;
        for place in self.iter() {
            match (place.look(request), &presented) {
                (Found::Nothing, _) => {}
                (Found::Twice, _) => return Err(Reason::AmbiguousKey),
                (Found::One(other), Some(first)) if !first.is_same(&other) => {
                    return Err(Reason::AmbiguousKey);
                }
                (Found::One(credential), _) => presented = Some(credential),
            }
        }
        match presented {
            Some(credential) if !credential.is_well_formed() => Err(Reason::MalformedKey),
            found => Ok(found),
        }
    }
}

/// A secret as presented, borrowed from the request. It has no `Display`, and `Debug` shows nothing of it.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    bytes: &'a [u8],
    percent_encoded: bool,
}

impl<'a> Credential<'a> {
    /// A secret that stands in the request as it is.
    pub const fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            percent_encoded: false,
        }
    }

    /// Hands the secret's bytes to `use_bytes`, percent-decoded where its place calls for it. A decoded secret lives
    /// on the stack for that long and is wiped.
    pub fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        if !self.percent_encoded || !self.bytes.contains(&b'%') {
            return use_bytes(self.bytes);
        }
        let mut buffer = [0; SECRET_MAX_BYTES];
        let mut length = 0;
        for (slot, byte) in buffer.iter_mut().zip(self.decoded()) {
            *slot = byte;
            length += 1;
        }
        let result = use_bytes(buffer.get(..length).unwrap_or_default());
        buffer.zeroize();
        result
    }

    fn decoded(&self) -> PercentDecoded<'a> {
        PercentDecoded {
            rest: self.bytes,
            literal: !self.percent_encoded,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.decoded().eq(other.decoded())
    }

    fn is_well_formed(&self) -> bool {
        let mut length = 0_usize;
        self.decoded().all(|byte| {
            length += 1;
            length <= SECRET_MAX_BYTES && byte.is_ascii_graphic()
        })
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// The bytes of a value, percent-decoded once; a `%` without two hex digits stays one.
struct PercentDecoded<'a> {
    rest: &'a [u8],
    literal: bool,
}

impl Iterator for PercentDecoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && !self.literal
            && let Some((high, low)) = hex_digit(*high).zip(hex_digit(*low))
        {
            self.rest = rest;
            return Some(high << 4 | low);
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests;
