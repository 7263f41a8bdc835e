//! The attributes of a request that Envoy sends, borrowed from the bytes of the message.
//!
//! Built in `envoy/decode`, by `explain` and in tests only. Readers do not know which of its two
//! formats Envoy used for the headers. Values are bytes, since Envoy forwards what clients send;
//! nothing here is decoded or normalised.

use std::fmt;
use std::net::IpAddr;

use memchr::memchr;

/// One HTTP request as Envoy describes it to an authorization server.
#[derive(Clone)]
pub struct RequestAttributes<'a> {
    /// The method, as sent.
    pub method: &'a [u8],
    /// The authority (`host` header or `:authority`), as sent, port included.
    pub host: &'a [u8],
    /// The request target: the path and, after `?`, the query. Empty for CONNECT.
    pub target: &'a [u8],
    /// The scheme, as Envoy sees it; over HTTP/2 it is the caller's own `:scheme`. Empty where
    /// Envoy sends none.
    pub scheme: &'a [u8],
    /// The request's header lines.
    pub headers: Headers<'a>,
    /// The address of Envoy's direct peer, where Envoy knows one.
    pub peer: Option<IpAddr>,
    /// The rule that the Envoy route names in `context_extensions` as `keyward.rule`.
    pub rule: Option<&'a [u8]>,
}

impl<'a> RequestAttributes<'a> {
    /// The target up to its query, as sent.
    pub fn path(&self) -> &'a [u8] {
        split_target(self.target).0
    }

    /// What follows the first `?` of the target; `None` without one.
    pub fn query(&self) -> Option<&'a [u8]> {
        split_target(self.target).1
    }

    /// The pieces between the `&` of the query; none without a query.
    pub fn query_pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let query = self.query().into_iter();
        query.flat_map(|query| query.split(|byte| *byte == b'&'))
    }

    /// The pieces of all cookie lines, trimmed. HTTP/1 lines arrive joined by a comma, which no
    /// cookie value may hold.
    pub fn cookie_pieces(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let lines = self.headers.values("cookie");
        lines
            .flat_map(|line| line.split(|byte| matches!(byte, b';' | b',')))
            .map(<[u8]>::trim_ascii)
    }

    /// Whether the caller's connection was HTTPS: by `x-forwarded-proto`, which Envoy sets or
    /// trusts, and by the scheme only where that header is missing. With two such headers, or
    /// neither of both, it is not HTTPS.
    pub fn is_https(&self) -> bool {
        let mut told = self.headers.values("x-forwarded-proto");
        let scheme = match (told.next(), told.next()) {
            (None, _) => self.scheme,
            (Some(scheme), None) => scheme,
            (Some(_), Some(_)) => return false,
        };
        scheme.eq_ignore_ascii_case(b"https")
    }
}

/// A target's path, and its query where it has one.
pub(super) fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'?', target) {
        Some(at) => {
            let (path, rest) = target.split_at(at);
            (path, rest.get(1..))
        }
        None => (target, None),
    }
}

/// Shows what identifies the request, but neither header values nor the query, which hold secrets.
impl fmt::Debug for RequestAttributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestAttributes")
            .field("method", &self.method.escape_ascii().to_string())
            .field("host", &self.host.escape_ascii().to_string())
            .field("path", &self.path().escape_ascii().to_string())
            .field("headers", &self.headers)
            .field("peer", &self.peer)
            .field(
                "rule",
                &self.rule.map(|name| name.escape_ascii().to_string()),
            )
            .finish()
    }
}

/// The header lines of a request, in the order in which Envoy sent them.
///
/// Two lines of one name stay two lines; in Envoy's `headers` map they are one, joined with a
/// comma. Code that reads a value treats both alike.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    lines: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Headers<'a> {
    /// No lines, with capacity for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            lines: Vec::with_capacity(count),
        }
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.lines.push((name, value));
    }

    /// Every line, as name and value.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.lines.iter().copied()
    }

    /// The values of every line of that name; names are compared without regard to case (RFC 9110
    /// section 5.1).
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a [u8]> + 'h {
        self.lines
            .iter()
            .filter(move |(line, _)| line.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// The value of a header that is there exactly once; `None` if it is absent or repeated.
    pub fn single(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(lines: I) -> Self {
        Self {
            lines: lines.into_iter().collect(),
        }
    }
}

/// Names alone: values hold credentials.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.lines
                    .iter()
                    .map(|(name, _)| name.escape_ascii().to_string()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_header_value_and_no_query() {
        let request = RequestAttributes {
            method: b"GET",
            host: b"example.com",
            target: b"/a?api_key=canary",
            scheme: b"https",
            headers: [(&b"x-api-key"[..], &b"canary"[..])].into_iter().collect(),
            peer: None,
            rule: None,
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(
            shown.contains("x-api-key") && shown.contains("/a"),
            "{shown}"
        );
    }

    #[test]
    fn the_query_begins_at_the_first_question_mark() {
        let of = |target: &'static [u8]| {
            let request = RequestAttributes {
                method: b"GET",
                host: b"",
                target,
                scheme: b"",
                headers: Headers::default(),
                peer: None,
                rule: None,
            };
            (request.path(), request.query())
        };
        assert_eq!(of(b"/a"), (&b"/a"[..], None));
        assert_eq!(of(b"/a?"), (&b"/a"[..], Some(&b""[..])));
        assert_eq!(of(b"/a?b?c"), (&b"/a"[..], Some(&b"b?c"[..])));
    }

    #[test]
    fn the_header_that_envoy_sets_says_whether_it_was_https() {
        for (scheme, lines, is_https) in [
            ("https", &[][..], true),
            ("HTTPS", &[], true),
            ("http", &[], false),
            ("", &[], false),
            ("http", &["https"], true),
            ("https", &["http"], false),
            ("https", &[""], false),
            ("https", &["https", "https"], false),
            ("https", &["https,http"], false),
            ("https", &["wss"], false),
        ] {
            let headers = lines
                .iter()
                .map(|line| (&b"X-Forwarded-Proto"[..], line.as_bytes()));
            let request = RequestAttributes {
                method: b"GET",
                host: b"",
                target: b"/",
                scheme: scheme.as_bytes(),
                headers: headers.collect(),
                peer: None,
                rule: None,
            };
            assert_eq!(request.is_https(), is_https, "{scheme} {lines:?}");
        }
    }
}
