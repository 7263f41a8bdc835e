//! What an allowed request loses on its way upstream, as far as that depends on the request.
//!
//! Headers that are a credential place as a whole are always removed and need no look at the request (see
//! `Policy::always_removed`); what stands here is found in it: a header that begins with our scheme, a query parameter, a
//! cookie, and headers that an upstream could take for our identity headers.

use super::credential::{CredentialLocation, QueryStrip, cookie_pieces, has_scheme, query_pieces};
use super::request::RequestAttributes;
use super::snapshot::Policy;

/// The changes that one request calls for. Empty for most, and then nothing was allocated.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Edits<'r> {
    /// Headers to remove, each named once.
    pub remove_headers: Vec<&'r [u8]>,
    /// Query parameters to remove, each present and named once: Envoy re-sorts the whole query when it removes one.
    pub remove_query: Vec<&'r str>,
    /// The target without query parameters that hold a secret, to be set as `:path`; `None`: it stays as it is. Never
    /// together with `remove_query`, which Envoy may apply before or after it.
    pub target: Option<Vec<u8>>,
    /// What becomes of the cookie header.
    pub cookie: CookieChange,
}

/// What becomes of the cookie header; Envoy cannot remove one cookie.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum CookieChange {
    /// It goes on as it is.
    #[default]
    Keep,
    /// Nothing is left of it.
    Remove,
    /// What is left of it, joined with `; ` (RFC 6265 section 4.2.1).
    Replace(Vec<u8>),
}

/// Shows what is changed, not the cookies that are left.
impl std::fmt::Debug for Edits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<String> = self
            .remove_headers
            .iter()
            .map(|name| name.escape_ascii().to_string())
            .collect();
        f.debug_struct("Edits")
            .field("remove_headers", &headers)
            .field("remove_query", &self.remove_query)
            .field("target", &self.target.as_ref().map(|_| ".."))
            .field("cookie", &self.cookie)
            .finish()
    }
}

impl std::fmt::Debug for CookieChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Remove => "Remove",
            Self::Replace(_) => "Replace(..)",
        })
    }
}

impl<'r> Edits<'r> {
    /// The changes that this request calls for under this policy.
    pub fn of(request: &RequestAttributes<'r>, policy: &'r Policy) -> Self {
        let mut edits = Self::default();
        for (name, _) in request.headers.lines() {
            let is_known = |edits: &Self| {
                edits
                    .remove_headers
                    .iter()
                    .any(|other| other.eq_ignore_ascii_case(name))
            };
            if policy.identity.is_alias(name) && !is_known(&edits) {
                edits.remove_headers.push(name);
            }
        }
        if policy.strip_credentials {
            edits.strip(request, policy);
        }
        edits
    }

    fn strip(&mut self, request: &RequestAttributes<'r>, policy: &'r Policy) {
        for place in policy.credentials.iter() {
            let name = match (&place.location, &place.prefix) {
                // Removed from every request: `Policy::always_removed`.
                (CredentialLocation::Header { .. }, None)
                | (CredentialLocation::Query { .. } | CredentialLocation::Cookie { .. }, _) => {
                    continue;
                }
                (CredentialLocation::Scheme { name, scheme }, None) => {
                    has_scheme(request, name, scheme).then_some(name)
                }
                (
                    CredentialLocation::Header { name } | CredentialLocation::Scheme { name, .. },
                    Some(_),
                ) => place.is_filled(request).then_some(name),
            };
            if let Some(name) = name
                && !self.remove_headers.contains(&name.as_bytes())
            {
                self.remove_headers.push(name.as_bytes());
            }
        }
        self.strip_query(request, policy);
        self.cookie = strip_cookies(request, policy);
    }

    fn strip_query(&mut self, request: &RequestAttributes<'r>, policy: &'r Policy) {
        let is_ours = |piece: &[u8]| {
            let mut places = policy.credentials.iter();
            places.any(|place| {
                matches!(place.location, CredentialLocation::Query { .. }) && place.reads(piece)
            })
        };
        let found = || {
            let places = policy.credentials.iter().filter_map(|place| {
                let CredentialLocation::Query { name, strip } = &place.location else {
                    return None;
                };
                Some((place, &**name, *strip))
            });
            places.filter(|(place, ..)| query_pieces(request).any(|piece| place.reads(piece)))
        };
        if found().any(|(.., strip)| strip == QueryStrip::Path) && can_be_set(request) {
            let left: Vec<&[u8]> = query_pieces(request)
                .filter(|piece| !is_ours(piece))
                .collect();
            let mut target = request.path().to_vec();
            if !left.is_empty() {
                target.push(b'?');
                target.extend(left.join(&b"&"[..]));
            }
            self.target = Some(target);
        } else {
            self.remove_query = found().map(|(_, name, _)| name).collect();
        }
    }
}

