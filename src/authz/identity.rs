//! Identity headers, by which the upstream learns who the caller is.
//!
//! Upstreams trust them, so their names are checked strictly at load, and a record with a value
//! that does not fit in a header line is invalid as a whole.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::key::{KeyRecord, PlanName};
use super::scope::Scope;
use super::snapshot::Plans;
use super::token::{is_alias, is_token, is_visible_or_space};

/// One identity value may have at most this many bytes.
pub const MAX_VALUE_BYTES: usize = 1024;
/// All identity values of a key may have at most this many bytes together.
pub const MAX_VALUES_BYTES: usize = 8 * 1024;

/// What an identity header carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityField {
    /// `key.id`
    Id,
    /// `key.client`
    Client,
    /// `key.scopes`: the key's and its plan's, separated by spaces.
    Scopes,
    /// `key.plan`
    Plan,
    /// `key.metadata.NAME`, if a scalar.
    Metadata(Box<str>),
}

/// The text names nothing that an identity header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are `key.id`, `key.client`, `key.scopes`, `key.plan` and `key.metadata.NAME`")]
pub struct InvalidIdentityField;

impl FromStr for IdentityField {
    type Err = InvalidIdentityField;

    fn from_str(text: &str) -> Result<Self, InvalidIdentityField> {
        match text {
            "key.id" => Ok(Self::Id),
            "key.client" => Ok(Self::Client),
            "key.scopes" => Ok(Self::Scopes),
            "key.plan" => Ok(Self::Plan),
            _ => match text.strip_prefix("key.metadata.") {
                Some(name) if !name.is_empty() => Ok(Self::Metadata(name.into())),
                Some(_) | None => Err(InvalidIdentityField),
            },
        }
    }
}

impl fmt::Display for IdentityField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("key.id"),
            Self::Client => f.write_str("key.client"),
            Self::Scopes => f.write_str("key.scopes"),
            Self::Plan => f.write_str("key.plan"),
            Self::Metadata(name) => write!(f, "key.metadata.{name}"),
        }
    }
}

/// The name of an identity header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityName(Box<str>);

/// Why a text cannot name an identity header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentityName {
    /// Not an RFC 9110 token; a pseudo header is none either.
    #[error("a header name is an RFC 9110 token")]
    NotAToken,
    /// A name that Envoy, HTTP itself or a later hop gives meaning to.
    #[error(
        "this header has a meaning of its own to Envoy or HTTP; choose another name, such as one that begins with `x-keyward-`"
    )]
    Reserved,
}

/// Setting one of these could smuggle a request, hang the upstream or pass for Envoy.
const RESERVED: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "cookie",
    "x-request-id",
];
const RESERVED_PREFIXES: &[&str] = &["proxy-", "x-envoy-", "x-forwarded-", "grpc-"];

impl FromStr for IdentityName {
    type Err = InvalidIdentityName;

    fn from_str(text: &str) -> Result<Self, InvalidIdentityName> {
        if !is_token(text) {
            return Err(InvalidIdentityName::NotAToken);
        }
        if is_reserved(text) {
            return Err(InvalidIdentityName::Reserved);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// Whether Envoy, HTTP itself or a later hop gives meaning to a header of that name, in any case.
pub fn is_reserved(name: &str) -> bool {
    // CGI and similar interfaces would take `content_length` or `content.length` for the real one.
    let begins_like = |prefix: &&str| {
        let start = name.as_bytes().get(..prefix.len());
        start.is_some_and(|start| is_alias(start, prefix.as_bytes()))
    };
    RESERVED
        .iter()
        .any(|reserved| is_alias(name.as_bytes(), reserved.as_bytes()))
        || RESERVED_PREFIXES.iter().any(begins_like)
}

impl IdentityName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some gateway interface takes the two names for one.
    pub fn is_alias_of(&self, name: &str) -> bool {
        is_alias(self.0.as_bytes(), name.as_bytes())
    }
}

/// A record's value does not fit in its identity header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Something that is neither visible ASCII nor a space.
    #[error("`{0}` goes into an identity header and may hold only visible ASCII and spaces")]
    Characters(IdentityField),
    /// Over `MAX_VALUE_BYTES`.
    #[error("`{0}` goes into an identity header and may have at most 1024 bytes")]
    Long(IdentityField),
    /// Over `MAX_VALUES_BYTES` together.
    #[error("the values of all identity headers may have at most 8192 bytes together")]
    LongTogether,
}

/// The identity headers, in the operator's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityHeaders {
    headers: Box<[(IdentityName, IdentityField)]>,
}

/// Two identity headers that some gateway interface takes for one. Numbers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedIdentity {
    /// The earlier.
    pub first: usize,
    /// The later.
    pub second: usize,
}

impl IdentityHeaders {
    /// These headers.
    ///
    /// # Errors
    /// The first pair of names that are equal but for case and for what is neither letter nor
    /// digit.
    pub fn new(headers: Vec<(IdentityName, IdentityField)>) -> Result<Self, RepeatedIdentity> {
        for (second, (name, _)) in headers.iter().enumerate() {
            let earlier = headers
                .iter()
                .take(second)
                .position(|(other, _)| other.is_alias_of(name.as_str()));
            if let Some(first) = earlier {
                return Err(RepeatedIdentity { first, second });
            }
        }
        Ok(Self {
            headers: headers.into(),
        })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &IdentityName> {
        self.headers.iter().map(|(name, _)| name)
    }

    /// Each name with the key's value for it; `None` where the key has none, and the header is to
    /// be removed.
    pub fn values<'k>(
        &'k self,
        record: &'k KeyRecord,
        plans: &'k Plans,
    ) -> impl Iterator<Item = (&'k IdentityName, Option<Cow<'k, str>>)> {
        self.headers.iter().map(|(name, field)| {
            (
                name,
                field.value(record, plans).filter(|value| !value.is_empty()),
            )
        })
    }

