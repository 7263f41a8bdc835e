//! What changes in an allowed request on its way upstream: headers set and removed, secrets taken
//! out.
//!
//! There are two parts, which are sent as one: what follows from the key, or from its absence,
//! which is the same for every request and so can be encoded once; and what follows from the
//! request. No header is named in both, nor both set and removed, for older and newer Envoys set
//! and remove in different orders.

use std::borrow::Cow;
use std::fmt;
use std::string::FromUtf8Error;

use crate::authz::credential::{CredentialLocation, QueryStrip, has_scheme};
use crate::authz::key::KeyRecord;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::Policy;
use crate::authz::token::is_visible_or_space;

const COOKIE: &str = "cookie";
const PATH: &str = ":path";

/// Changes to a request. Header names differ in more than case.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UpstreamChanges<'a> {
    /// Headers with their values, each in place of all lines of its name.
    pub set: Vec<(&'a str, Cow<'a, str>)>,
    /// Headers to remove.
    pub remove: Vec<Cow<'a, str>>,
    /// Query parameters to remove, each present in the request and named once: Envoy re-sorts the
    /// whole query when it removes one. Empty where `:path` is set, which Envoy may do before or
    /// after.
    pub remove_query: Vec<&'a str>,
}

impl<'a> UpstreamChanges<'a> {
    /// What an allow by this key changes, whatever the request: its identity headers are set, or
    /// removed where it has no value for them, and the credential headers are removed.
    pub fn by_key(record: &'a KeyRecord, policy: &'a Policy) -> Self {
        let mut changes = Self::default();
        for (name, value) in policy.identity.values(record, &policy.plans) {
            // Records whose values do not fit in a header line were refused before. If one got here
            // all the same, it must not end the line.
            match value.filter(|value| is_visible_or_space(value)) {
                Some(value) => changes.set.push((name.as_str(), value)),
                None => changes.remove.push(name.as_str().into()),
            }
        }
        changes.remove_credential_headers(policy);
        changes
    }

    /// What an allow without a valid key changes: the caller's own copies of identity headers are
    /// removed.
    pub fn without_key(policy: &'a Policy) -> Self {
        let names = policy.identity.names().map(|name| name.as_str().into());
        let mut changes = Self {
            remove: names.collect(),
            ..Self::default()
        };
        changes.remove_credential_headers(policy);
        changes
    }

    /// What is removed or rewritten because of what this request holds, besides what
    /// [`Self::by_key`] and [`Self::without_key`] remove from every request. Empty for most, and
    /// then nothing was allocated.
    pub fn by_request(request: &RequestAttributes<'a>, policy: &'a Policy) -> Self {
        let mut changes = Self::default();
        for (name, _) in request.headers.lines() {
            if policy.identity.is_alias(name) {
                changes.remove_once(String::from_utf8_lossy(name), policy);
            }
        }
        if policy.strip_credentials {
            changes.strip_headers(request, policy);
            changes.strip_cookies(request, policy);
            changes.strip_query(request, policy);
        }
        changes
    }

    fn remove_credential_headers(&mut self, policy: &'a Policy) {
        for name in always_removed(policy) {
            if !self.removes(name) {
                self.remove.push(name.into());
            }
        }
    }

    fn remove_once(&mut self, name: Cow<'a, str>, policy: &Policy) {
        let is_always = always_removed(policy).any(|other| other.eq_ignore_ascii_case(&name));
        if !is_always && !self.removes(&name) {
            self.remove.push(name);
        }
    }

    fn removes(&self, name: &str) -> bool {
        self.remove
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    }

    /// Removes a header that holds a secret after a scheme, or one that begins with a prefix. It
    /// goes as a whole: beside our secret another scheme's cannot be told apart for certain.
    fn strip_headers(&mut self, request: &RequestAttributes<'a>, policy: &'a Policy) {
        for place in policy.credentials.iter() {
            let name = match (&place.location, &place.prefix) {
                (CredentialLocation::Scheme { name, scheme }, None) => {
                    has_scheme(request, name, scheme).then_some(name)
                }
                (
                    CredentialLocation::Header { name } | CredentialLocation::Scheme { name, .. },
                    Some(_),
                ) => place.is_filled(request).then_some(name),
                // Removed from every request, or no header.
                (CredentialLocation::Header { .. }, None)
                | (CredentialLocation::Query { .. } | CredentialLocation::Cookie { .. }, _) => None,
            };
            if let Some(name) = name {
                self.remove_once(Cow::Borrowed(name), policy);
            }
        }
    }

