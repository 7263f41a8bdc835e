//! What changes in an allowed request on its way upstream, as `OkHttpResponse`.
//!
//! It comes in two parts whose fields Envoy sees as one message: what follows from the key or from there being none,
//! and what follows from the request. No header is named in both, nor both set and removed, for older and newer
//! Envoys set and remove in different orders.

use std::borrow::Cow;

use super::header;
use crate::authz::edits::{CookieChange, Edits};
use crate::authz::key::KeyRecord;
use crate::authz::snapshot::Policy;
use crate::authz::token::is_visible_or_space;
use crate::envoy::proto::envoy::service::auth::v3::OkHttpResponse;

/// The key's identity headers, each set or removed, and the credential headers removed.
pub(super) fn by_key(record: &KeyRecord, policy: &Policy) -> OkHttpResponse {
    let (mut headers, mut removed) = (Vec::new(), Vec::new());
    for (name, value) in policy.identity.values(record, &policy.plans) {
        // Records whose values cannot stand in a header line were refused before; none may pass even so.
        match value.filter(|value| is_visible_or_space(value)) {
            Some(value) => headers.push(header(name.as_str(), value.into_owned())),
            None => removed.push(name.as_str().to_owned()),
        }
    }
    remove_credentials(&mut removed, policy);
    OkHttpResponse {
        headers,
        headers_to_remove: removed,
        query_parameters_to_remove: Vec::new(),
    }
}

/// Every identity header removed, so that a caller's own copy never passes, and the credential headers.
pub(super) fn nobody(policy: &Policy) -> OkHttpResponse {
    let mut removed = policy
        .identity
        .names()
        .map(|name| name.as_str().to_owned())
        .collect();
    remove_credentials(&mut removed, policy);
    OkHttpResponse {
        headers: Vec::new(),
        headers_to_remove: removed,
        query_parameters_to_remove: Vec::new(),
    }
}

/// What is removed or rewritten because it stands in this request; empty for most, and then nothing is allocated.
pub(super) fn by_request(edits: &Edits<'_>, policy: &Policy) -> OkHttpResponse {
    let is_removed = |name: &[u8]| {
        policy
            .always_removed()
            .any(|other| other.as_bytes().eq_ignore_ascii_case(name))
    };
    let named = edits.remove_headers.iter().filter(|name| !is_removed(name));
    let mut removed: Vec<String> = named
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let mut headers = Vec::new();
    match &edits.cookie {
        CookieChange::Remove if !is_removed(COOKIE.as_bytes()) => removed.push(COOKIE.to_owned()),
        CookieChange::Replace(left) if !is_removed(COOKIE.as_bytes()) => {
            headers.push(header(COOKIE, header_text(left).into()));
        }
        CookieChange::Keep | CookieChange::Remove | CookieChange::Replace(_) => {}
    }
    if let Some(target) = &edits.target {
        headers.push(header(PATH, header_text(target).into()));
    }
    let query_parameters_to_remove = edits
        .remove_query
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    OkHttpResponse {
        headers,
        headers_to_remove: removed,
        query_parameters_to_remove,
    }
}

const COOKIE: &str = "cookie";

const PATH: &str = ":path";

fn remove_credentials(removed: &mut Vec<String>, policy: &Policy) {
    for name in policy.always_removed() {
        if !removed.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            removed.push(name.to_owned());
        }
    }
}

/// Bytes of a header value as text. Envoy sets an empty value from `raw_value`, and refuses an answer whose text is not
/// UTF-8; so what is not, and what could end a line, becomes `!`, which is what Envoy puts for such bytes itself.
fn header_text(value: &[u8]) -> Cow<'_, str> {
    let fits = |c: char| !c.is_control() || c == '\t';
    match str::from_utf8(value) {
        Ok(text) if text.chars().all(fits) => Cow::Borrowed(text),
        Ok(_) | Err(_) => {
            let mut text = String::with_capacity(value.len());
            for chunk in value.utf8_chunks() {
                text.extend(chunk.valid().chars().map(|c| if fits(c) { c } else { '!' }));
                text.extend(chunk.invalid().iter().map(|_| '!'));
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_is_text_without_control_characters() {
        for (value, expected) in [
            (&b"a=1; b=2"[..], "a=1; b=2"),
            (b"a=\xc3\xa9", "a=\u{e9}"),
            (b"a=\xff\xfe; b", "a=!!; b"),
            (b"a\r\nb\0c\x7f\t", "a!!b!c!\t"),
            (b"a=\xc3", "a=!"),
        ] {
            assert_eq!(header_text(value), expected);
        }
    }
}