    /// Whether all values of a record fit in their headers.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self, record: &KeyRecord, plans: &Plans) -> Result<(), InvalidIdentity> {
        let mut together = 0;
        for (_, field) in &self.headers {
            let Some(value) = field.value(record, plans) else {
                continue;
            };
            if !is_visible_or_space(&value) {
                return Err(InvalidIdentity::Characters(field.clone()));
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(InvalidIdentity::Long(field.clone()));
            }
            together += value.len();
        }
        if together > MAX_VALUES_BYTES {
            Err(InvalidIdentity::LongTogether)
        } else {
            Ok(())
        }
    }

    /// Whether a request's header could be taken for one of these without being it: a gateway
    /// interface folds both to one name.
    pub fn is_alias(&self, header: &[u8]) -> bool {
        // A pseudo header is none to a gateway interface, and no request can do without it.
        let is_pseudo = header.starts_with(b":");
        let folds_to = |name: &IdentityName| {
            let name = name.as_str().as_bytes();
            is_alias(name, header) && !name.eq_ignore_ascii_case(header)
        };
        !is_pseudo && self.names().any(folds_to)
    }
}

impl IdentityField {
    fn value<'k>(&self, record: &'k KeyRecord, plans: &'k Plans) -> Option<Cow<'k, str>> {
        match self {
            Self::Id => Some(Cow::Borrowed(record.id.as_str())),
            Self::Client => Some(Cow::Borrowed(record.client())),
            Self::Plan => record
                .plan
                .as_ref()
                .map(PlanName::as_str)
                .map(Cow::Borrowed),
            Self::Metadata(name) => record.metadata_scalar(name).map(Cow::Borrowed),
            Self::Scopes => {
                let scopes: Vec<&str> = plans.scopes_of(record).map(Scope::as_str).collect();
                (!scopes.is_empty()).then(|| Cow::Owned(scopes.join(" ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::key::MetadataValue;
    use crate::authz::key::tests::record;

    #[test]
    fn names_with_a_meaning_of_their_own_are_refused() {
        for name in ["x-keyward-key-id", "X-Org-Id", "x_org", "from"] {
            assert!(name.parse::<IdentityName>().is_ok(), "{name}");
        }
        for name in ["", ":path", "a b", "x\r\ny"] {
            assert_eq!(
                name.parse::<IdentityName>(),
                Err(InvalidIdentityName::NotAToken),
                "{name}"
            );
        }
        for name in [
            "host",
            "Content-Length",
            "content_length",
            "transfer-encoding",
            "connection",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
            "cookie",
            "x-envoy-internal",
            "x-forwarded-for",
            "X_Forwarded_For",
            "content.length",
            "x.forwarded~for",
            "x-request-id",
            "grpc-timeout",
        ] {
            assert_eq!(
                name.parse::<IdentityName>(),
                Err(InvalidIdentityName::Reserved),
                "{name}"
            );
        }
    }

    fn headers(list: &[(&str, &str)]) -> Result<IdentityHeaders, RepeatedIdentity> {
        IdentityHeaders::new(
            list.iter()
                .map(|(n, f)| (n.parse().unwrap(), f.parse().unwrap()))
                .collect(),
        )
    }

    #[test]
    fn names_that_an_upstream_could_take_for_one_are_refused() {
        for alias in ["X_A", "x.a", "x|a"] {
            assert_eq!(
                headers(&[("x-a", "key.id"), ("x-b", "key.id"), (alias, "key.id")]),
                Err(RepeatedIdentity {
                    first: 0,
                    second: 2
                }),
                "{alias}"
            );
        }
    }

    #[test]
    fn absent_and_empty_values_are_none() {
        let identity = headers(&[
            ("x-id", "key.id"),
            ("x-plan", "key.plan"),
            ("x-org", "key.metadata.org"),
            ("x-s", "key.scopes"),
        ]);
        let identity = identity.unwrap();
        let mut key = record("a");
        key.metadata = [("org".into(), MetadataValue::Scalar("".into()))].into();
        let plans = Plans::default();
        let values: Vec<_> = identity
            .values(&key, &plans)
            .map(|(_, value)| value)
            .collect();
        assert_eq!(values, [Some(Cow::Borrowed("a")), None, None, None]);
    }

    #[test]
    fn values_that_could_break_a_header_make_the_record_invalid() {
        let identity = headers(&[("x-org", "key.metadata.org")]).unwrap();
        let check = |value: &str| {
            let mut key = record("a");
            key.metadata = [("org".into(), MetadataValue::Scalar(value.into()))].into();
            identity.check(&key, &Plans::default())
        };
        let field = || IdentityField::Metadata("org".into());
        assert_eq!(check("a b"), Ok(()));
        assert_eq!(
            check("a\r\nx: y"),
            Err(InvalidIdentity::Characters(field()))
        );
        assert_eq!(check("é"), Err(InvalidIdentity::Characters(field())));
        assert_eq!(check(&"a".repeat(1024)), Ok(()));
        assert_eq!(
            check(&"a".repeat(1025)),
            Err(InvalidIdentity::Long(field()))
        );
    }

    #[test]
    fn an_alias_differs_from_the_name_itself() {
        let identity = headers(&[("x-key-id", "key.id")]).unwrap();
        assert!(identity.is_alias(b"x_key-id"));
        assert!(identity.is_alias(b"X.Key~Id"));
        assert!(!identity.is_alias(b"X-Key-Id"));
        assert!(!identity.is_alias(b"x-key"));
        let odd = headers(&[("_path", "key.id")]).unwrap();
        assert!(odd.is_alias(b"-path") && !odd.is_alias(b":path"));
    }
}
