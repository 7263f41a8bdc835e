//! Host patterns. Rules that open match strictly and rules that restrict match broadly, so that no
//! spelling of a host gets around a rule.
//!
//! `Host: api.example.com.` and `api.example.com:1` may name the same site to an upstream, but
//! differ as bytes. What opens (`allow: anyone`, a key's `allow_hosts`) compares the authority as
//! sent; a rule that restricts ignores port and final dot.

use std::fmt;
use std::str::FromStr;

/// A pattern for the authority of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case, without `*.` and without port.
    name: Box<str>,
    below: bool,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    /// No port in the pattern.
    None,
    Exactly(u16),
    /// `:*`.
    Any,
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostPattern {
    /// Nothing, or nothing after `*.`.
    #[error("a host is missing; leave the list out to match any")]
    Empty,
    /// `*` elsewhere than as the first label.
    #[error(
        "`*` stands for names below a host, as in `*.example.org`, and only in front; leave the list out to match any"
    )]
    Star,
    /// What follows the colon is neither a port nor `*`.
    #[error("after the colon comes a port from 1 to 65535, or `*` for any")]
    Port,
    /// A port as no request is matched with it.
    #[error("a port has no leading zeros")]
    LeadingZero,
    /// Two dots in a row, or one in front.
    #[error("a host has something before and between its dots")]
    EmptyLabel,
    /// A character that no host has.
    #[error("`{0}` cannot stand in a host")]
    Character(char),
    /// It ends with a dot.
    #[error("a host pattern has no final dot; rules that restrict ignore it in requests")]
    FinalDot,
}

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        let (host, port) = split_port(text);
        let port = match port {
            None => PortPattern::None,
            Some("*") => PortPattern::Any,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                let number = digits.parse().ok().filter(|number| *number != 0);
                let number = number.ok_or(InvalidHostPattern::Port)?;
                if digits.starts_with('0') {
                    return Err(InvalidHostPattern::LeadingZero);
                }
                PortPattern::Exactly(number)
            }
            Some(_) => return Err(InvalidHostPattern::Port),
        };
        let (name, below) = host
            .strip_prefix("*.")
            .map_or((host, false), |name| (name, true));
        if name.is_empty() {
            return Err(InvalidHostPattern::Empty);
        }
        if name.contains('*') {
            return Err(InvalidHostPattern::Star);
        }
        let address = name.starts_with('[') && name.ends_with(']');
        let fits = |c: char| {
            c.is_ascii_alphanumeric()
                || matches!(c, '-' | '.' | '_')
                || (address && ":[]".contains(c))
        };
        if let Some(other) = name.chars().find(|c| !fits(*c)) {
            return Err(InvalidHostPattern::Character(other));
        }
        if name.ends_with('.') {
            return Err(InvalidHostPattern::FinalDot);
        }
        if name.split('.').any(str::is_empty) {
            return Err(InvalidHostPattern::EmptyLabel);
        }
        Ok(Self {
            name: name.to_ascii_lowercase().into(),
            below,
            port,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        f.write_str(&self.name)?;
        match self.port {
            PortPattern::None => Ok(()),
            PortPattern::Exactly(port) => write!(f, ":{port}"),
            PortPattern::Any => f.write_str(":*"),
        }
    }
}

/// Splits at the colon before a port; the colons of an IPv6 address are in brackets (RFC 3986
/// section 3.2.2).
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

impl HostPattern {
    /// Whether the authority, as sent but for its case, is one that the pattern names. For what
    /// opens.
    pub fn matches_strictly(&self, authority: &[u8]) -> bool {
        let Ok(authority) = std::str::from_utf8(authority) else {
            return false;
        };
        let (host, port) = split_port(authority);
        let port_fits = match (&self.port, port) {
            (PortPattern::None | PortPattern::Any, None) => true,
            (PortPattern::Any, Some(port)) => port.parse::<u16>().is_ok_and(|_| is_digits(port)),
            (PortPattern::Exactly(wanted), Some(port)) => {
                // Another spelling of the number is not the authority as sent.
                is_digits(port) && !port.starts_with('0') && port.parse() == Ok(*wanted)
            }
            (PortPattern::None, Some(_)) | (PortPattern::Exactly(_), None) => false,
        };
        port_fits && self.name_matches(host.as_bytes(), is_label_list)
    }

