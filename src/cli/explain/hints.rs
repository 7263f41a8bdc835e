//! Hints at what an operator may overlook: differences in case, and which credential places are
//! filled.
//!
//! All of it comes from the configuration and from fixed words; nothing repeats a secret.

use crate::authz::credential::{CredentialLocation, CredentialPlaces};
use crate::authz::method::Method;
use crate::authz::path::{PathPattern, PlainPath};
use crate::authz::request::RequestAttributes;

/// A hint where the method differs from one of these only in case; else nothing.
pub(super) fn method_case(methods: Option<&[Method]>, sent: &[u8]) -> &'static str {
    let mut methods = methods.unwrap_or_default().iter();
    if methods.any(|method| method.as_bytes().eq_ignore_ascii_case(sent)) {
        ": it differs only in case, and `allow: anyone` and keys compare methods case-sensitively"
    } else {
        ""
    }
}

/// A hint where the path would match one of these if case did not count; else nothing.
pub(super) fn path_case(patterns: Option<&[PathPattern]>, sent: &[u8]) -> &'static str {
    let sent = sent.to_ascii_lowercase();
    let Ok(path) = PlainPath::parse(&sent) else {
        return "";
    };
    let lower = |pattern: &PathPattern| pattern.to_string().to_ascii_lowercase().parse().ok();
    let mut patterns = patterns.unwrap_or_default().iter().filter_map(lower);
    if patterns.any(|pattern: PathPattern| pattern.matches(&path)) {
        ": it differs only in case, and paths are case-sensitive"
    } else {
        ""
    }
}

/// Which places make a request ambiguous, without what they hold.
pub(super) fn ambiguity(places: &CredentialPlaces, request: &RequestAttributes<'_>) -> String {
    if let Some(place) = places.filled_twice(request) {
        let comma = match place.location {
            CredentialLocation::Header { .. } | CredentialLocation::Scheme { .. } => {
                ", a comma in a header counting as two"
            }
            CredentialLocation::Query { .. } | CredentialLocation::Cookie { .. } => "",
        };
        return format!("{} is filled twice{comma}", place.handle());
    }
    match &*places.filled(request) {
        [] => String::new(),
        [place] => format!("{place} is filled twice"),
        [one, other] => format!("{one} and {other} are both filled, and differ"),
        [others @ .., last] => {
            let others = others.join(", ");
            format!("{others} and {last} are all filled, and differ")
        }
    }
}
