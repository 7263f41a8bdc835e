//! One place of a request that may hold a secret, and what it holds.
//!
//! A place with a `prefix` shares its header, parameter or cookie with secrets that are not
//! keyward's: a value without the prefix is ignored and not stripped. If one value has the prefix
//! and another beside it does not, the upstream may read the other one, so the request is
//! ambiguous.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Credential;
use crate::authz::request::RequestAttributes;

/// A place of a request that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialPlace {
    /// Which part of the request it is.
    pub location: CredentialLocation,
    /// What a value must begin with, case included, to be a secret of keyward's; `None`: any value
    /// is one.
    pub prefix: Option<Box<str>>,
}

/// The part of a request that a credential place is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialLocation {
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
        /// The parameter's name, case-sensitive.
        name: Box<str>,
        /// How it is removed from what goes upstream.
        strip: QueryStrip,
    },
    /// The value of a cookie.
    Cookie {
        /// The cookie's name, case-sensitive.
        name: Box<str>,
    },
}

/// How a query parameter is removed from what goes upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueryStrip {
    /// Envoy removes it, and sorts and writes again what is left of the query.
    #[default]
    Parameter,
    /// keyward sets `:path` without it; every other byte stays. Envoy's
    /// `decoder_header_mutation_rules` have to allow it.
    Path,
}

/// What one place holds.
pub(super) enum Presented<'a> {
    Nothing,
    One(Credential<'a>),
    Twice,
}

// === impl CredentialPlace ===

impl From<CredentialLocation> for CredentialPlace {
    fn from(location: CredentialLocation) -> Self {
        Self {
            location,
            prefix: None,
        }
    }
}

impl fmt::Display for CredentialPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            CredentialLocation::Header { name } => write!(f, "header {name}"),
            CredentialLocation::Scheme { name, scheme } => {
                write!(f, "header {name} with scheme {scheme}")
            }
            CredentialLocation::Query { name, .. } => write!(f, "query parameter {name}"),
            CredentialLocation::Cookie { name } => write!(f, "cookie {name}"),
        }?;
        match &self.prefix {
            Some(prefix) => write!(f, " (values that begin with {prefix})"),
            None => Ok(()),
        }
    }
}

impl CredentialPlace {
    /// The query parameter that this place is, and how it is removed; `None` for another place.
    pub fn query_parameter(&self) -> Option<(&str, QueryStrip)> {
        match &self.location {
            CredentialLocation::Query { name, strip } => Some((name, *strip)),
            CredentialLocation::Header { .. }
            | CredentialLocation::Scheme { .. }
            | CredentialLocation::Cookie { .. } => None,
        }
    }

    /// Whether this place is a cookie.
    pub fn is_cookie(&self) -> bool {
        matches!(self.location, CredentialLocation::Cookie { .. })
    }

    /// Its name in the decision log and for `explain --key-file`: `x-api-key`, `query:api_key`,
    /// `cookie:api_key`.
    pub fn handle(&self) -> String {
        match &self.location {
            CredentialLocation::Header { name } | CredentialLocation::Scheme { name, .. } => {
                name.to_string()
            }
            CredentialLocation::Query { name, .. } => format!("query:{name}"),
            CredentialLocation::Cookie { name } => format!("cookie:{name}"),
        }
    }

    /// An example of filling it, with `KEY` for the secret.
    pub(super) fn example(&self) -> String {
        let shown = |name: &str| match name {
            "authorization" => "Authorization".to_owned(),
            other => other.to_owned(),
        };
        let example = match &self.location {
            CredentialLocation::Header { name } => format!("`{}: KEY`", shown(name)),
            CredentialLocation::Scheme { name, scheme } => {
                format!("`{}: {scheme} KEY`", shown(name))
            }
            CredentialLocation::Query { name, .. } => format!("`?{name}=KEY`"),
            CredentialLocation::Cookie { name } => format!("`Cookie: {name}=KEY`"),
        };
        match &self.prefix {
            Some(prefix) => format!("{example} (KEY begins with `{prefix}`)"),
            None => example,
        }
    }

    /// Whether the request has a value of keyward's at this place.
    pub fn is_filled(&self, request: &RequestAttributes<'_>) -> bool {
        !matches!(self.look(request), Presented::Nothing)
    }

