//! What an allowed request loses on its way upstream, as far as that depends on the request.
//!
//! Headers that are a credential place as a whole are always removed and need no look at the request (see
//! `Policy::always_removed`); what stands here is found in it: a header that begins with our scheme, a query parameter, a
//! cookie, and headers that an upstream could take for our identity headers.

use super::credential::{Place, begins_with_scheme, cookie_pieces, query_values, value_of};
use super::request::RequestAttributes;
use super::snapshot::Policy;

/// The changes that one request calls for. Empty for most, and then nothing was allocated.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Edits<'r> {
    /// Headers to remove, each named once.
    pub remove_headers: Vec<&'r [u8]>,
    /// Query parameters to remove, each present and named once: Envoy re-sorts the whole query when it removes one.
    pub remove_query: Vec<&'r str>,
    /// What becomes of the cookie header.
    pub cookie: CookieEdit,
}

/// What becomes of the cookie header; Envoy cannot remove one cookie.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum CookieEdit {
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
            .field("cookie", &self.cookie)
            .finish()
    }
}

impl std::fmt::Debug for CookieEdit {
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
            match place {
                Place::Header { .. } | Place::Cookie { .. } => {}
                Place::Scheme { name, scheme } => {
                    if begins_with_scheme(request, name, scheme)
                        && !self.remove_headers.contains(&name.as_bytes())
                    {
                        self.remove_headers.push(name.as_bytes());
                    }
                }
                Place::Query { name } => {
                    if query_values(request, name).next().is_some() {
                        self.remove_query.push(name);
                    }
                }
            }
        }
        self.cookie = strip_cookies(request, policy);
    }
}

fn strip_cookies(request: &RequestAttributes<'_>, policy: &Policy) -> CookieEdit {
    let is_ours = |piece: &[u8]| {
        policy
            .credentials
            .iter()
            .any(|place| matches!(place, Place::Cookie { name } if value_of(piece, name).is_some()))
    };
    if !cookie_pieces(request).any(is_ours) {
        return CookieEdit::Keep;
    }
    let left: Vec<&[u8]> = cookie_pieces(request)
        .filter(|piece| !piece.is_empty() && !is_ours(piece))
        .collect();
    if left.is_empty() {
        CookieEdit::Remove
    } else {
        CookieEdit::Replace(left.join(&b"; "[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::credential::CredentialPlaces;
    use crate::authz::request::Headers;
    use crate::authz::snapshot::tests::policy;

    fn edits(
        target: &str,
        lines: &[(&str, &str)],
        strip: bool,
    ) -> (Vec<String>, Vec<String>, CookieEdit) {
        let policy = Policy {
            strip_credentials: strip,
            credentials: CredentialPlaces::new(vec![
                Place::Header {
                    name: "x-api-key".into(),
                },
                Place::Scheme {
                    name: "authorization".into(),
                    scheme: "Bearer".into(),
                },
                Place::Query {
                    name: "api_key".into(),
                },
                Place::Cookie {
                    name: "api_key".into(),
                },
            ])
            .unwrap(),
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
            headers,
            peer: None,
            rule: None,
        };
        let edits = Edits::of(&request, &policy);
        let text = |bytes: &&[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            edits.remove_headers.iter().map(text).collect(),
            edits.remove_query.iter().map(ToString::to_string).collect(),
            edits.cookie,
        )
    }

    #[test]
    fn only_what_is_there_is_removed() {
        let none = (vec![], vec![], CookieEdit::Keep);
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
        assert_eq!(all.2, CookieEdit::Replace(b"a=1; b=2".to_vec()));
    }

    #[test]
    fn a_cookie_header_with_nothing_left_is_removed() {
        assert_eq!(
            edits("/", &[("cookie", "api_key=K; ")], true).2,
            CookieEdit::Remove
        );
        assert_eq!(
            edits("/", &[("cookie", "api_key")], true).2,
            CookieEdit::Remove
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
                CookieEdit::Keep
            )
        );
    }

    #[test]
    fn debug_shows_no_cookie() {
        let edits = Edits {
            cookie: CookieEdit::Replace(b"session=canary".to_vec()),
            ..Edits::default()
        };
        assert!(!format!("{edits:?}").contains("canary"));
    }
}
