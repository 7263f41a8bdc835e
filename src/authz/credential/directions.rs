//! Texts about credential places: where a caller should put a key, and hints for the operator about
//! how one was presented.
//!
//! They are built from the configuration and fixed words; no byte of the request is repeated.

use super::place::{Presented, header_parts, strip_scheme};
use super::{CredentialLocation, CredentialPlace, CredentialPlaces};
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;

/// Schemes that callers often put before a key where none belongs, besides the configured ones.
const COMMON_SCHEMES: [&str; 5] = ["Bearer", "Basic", "ApiKey", "Api-Key", "Token"];

/// Where a key belongs, for a caller that speaks HTTP.
pub(super) fn of_http(places: &[CredentialPlace]) -> String {
    format!("Send the API key as {}.", either(places.iter()))
}

/// The same for a gRPC client, which can send metadata, that is headers, but no query.
pub(super) fn of_grpc(places: &[CredentialPlace]) -> String {
    let is_header = |place: &&CredentialPlace| {
        matches!(
            place.location,
            CredentialLocation::Header { .. } | CredentialLocation::Scheme { .. }
        )
    };
    if places.iter().any(|place| is_header(&place)) {
        format!("send it as {}", either(places.iter().filter(is_header)))
    } else {
        format!("send it as {}", either(places.iter()))
    }
}

fn either<'p>(places: impl Iterator<Item = &'p CredentialPlace>) -> String {
    let examples: Vec<String> = places.map(CredentialPlace::example).collect();
    match examples.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl CredentialPlaces {
    /// The places that are filled, each once, as `CredentialPlace::handle` names them.
    pub fn filled(&self, request: &RequestAttributes<'_>) -> Vec<String> {
        let mut filled: Vec<String> = Vec::new();
        for place in self.iter().filter(|place| place.is_filled(request)) {
            let handle = place.handle();
            if !filled.contains(&handle) {
                filled.push(handle);
            }
        }
        filled
    }

    /// A place that holds more than one value, and so makes the request ambiguous by itself.
    pub fn filled_twice(&self, request: &RequestAttributes<'_>) -> Option<&CredentialPlace> {
        let mut places = self.iter();
        places.find(|place| matches!(place.look(request), Presented::Twice))
    }

    /// A hint for the operator about how a key was presented that was refused for that reason;
    /// `None` if nothing stands out.
    pub fn hint(&self, request: &RequestAttributes<'_>, reason: Reason) -> Option<String> {
        if reason == Reason::MalformedKey {
            self.iter()
                .find_map(|place| self.scheme_hint(place, request))
        } else if reason == Reason::MissingKey {
            self.iter().find_map(|place| absence_hint(place, request))
        } else {
            None
        }
    }

    /// The authentication scheme at the start of a value, if something follows it.
    pub fn leading_scheme(&self, value: &[u8]) -> Option<&str> {
        let configured = self.iter().filter_map(|place| match &place.location {
            CredentialLocation::Scheme { scheme, .. } => Some(&**scheme),
            CredentialLocation::Header { .. }
            | CredentialLocation::Query { .. }
            | CredentialLocation::Cookie { .. } => None,
        });
        configured
            .chain(COMMON_SCHEMES)
            .find(|scheme| strip_scheme(value, scheme).is_some_and(|secret| !secret.is_empty()))
    }

    fn scheme_hint(
        &self,
        place: &CredentialPlace,
        request: &RequestAttributes<'_>,
    ) -> Option<String> {
        let Presented::One(credential) = place.look(request) else {
            return None;
        };
        let scheme = credential.with_bytes(|secret| self.leading_scheme(secret))?;
        let so = match place.location {
            CredentialLocation::Scheme { .. } => "once more before the key",
            CredentialLocation::Header { .. }
            | CredentialLocation::Query { .. }
            | CredentialLocation::Cookie { .. } => "before the key, where the key stands alone",
        };
        Some(format!("{place} has the scheme {scheme} {so}"))
    }
}

/// Why a place that holds something counts as empty.
fn absence_hint(place: &CredentialPlace, request: &RequestAttributes<'_>) -> Option<String> {
    match &place.location {
        CredentialLocation::Scheme { name, scheme } => {
            let first = header_parts(request, name).find(|part| !part.is_empty())?;
            match (strip_scheme(first, scheme), &place.prefix) {
                (None, _) => Some(format!("header {name} has no scheme {scheme} in front")),
                (Some([]), _) => Some(format!("header {name} has nothing after {scheme}")),
                (Some(_), Some(prefix)) => Some(format!(
                    "header {name} has a value that does not begin with {prefix}"
                )),
                (Some(_), None) => None,
            }
        }
        CredentialLocation::Header { name } => {
            let prefix = place.prefix.as_ref()?;
            header_parts(request, name).find(|part| !part.is_empty())?;
            Some(format!(
                "header {name} has a value that does not begin with {prefix}"
            ))
        }
        CredentialLocation::Query { .. } | CredentialLocation::Cookie { .. } => None,
    }
}