    /// Whether this place reads that query or cookie piece: it has the place's name, and its value
    /// has the prefix.
    pub fn reads(&self, piece: &[u8]) -> bool {
        match &self.location {
            CredentialLocation::Query { name, .. } => {
                value_of(piece, name).is_some_and(|value| self.claims(value, true))
            }
            CredentialLocation::Cookie { name } => {
                value_of(piece, name).is_some_and(|value| self.claims(value, false))
            }
            CredentialLocation::Header { .. } | CredentialLocation::Scheme { .. } => false,
        }
    }

    /// What the request holds at this place.
    pub(super) fn look<'a>(&self, request: &RequestAttributes<'a>) -> Presented<'a> {
        match &self.location {
            // A comma means two values: Envoy's `headers` map has joined duplicates with one.
            CredentialLocation::Header { name } => {
                Presented::only(header_parts(request, name), false, |part| {
                    self.claims(trim_start(part), false).then_some(part)
                })
            }
            CredentialLocation::Scheme { name, scheme } => self.after_scheme(request, name, scheme),
            CredentialLocation::Query { name, .. } => {
                Presented::only(query_values(request, name), true, |value| {
                    self.claims(value, true).then_some(value)
                })
            }
            CredentialLocation::Cookie { name } => {
                let values = request
                    .cookie_pieces()
                    .filter_map(|piece| value_of(piece, name));
                Presented::only(values, false, |value| {
                    self.claims(value, false).then_some(value)
                })
            }
        }
    }

    fn after_scheme<'a>(
        &self,
        request: &RequestAttributes<'a>,
        name: &str,
        scheme: &str,
    ) -> Presented<'a> {
        // Our scheme may come after another one and a comma. Then the upstream may read that other
        // value.
        Presented::only(header_parts(request, name), false, |part| {
            let part = trim_start(part);
            match strip_scheme(part, scheme) {
                Some(secret) => self.claims(secret, false).then_some(secret),
                // A part without a scheme may be read as a further token of the one before it.
                // Alone it is no secret.
                None => (self.prefix.is_some() && self.claims(part, false)).then_some(&[]),
            }
        })
    }

    /// Whether a value begins with the prefix, percent-decoded where its place calls for it.
    fn claims(&self, value: &[u8], percent_encoded: bool) -> bool {
        let Some(prefix) = &self.prefix else {
            return true;
        };
        let value = Credential {
            bytes: value,
            percent_encoded,
        };
        value.decoded().take(prefix.len()).eq(prefix.bytes())
    }
}

// === impl Presented ===

impl<'a> Presented<'a> {
    /// The only one of these values, if it is ours; if others are beside ours, there are several.
    fn only(
        values: impl Iterator<Item = &'a [u8]>,
        percent_encoded: bool,
        mut ours: impl FnMut(&'a [u8]) -> Option<&'a [u8]>,
    ) -> Self {
        let mut count = 0_usize;
        let mut found = None;
        for value in values {
            count += 1;
            found = found.or_else(|| ours(value));
            if count > 1 && found.is_some() {
                return Self::Twice;
            }
        }
        match found {
            None | Some([]) => Self::Nothing,
            Some(bytes) => Self::One(Credential {
                bytes,
                percent_encoded,
            }),
        }
    }
}

/// The values of a header's lines, split at the commas by which lines are joined.
pub(super) fn header_parts<'a, 'n>(
    request: &'n RequestAttributes<'a>,
    name: &'n str,
) -> impl Iterator<Item = &'a [u8]> + 'n
where
    'a: 'n,
{
    request
        .headers
        .values(name)
        .flat_map(|value| value.split(|byte| *byte == b','))
}

/// What follows the scheme and its spaces; `None` if the value begins with another scheme.
pub(super) fn strip_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
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

/// Whether any part of that header begins with that scheme, with or without a value after it.
pub fn has_scheme(request: &RequestAttributes<'_>, name: &str, scheme: &str) -> bool {
    header_parts(request, name).any(|part| strip_scheme(trim_start(part), scheme).is_some())
}

/// The raw values of a query parameter; names are compared undecoded, as Envoy does when it removes
/// one.
fn query_values<'a>(request: &RequestAttributes<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    request
        .query_pieces()
        .filter_map(move |pair| value_of(pair, name))
}

/// The value of `name=value`; a bare `name` has an empty one.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    match pair.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}