    /// Whether an upstream could take the authority for one that the pattern names, whatever its
    /// port. For what restricts.
    pub fn matches_broadly(&self, authority: &[u8]) -> bool {
        let after_user = authority
            .rsplit(|byte| *byte == b'@')
            .next()
            .unwrap_or_default();
        let end = if after_user.starts_with(b"[") {
            after_user
                .iter()
                .position(|byte| *byte == b']')
                .map(|at| at + 1)
        } else {
            after_user.iter().position(|byte| *byte == b':')
        };
        let mut host = after_user
            .get(..end.unwrap_or(after_user.len()))
            .unwrap_or_default();
        while let Some(rest) = host.strip_suffix(b".") {
            host = rest;
        }
        self.name_matches(host, |below| !below.is_empty())
    }

    fn name_matches(&self, host: &[u8], is_below: impl Fn(&[u8]) -> bool) -> bool {
        let name = self.name.as_bytes();
        if !self.below {
            return host.eq_ignore_ascii_case(name);
        }
        let Some((front, back)) = host
            .len()
            .checked_sub(name.len())
            .and_then(|at| host.split_at_checked(at))
        else {
            return false;
        };
        back.eq_ignore_ascii_case(name) && front.strip_suffix(b".").is_some_and(is_below)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label_list(name: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        !label.is_empty()
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.split(|byte| *byte == b'.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_comparison_takes_the_authority_as_sent_and_broad_comparison_sees_through_spellings() {
        for (pattern, authority, strictly, broadly) in [
            ("api.example.com", "api.example.com", true, true),
            ("api.example.com", "API.Example.COM", true, true),
            ("api.example.com", "api.example.com.", false, true),
            ("api.example.com", "api.example.com:443", false, true),
            ("api.example.com", "api.example.com.:443", false, true),
            ("api.example.com", "api.example.com:", false, true),
            ("api.example.com", "user@api.example.com", false, true),
            ("api.example.com", "xapi.example.com", false, false),
            ("api.example.com", "api.example.com.evil", false, false),
            ("api.example.com", "", false, false),
            ("api.example.com:8443", "api.example.com:8443", true, true),
            ("api.example.com:8443", "api.example.com:8444", false, true),
            ("api.example.com:8443", "api.example.com:+8443", false, true),
            ("api.example.com:8443", "api.example.com:08443", false, true),
            ("api.example.com:8443", "api.example.com", false, true),
            ("api.example.com:*", "api.example.com:1", true, true),
            ("api.example.com:*", "api.example.com", true, true),
            ("api.example.com:*", "api.example.com:x", false, true),
            ("*.example.org", "a.example.org", true, true),
            ("*.example.org", "a.b.EXAMPLE.org", true, true),
            ("*.example.org", "example.org", false, false),
            ("*.example.org", ".example.org", false, false),
            ("*.example.org", "a..example.org", false, true),
            ("*.example.org", "a/b.example.org", false, true),
            ("*.example.org", "a.example.org.", false, true),
            ("*.example.org", "aexample.org", false, false),
            ("[::1]", "[::1]", true, true),
            ("[::1]", "[::1]:80", false, true),
            ("[::1]:80", "[::1]:80", true, true),
        ] {
            let parsed: HostPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(
                parsed.matches_strictly(authority.as_bytes()),
                strictly,
                "{pattern} strictly {authority}"
            );
            assert_eq!(
                parsed.matches_broadly(authority.as_bytes()),
                broadly,
                "{pattern} broadly {authority}"
            );
        }
    }

    #[test]
    fn what_is_no_host_pattern_says_why() {
        for (text, error) in [
            ("", InvalidHostPattern::Empty),
            ("*.", InvalidHostPattern::Empty),
            ("*", InvalidHostPattern::Star),
            ("a.*.b", InvalidHostPattern::Star),
            ("a:x", InvalidHostPattern::Port),
            ("a:0", InvalidHostPattern::Port),
            ("a:+1", InvalidHostPattern::Port),
            ("a:65536", InvalidHostPattern::Port),
            ("https://a", InvalidHostPattern::Port),
            ("a/b", InvalidHostPattern::Character('/')),
            ("ä.example", InvalidHostPattern::Character('ä')),
            ("a.", InvalidHostPattern::FinalDot),
            (".example.com", InvalidHostPattern::EmptyLabel),
            ("a..b", InvalidHostPattern::EmptyLabel),
            ("*..b", InvalidHostPattern::EmptyLabel),
            ("a:080", InvalidHostPattern::LeadingZero),
            ("[::1]:00001", InvalidHostPattern::LeadingZero),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(error), "{text}");
        }
    }
}