    fn strip_query(&mut self, request: &RequestAttributes<'a>, policy: &'a Policy) {
        let places = || {
            let places = policy.credentials.iter();
            places.filter_map(|place| Some((place, place.query_parameter()?)))
        };
        let is_ours = |piece: &[u8]| places().any(|(place, _)| place.reads(piece));
        let found =
            || places().filter(|(place, _)| request.query_pieces().any(|it| place.reads(it)));
        let rewrites = found().any(|(_, (_, strip))| strip == QueryStrip::Path);
        if !rewrites || !can_be_set(request) {
            self.remove_query = found().map(|(_, (name, _))| name).collect();
            return;
        }
        let left = request.query_pieces().filter(|piece| !is_ours(piece));
        let left: Vec<&[u8]> = left.collect();
        let mut target = request.path().to_vec();
        if !left.is_empty() {
            target.push(b'?');
            target.extend(left.join(&b"&"[..]));
        }
        self.set.push((PATH, header_text(target)));
    }

    /// Sets the cookie header without our cookies, for Envoy cannot remove one of them.
    fn strip_cookies(&mut self, request: &RequestAttributes<'a>, policy: &'a Policy) {
        let is_ours = |piece: &[u8]| {
            let mut places = policy.credentials.iter();
            places.any(|place| place.is_cookie() && place.reads(piece))
        };
        if !request.cookie_pieces().any(is_ours) {
            return;
        }
        let left = request.cookie_pieces();
        let left = left.filter(|piece| !piece.is_empty() && !is_ours(piece));
        let left: Vec<&[u8]> = left.collect();
        if left.is_empty() {
            self.remove_once(COOKIE.into(), policy);
        } else if !self.removes(COOKIE) && !always_removed(policy).any(|name| name == COOKIE) {
            // Joined as RFC 6265 section 4.2.1 has it.
            self.set.push((COOKIE, header_text(left.join(&b"; "[..]))));
        }
    }
}

/// Headers that are a credential place as a whole: removed from every allowed request, present or
/// not, so that no request has to be searched for them. With a prefix the header may hold what is
/// not keyward's.
fn always_removed(policy: &Policy) -> impl Iterator<Item = &str> {
    let places = policy
        .credentials
        .iter()
        .filter(|place| policy.strip_credentials && place.prefix.is_none());
    places.filter_map(|place| match &place.location {
        CredentialLocation::Header { name } => Some(&**name),
        CredentialLocation::Scheme { .. }
        | CredentialLocation::Query { .. }
        | CredentialLocation::Cookie { .. } => None,
    })
}

/// Whether what is left of the target can be set as `:path` byte for byte. Envoy takes text from
/// us, and a request without a path has none to set.
fn can_be_set(request: &RequestAttributes<'_>) -> bool {
    !request.path().is_empty() && request.target.iter().all(u8::is_ascii_graphic)
}

/// Bytes of a header value as text. Envoy sets an empty value from `raw_value`, and refuses an
/// answer whose text is not UTF-8; so what is not, and what could end a line, becomes `!`, which is
/// what Envoy puts for such bytes itself.
fn header_text(value: Vec<u8>) -> Cow<'static, str> {
    let fits = |c: char| !c.is_control() || c == '\t';
    match String::from_utf8(value) {
        Ok(text) if text.chars().all(fits) => text.into(),
        other => {
            let value = other.map_or_else(FromUtf8Error::into_bytes, String::into_bytes);
            let mut text = String::with_capacity(value.len());
            for chunk in value.utf8_chunks() {
                text.extend(chunk.valid().chars().map(|c| if fits(c) { c } else { '!' }));
                text.extend(chunk.invalid().iter().map(|_| '!'));
            }
            text.into()
        }
    }
}

/// Shows names alone: values are cookies and queries of callers.
impl fmt::Debug for UpstreamChanges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<&str> = self.set.iter().map(|(name, _)| *name).collect();
        f.debug_struct("UpstreamChanges")
            .field("set", &set)
            .field("remove", &self.remove)
            .field("remove_query", &self.remove_query)
            .finish()
    }
}

#[cfg(test)]
mod tests;
