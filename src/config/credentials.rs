//! Checks where a request may carry its secret.
//!
//! Two locations that overlap are refused: a secret found in one would be found in the other too,
//! and every request would be ambiguous.

use super::spec::CredentialSpec;
use crate::authz::credential::{CredentialLocation, CredentialPlace, CredentialPlaces, QueryStrip};
use crate::authz::identity::is_reserved;
use crate::authz::token::{is_alias, is_token};
use crate::yaml::FieldPath;

/// A prefix may have at most this many bytes; those in the field have up to a dozen.
const MAX_PREFIX_BYTES: usize = 64;

/// The checked form.
pub(super) fn check(specs: &[CredentialSpec], at: &FieldPath<'_>) -> Option<CredentialPlaces> {
    let mut places: Vec<(usize, CredentialPlace)> = Vec::new();
    let before = at.problems_so_far();
    for (index, spec) in specs.iter().enumerate() {
        let here = at.index(index);
        let Some(place) = check_one(spec, &here) else {
            continue;
        };
        match places
            .iter()
            .find(|(_, other)| is_same(&other.location, &place.location))
        {
            Some((other, _)) => here.problem_with_help(
                format!("the same place as credentials[{other}]"),
                "name each place once; one header holds several secrets only by different schemes",
            ),
            None => places.push((index, place)),
        }
    }
    let places = CredentialPlaces::new(places.into_iter().map(|(_, place)| place).collect());
    if specs.is_empty() {
        at.problem_with_help(
            "no place for a secret, so no key could ever be presented",
            "leave `credentials` out for the default",
        );
    }
    places.filter(|_| at.problems_so_far() == before)
}

fn check_one(spec: &CredentialSpec, at: &FieldPath<'_>) -> Option<CredentialPlace> {
    let before = at.problems_so_far();
    let location = check_location(spec, at);
    let prefix = spec
        .prefix
        .as_deref()
        .filter(|prefix| check_prefix(prefix, &at.field("prefix")));
    if spec.strip.is_some() && spec.query.is_none() {
        at.field("strip").problem_with_help(
            "only a query parameter is removed in one way or another",
            "leave `strip` out",
        );
    }
    let location = location.filter(|_| at.problems_so_far() == before)?;
    Some(CredentialPlace {
        location,
        prefix: prefix.map(Into::into),
    })
}

fn check_location(spec: &CredentialSpec, at: &FieldPath<'_>) -> Option<CredentialLocation> {
    match (&spec.header, &spec.query, &spec.cookie) {
        (Some(header), None, None) => check_header(header, spec.scheme.as_deref(), at),
        (None, Some(_), None) | (None, None, Some(_)) if spec.scheme.is_some() => {
            at.field("scheme").problem("only a header has a scheme");
            None
        }
        (None, Some(query), None) => check_query(query, spec.strip, &at.field("query")),
        (None, None, Some(cookie)) => check_cookie(cookie, &at.field("cookie")),
        _ => {
            at.problem_with_help(
                "not one place",
                "name exactly one of `header`, `query`, `cookie`",
            );
            None
        }
    }
}

/// A prefix has to leave room for the rest of a secret, and to be what can stand in every place
/// without being decoded.
pub(super) fn check_prefix(prefix: &str, at: &FieldPath<'_>) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b",;%\"`".contains(&byte);
    let is_prefix = (1..=MAX_PREFIX_BYTES).contains(&prefix.len()) && prefix.bytes().all(fits);
    if !is_prefix {
        at.problem_with_help(
            "not a prefix of secrets",
            "write 1 to 64 visible ASCII characters but `,`, `;`, `%`, a quote or a backtick, such as kw_",
        );
    }
    is_prefix
}

fn check_header(
    header: &str,
    scheme: Option<&str>,
    at: &FieldPath<'_>,
) -> Option<CredentialLocation> {
    let name = check_header_name(header, &at.field("header"));
    let Some(scheme) = scheme else {
        return Some(CredentialLocation::Header { name: name? });
    };
    if !check_scheme(scheme, &at.field("scheme")) {
        return None;
    }
    Some(CredentialLocation::Scheme {
        name: name?,
        scheme: scheme.into(),
    })
}

pub(super) fn check_scheme(scheme: &str, at: &FieldPath<'_>) -> bool {
    let is_scheme = is_token(scheme);
    if !is_scheme {
        at.problem_with_help(
            "not an authentication scheme",
            "write one word, such as Bearer",
        );
    }
    is_scheme
}

pub(super) fn check_header_name(header: &str, at: &FieldPath<'_>) -> Option<Box<str>> {
    let name = header.to_ascii_lowercase();
    let (problem, help) = if !is_token(&name) {
        (
            "not a header's name",
            "a header name is an RFC 9110 token, such as x-api-key",
        )
    } else if name == "cookie" {
        ("cookies are looked at one by one", "write `cookie: NAME`")
    } else if is_not_for_secrets(&name) {
        (
            "this header has a meaning of its own to Envoy or HTTP",
            "choose another, such as x-api-key",
        )
    } else {
        return Some(name.into_boxed_str());
    };
    at.problem_with_help(problem, help);
    None
}

/// Whether the header carries no secret, is logged, or is one that a request cannot do without:
/// credentials are removed from what goes upstream.
fn is_not_for_secrets(name: &str) -> bool {
    is_reserved(name) || is_alias(name.as_bytes(), b"content-type")
}

/// A name is compared undecoded with what stands between `?` or `&` and `=`.
pub(super) fn check_query(
    name: &str,
    strip: Option<QueryStrip>,
    at: &FieldPath<'_>,
) -> Option<CredentialLocation> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
    if name.is_empty() || !name.bytes().all(fits) {
        at.problem_with_help(
            "not a query parameter's name",
            "write it as it stands in a URL, such as api_key",
        );
        return None;
    }
    Some(CredentialLocation::Query {
        name: name.into(),
        strip: strip.unwrap_or_default(),
    })
}

pub(super) fn check_cookie(name: &str, at: &FieldPath<'_>) -> Option<CredentialLocation> {
    if !is_token(name) {
        at.problem_with_help(
            "not a cookie's name",
            "a cookie name is an RFC 6265 token, such as api_key",
        );
        return None;
    }
    Some(CredentialLocation::Cookie { name: name.into() })
}

fn is_same(one: &CredentialLocation, other: &CredentialLocation) -> bool {
    match (one, other) {
        (
            CredentialLocation::Scheme { name: a, scheme: x },
            CredentialLocation::Scheme { name: b, scheme: y },
        ) => {
            // Names that only an upstream takes for one are two headers to us, and one may smuggle
            // past the other.
            is_alias(a.as_bytes(), b.as_bytes()) && (a != b || x.eq_ignore_ascii_case(y))
        }
        (
            CredentialLocation::Header { name: a } | CredentialLocation::Scheme { name: a, .. },
            CredentialLocation::Header { name: b } | CredentialLocation::Scheme { name: b, .. },
        ) => is_alias(a.as_bytes(), b.as_bytes()),
        (CredentialLocation::Query { name: a, .. }, CredentialLocation::Query { name: b, .. })
        | (CredentialLocation::Cookie { name: a }, CredentialLocation::Cookie { name: b }) => {
            a == b
        }
        (
            CredentialLocation::Header { .. }
            | CredentialLocation::Scheme { .. }
            | CredentialLocation::Query { .. }
            | CredentialLocation::Cookie { .. },
            _,
        ) => false,
    }
}