/// Whether what is left of the target can be set as `:path` byte for byte. Envoy takes text from us, and a request
/// without a path has none to set.
fn can_be_set(request: &RequestAttributes<'_>) -> bool {
    let is_visible = |byte: &u8| byte.is_ascii_graphic();
    !request.path().is_empty() && request.target.iter().all(is_visible)
}

fn strip_cookies(request: &RequestAttributes<'_>, policy: &Policy) -> CookieChange {
    let is_ours = |piece: &[u8]| {
        let mut places = policy.credentials.iter();
        places.any(|place| {
            matches!(place.location, CredentialLocation::Cookie { .. }) && place.reads(piece)
        })
    };
    if !cookie_pieces(request).any(is_ours) {
        return CookieChange::Keep;
    }
    let left: Vec<&[u8]> = cookie_pieces(request)
        .filter(|piece| !piece.is_empty() && !is_ours(piece))
        .collect();
    if left.is_empty() {
        CookieChange::Remove
    } else {
        CookieChange::Replace(left.join(&b"; "[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::credential::{CredentialPlace, CredentialPlaces};
    use crate::authz::request::Headers;
    use crate::authz::snapshot::tests::policy;

    fn places(prefix: Option<&str>, strip: QueryStrip) -> CredentialPlaces {
        let locations = [
            CredentialLocation::Header {
                name: "x-api-key".into(),
            },
            CredentialLocation::Scheme {
                name: "authorization".into(),
                scheme: "Bearer".into(),
            },
            CredentialLocation::Query {
                name: "api_key".into(),
                strip,
            },
            CredentialLocation::Query {
                name: "token".into(),
                strip: QueryStrip::Parameter,
            },
            CredentialLocation::Cookie {
                name: "api_key".into(),
            },
        ];
        let places = locations.map(|location| CredentialPlace {
            location,
            prefix: prefix.map(Into::into),
        });
        CredentialPlaces::new(places.into()).unwrap()
    }

    fn edits_at(
        credentials: CredentialPlaces,
        target: &str,
        lines: &[(&str, &str)],
        strip: bool,
    ) -> (Vec<String>, Vec<String>, Option<String>, CookieChange) {
        let policy = Policy {
            strip_credentials: strip,
            credentials,
            ..policy()
        };
        let headers: Headers<'_> = lines
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let request = RequestAttributes {
            method: b"GET",
            host: b"h",
            target: target.as_bytes(),
            scheme: b"https",
            headers,
            peer: None,
            rule: None,
        };
        let edits = Edits::of(&request, &policy);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            edits.remove_headers.iter().map(|name| text(name)).collect(),
            edits.remove_query.iter().map(ToString::to_string).collect(),
            edits.target.as_deref().map(text),
            edits.cookie,
        )
    }

    fn edits(
        target: &str,
        lines: &[(&str, &str)],
        strip: bool,
    ) -> (Vec<String>, Vec<String>, CookieChange) {
        let places = places(None, QueryStrip::Parameter);
        let (headers, query, target, cookie) = edits_at(places, target, lines, strip);
        assert_eq!(target, None);
        (headers, query, cookie)
    }

    #[test]
    fn a_path_is_written_without_the_secret_and_with_every_other_byte() {
        for (target, left) in [
            ("/a?api_key=K", "/a"),
            ("/a?b=2&a=1&api_key=K&b=3&&c", "/a?b=2&a=1&b=3&&c"),
            ("/a?api_key=K&b=%7e%2F+=", "/a?b=%7e%2F+="),
            ("/a?b=1&api_key=K", "/a?b=1"),
            ("/a?api_key=K&", "/a?"),
            ("/a?api_key&api_key=K&x", "/a?x"),
            // One place that rewrites the path rewrites it for the others too.
            ("/a?token=K&b=1&api_key=K", "/a?b=1"),
            ("/a;v=1?api_key=K?b", "/a;v=1"),
        ] {
            let (_, query, target, _) = edits_at(places(None, QueryStrip::Path), target, &[], true);
            assert_eq!((query, target.as_deref()), (vec![], Some(left)));
        }
        for (target, query) in [
            // Nothing of it is there.
            ("/a?b=1", vec![]),
            ("/a?apikey=K&API_KEY=K", vec![]),
            ("/a?token=K", vec!["token".to_owned()]),
            // Envoy takes text from us, and this could not be set as it came.
            ("/a?b=\u{e9}&api_key=K", vec!["api_key".to_owned()]),
            // There is no path that could be set.
            ("?api_key=K", vec!["api_key".to_owned()]),
        ] {
            let edits = edits_at(places(None, QueryStrip::Path), target, &[], true);
            assert_eq!((edits.1, edits.2), (query, None), "{target}");
        }
    }

    #[test]
    fn with_a_prefix_ours_goes_and_others_stay() {
        let foreign = [
            ("x-api-key", "sk-1"),
            ("authorization", "Bearer sk-1"),
            ("cookie", "api_key=sk-1"),
        ];
        let prefixed = |strip| places(Some("kw_"), strip);
        for strip in [QueryStrip::Parameter, QueryStrip::Path] {
            let edits = edits_at(prefixed(strip), "/?api_key=sk-1", &foreign, true);
            assert_eq!(edits, (vec![], vec![], None, CookieChange::Keep));
        }
        let ours = [
            ("x-api-key", "kw_A"),
            ("authorization", "Bearer kw_A"),
            ("cookie", "api_key=kw_A; api_key=sk-1"),
        ];
        let (headers, query, target, cookie) = edits_at(
            prefixed(QueryStrip::Path),
            "/?api_key=%6bw_A&api_key=sk-1",
            &ours,
            true,
        );
        assert_eq!(headers, ["x-api-key", "authorization"]);
        assert_eq!((query, target.as_deref()), (vec![], Some("/?api_key=sk-1")));
        assert_eq!(cookie, CookieChange::Replace(b"api_key=sk-1".to_vec()));
        // A header that holds both goes, for it cannot be taken apart for certain.
        for value in [
            "Bearer sk-1, Bearer kw_A",
            "Bearer sk-1,kw_A",
            "Bearer kw_A,Bearer sk-1",
        ] {
            let edits = edits_at(
                prefixed(QueryStrip::Parameter),
                "/",
                &[("authorization", value)],
                true,
            );
            assert_eq!(edits.0, ["authorization"], "{value}");
        }
    }

    #[test]
    fn only_what_is_there_is_removed() {
        let none = (vec![], vec![], CookieChange::Keep);
        assert_eq!(
            edits(
                "/?b=1",
                &[("authorization", "Basic x"), ("cookie", "a=1")],
                true
            ),
            none
        );
        let all = edits(
            "/?api_key=K",
            &[
                ("authorization", "bearer K"),
                ("cookie", "a=1; api_key=K,b=2"),
            ],
            true,
        );
        assert_eq!(all.0, ["authorization"]);
        assert_eq!(all.1, ["api_key"]);
        assert_eq!(all.2, CookieChange::Replace(b"a=1; b=2".to_vec()));
    }

    #[test]
    fn a_cookie_header_with_nothing_left_is_removed() {
        assert_eq!(
            edits("/", &[("cookie", "api_key=K; ")], true).2,
            CookieChange::Remove
        );
        assert_eq!(
            edits("/", &[("cookie", "api_key")], true).2,
            CookieChange::Remove
        );
    }

    #[test]
    fn aliases_of_identity_headers_go_even_where_credentials_stay() {
        let lines = [
            ("x_keyward-client", "root"),
            ("X_keyward-client", "root"),
            ("x-keyward-client", "root"),
            ("x-api-key", "K"),
        ];
        assert_eq!(
            edits("/?api_key=K", &lines, false),
            (
                vec!["x_keyward-client".to_owned()],
                vec![],
                CookieChange::Keep
            )
        );
    }

    #[test]
    fn debug_shows_no_cookie() {
        let edits = Edits {
            cookie: CookieChange::Replace(b"session=canary".to_vec()),
            target: Some(b"/?q=canary".to_vec()),
            ..Edits::default()
        };
        assert!(!format!("{edits:?}").contains("canary"));
    }
}
