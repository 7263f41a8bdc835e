//! What an HTTP source is made from, checked.
//!
//! URLs are parsed here, so that nothing after this fails for one. Neither errors nor `Debug`
//! repeat any of a URL, since it may hold a secret.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

use crate::authz::digest::KeyDigest;
use crate::tls::ClientTlsFiles;
use crate::tls::loopback::is_this_machine;
use crate::watch::named_file::NamedFile;

/// Stands for the 64 hex digits of a digest.
const DIGEST: &str = "{digest}";
/// Stands for a digest's kind.
const KIND: &str = "{kind}";

/// The settings of an HTTP source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where a key is asked for.
    pub url: UrlTemplate,
    /// All the time that one lookup may take, retries included.
    pub timeout: Duration,
    /// A file that holds a bearer token (RFC 6750).
    pub bearer_token_file: Option<NamedFile>,
    /// Certificates, for https.
    pub tls: ClientTlsFiles,
    /// Lookups at once; at least 1.
    pub max_in_flight: usize,
    /// Where changes are sent as server-sent events; `None` where they are not.
    pub events_url: Option<EventsUrl>,
}

/// Where a key is asked for: a URL with `{digest}`, and `{kind}` if wanted, in its path or query.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlTemplate(Box<str>);

/// Where changes are sent as server-sent events.
#[derive(Clone, PartialEq, Eq)]
pub struct EventsUrl(Url);

/// Why a text is not the URL of an HTTP source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not a URL.
    #[error("not a URL")]
    Syntax,
    /// Neither http nor https.
    #[error("not a URL of http or https")]
    Scheme,
    /// It has a user or a password.
    #[error("a user or password in a URL is shown in many places")]
    Userinfo,
    /// It has a fragment, which is never sent.
    #[error("a fragment is never sent")]
    Fragment,
    /// It has braces around something else.
    #[error("only `{{digest}}` and `{{kind}}` are filled in")]
    Braces,
    /// It has braces, and nothing is filled in.
    #[error("nothing is filled in there")]
    BracesInEvents,
    /// It lacks the place for the digest.
    #[error("`{{digest}}` is not in its path or query")]
    NoDigest,
}

impl UrlTemplate {
    /// The URL for that digest.
    pub fn url(&self, digest: &KeyDigest) -> String {
        self.filled(&digest.hex(), digest.kind().as_str())
    }

    /// Whether it is of https.
    pub fn is_https(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.scheme() == "https")
    }

    /// Whether it is plain http to another machine, which others can read and change on the way.
    pub fn is_in_clear(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_in_clear(&url))
    }

    fn filled(&self, digest: &str, kind: &str) -> String {
        self.0.replace(DIGEST, digest).replace(KIND, kind)
    }
}

impl FromStr for UrlTemplate {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let template = Self(text.into());
        // What is filled in has no character that means something in a URL.
        let filled = template.filled("digest", "kind");
        if has_braces(&filled) {
            return Err(InvalidUrl::Braces);
        }
        let url = check(&filled)?;
        let other = check(&template.filled("other", "kind"))?;
        if url.origin() != other.origin() || url == other {
            return Err(InvalidUrl::NoDigest);
        }
        let kinds = check(&template.filled("digest", "other"))?;
        if url.origin() != kinds.origin() {
            return Err(InvalidUrl::NoDigest);
        }
        Ok(template)
    }
}

/// Shows nothing.
impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlTemplate(..)")
    }
}

impl EventsUrl {
    /// The URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether it is of https.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// As [`UrlTemplate::is_in_clear`].
    pub fn is_in_clear(&self) -> bool {
        is_in_clear(&self.0)
    }
}

/// Shows nothing.
impl fmt::Debug for EventsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventsUrl(..)")
    }
}

impl FromStr for EventsUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if has_braces(text) {
            return Err(InvalidUrl::BracesInEvents);
        }
        check(text).map(Self)
    }
}

fn is_in_clear(url: &Url) -> bool {
    url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine)
}

/// No URL has them (RFC 3986 section 2).
fn has_braces(text: &str) -> bool {
    text.contains(['{', '}'])
}

fn check(text: &str) -> Result<Url, InvalidUrl> {
    let url = Url::parse(text).map_err(|_| InvalidUrl::Syntax)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidUrl::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidUrl::Userinfo);
    }
    if url.fragment().is_some() {
        return Err(InvalidUrl::Fragment);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::key::tests::digest_of;

    #[test]
    fn a_template_is_filled_in_its_path_or_query_alone() {
        for (text, want) in [
            ("https://keys.internal/v1/keys/{digest}", Ok(())),
            ("http://10.0.0.1:8080/{kind}/{digest}?x={digest}", Ok(())),
            ("http://h/?digest={kind}:{digest}", Ok(())),
            ("http://h/keys", Err(InvalidUrl::NoDigest)),
            ("http://{digest}.h/", Err(InvalidUrl::NoDigest)),
            ("http://{kind}.h/{digest}", Err(InvalidUrl::NoDigest)),
            ("http://h/#{digest}", Err(InvalidUrl::Fragment)),
            ("http://h/{Kind}/{digest}", Err(InvalidUrl::Braces)),
            ("http://h/{digest", Err(InvalidUrl::Braces)),
            ("http://u:canary@h/{digest}", Err(InvalidUrl::Userinfo)),
            ("ftp://h/{digest}", Err(InvalidUrl::Scheme)),
            ("keys/{digest}", Err(InvalidUrl::Syntax)),
        ] {
            assert_eq!(text.parse::<UrlTemplate>().map(drop), want, "{text}");
        }
        let events = "http://h/{digest}".parse::<EventsUrl>();
        assert_eq!(events.map(drop), Err(InvalidUrl::BracesInEvents));
        let digest = digest_of("a");
        for (text, https) in [
            ("https://h/{digest}", true),
            (" HTTPS://h/{digest}", true),
            ("http://https/{digest}", false),
        ] {
            let template: UrlTemplate = text.parse().unwrap();
            assert_eq!(template.is_https(), https, "{text}");
        }
        let template: UrlTemplate = "http://h/{kind}/{digest}".parse().unwrap();
        let want = format!("http://h/blake3/{}", digest.hex());
        assert_eq!(template.url(&digest), want);
    }
}
