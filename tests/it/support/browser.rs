//! A browser, as far as a script of one origin that calls another is concerned, following the Fetch
//! standard (<https://fetch.spec.whatwg.org>). It decides whether a request needs a preflight,
//! sends it as a browser does (no credentials, no headers of the script), applies the CORS check to
//! every response, and exposes what a script may read. It has no preflight cache and follows no
//! redirects: one without CORS headers ends in a network error before that.

use std::net::SocketAddr;

use super::http1;
use super::message::{Ask, Lines, Reply, values};

/// A page's script, and the address of what it calls.
pub struct Browser {
    /// The page's origin, serialized: scheme, host, and a port that is not the scheme's default.
    pub origin: &'static str,
    pub to: SocketAddr,
    /// `fetch(…, {credentials: "include"})`: cookies are sent.
    pub with_credentials: bool,
}

impl Browser {
    pub fn of(origin: &'static str, to: SocketAddr) -> Self {
        Self {
            origin,
            to,
            with_credentials: false,
        }
    }

    /// `fetch` of a URL of another origin.
    ///
    /// # Errors
    /// A network error, with the reason that a browser writes to its console; the script
    /// learns nothing else.
    pub async fn fetch(&self, ask: &Ask) -> Result<Reply, String> {
        self.fetch_with_cookie(ask, "").await
    }

    /// The same in a browser with a cookie for the host. It is sent with credentials, and never
    /// with a preflight.
    ///
    /// # Errors
    /// As above.
    pub async fn fetch_with_cookie(&self, ask: &Ask, cookie: &str) -> Result<Reply, String> {
        let unsafe_names = unsafe_names(&ask.headers);
        if !safelisted_method(&ask.method) || !unsafe_names.is_empty() {
            self.preflight(ask, &unsafe_names).await?;
        }
        let mut ask = ask.clone().header("Origin", self.origin);
        if self.with_credentials && !cookie.is_empty() {
            ask = ask.header("Cookie", cookie);
        }
        let mut reply = http1::send(self.to, &ask).await;
        self.cors_check(&reply)?;
        self.hide(&mut reply)?;
        Ok(reply)
    }

    /// The standard's "CORS-preflight fetch".
    async fn preflight(&self, ask: &Ask, unsafe_names: &[String]) -> Result<(), String> {
        let mut preflight = Ask::new("OPTIONS", &ask.path)
            .host(&ask.host)
            .header("Accept", "*/*")
            .header("Access-Control-Request-Method", &ask.method)
            .header("Origin", self.origin);
        if !unsafe_names.is_empty() {
            preflight = preflight.header("Access-Control-Request-Headers", &unsafe_names.join(","));
        }
        let reply = http1::send(self.to, &preflight).await;
        self.cors_check(&reply)?;
        if !(200..300).contains(&reply.status) {
            return Err(format!("the preflight was answered with {}", reply.status));
        }
        let methods = listed(&reply, "access-control-allow-methods")?;
        let allowed = listed(&reply, "access-control-allow-headers")?;
        // With credentials, `*` is not a wildcard.
        let any = |list: &[String]| !self.with_credentials && list.iter().any(|one| one == "*");
        if !safelisted_method(&ask.method) && !methods.contains(&ask.method) && !any(&methods) {
            return Err(format!("{} is not allowed by {methods:?}", ask.method));
        }
        for name in unsafe_names {
            let named = allowed.iter().any(|one| one.eq_ignore_ascii_case(name));
            // No wildcard covers this header.
            let must_be_named = name == "authorization";
            if !named && (must_be_named || !any(&allowed)) {
                return Err(format!("the header {name} is not allowed by {allowed:?}"));
            }
        }
        Ok(())
    }

    /// The standard's "CORS check".
    fn cors_check(&self, reply: &Reply) -> Result<(), String> {
        let allowed = reply.all("access-control-allow-origin").join(", ");
        if !self.with_credentials && allowed == "*" {
            return Ok(());
        }
        if allowed != self.origin {
            let status = reply.status;
            return Err(format!("{status} allows the origin {allowed:?} alone"));
        }
        let credentials = reply.all("access-control-allow-credentials").join(", ");
        if self.with_credentials && credentials != "true" {
            return Err("credentials are not allowed".into());
        }
        Ok(())
    }

    /// Makes a "CORS filtered response" of it.
    fn hide(&self, reply: &mut Reply) -> Result<(), String> {
        const SAFELISTED: [&str; 7] = [
            "cache-control",
            "content-language",
            "content-length",
            "content-type",
            "expires",
            "last-modified",
            "pragma",
        ];
        let exposed = listed(reply, "access-control-expose-headers")?;
        let all = !self.with_credentials && exposed.iter().any(|one| one == "*");
        reply.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            let exposed = || exposed.iter().any(|one| one.eq_ignore_ascii_case(&name));
            let forbidden = name == "set-cookie" || name == "set-cookie2";
            !forbidden && (all || SAFELISTED.contains(&name.as_str()) || exposed())
        });
        Ok(())
    }
}

fn safelisted_method(method: &str) -> bool {
    ["GET", "HEAD", "POST"].contains(&method)
}

/// "CORS-unsafe request-header names": sorted, in lower case.
fn unsafe_names(headers: &Lines) -> Vec<String> {
    let (safe, others): (Vec<_>, Vec<_>) = headers
        .iter()
        .partition(|(name, value)| safelisted_header(&name.to_ascii_lowercase(), value));
    let mut names = others;
    // Many safe ones together carry too much to be safe.
    if safe.iter().map(|(_, value)| value.len()).sum::<usize>() > 1024 {
        names.extend(safe);
    }
    let mut names: Vec<String> = names.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names
}

/// A "CORS-safelisted request-header". `Range` is left out: no test sends one.
fn safelisted_header(name: &str, value: &str) -> bool {
    let unsafe_byte = |byte: u8| {
        (byte < 0x20 && byte != b'\t') || byte == 0x7f || b"\"():<>?@[\\]{}".contains(&byte)
    };
    let of_language = |byte: u8| byte.is_ascii_alphanumeric() || b" *,-.;=".contains(&byte);
    let essence = value.split(';').next().unwrap_or_default().trim();
    let simple_form = [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ];
    value.len() <= 128
        && match name {
            "accept" => !value.bytes().any(unsafe_byte),
            "accept-language" | "content-language" => value.bytes().all(of_language),
            "content-type" => {
                let form = simple_form.iter().any(|f| essence.eq_ignore_ascii_case(f));
                form && !value.bytes().any(unsafe_byte)
            }
            _ => false,
        }
}

/// "Extracting header list values" of a header that is a list of tokens; empty if it is absent.
fn listed(reply: &Reply, name: &str) -> Result<Vec<String>, String> {
    let token = |text: &str| {
        let mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
        text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
    };
    let lines = values(&reply.headers, name).join(",");
    let items = lines
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let items: Vec<String> = items.map(str::to_owned).collect();
    match items.iter().find(|item| !token(item)) {
        Some(odd) => Err(format!("{name} holds {odd:?}")),
        None => Ok(items),
    }
}

#[test]
fn a_script_with_a_key_needs_a_preflight_and_a_plain_form_does_not() {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (headers, expected) in [
        (header("Accept", "application/json"), ""),
        (header("Content-Type", "text/plain;charset=UTF-8"), ""),
        (header("Content-Type", "application/json"), "content-type"),
        (header("X-API-Key", "secret"), "x-api-key"),
        (header("Authorization", "Bearer secret"), "authorization"),
        (header("Accept", "a(b)"), "accept"),
        (header("Accept", &"a".repeat(129)), "accept"),
        (header("Accept-Language", "de;q=0.5"), ""),
        (header("Accept-Language", "de_AT"), "accept-language"),
    ] {
        let names = unsafe_names(&headers);
        assert_eq!(names.join(","), expected, "{headers:?}");
    }
}

#[test]
fn a_response_can_be_read_only_by_the_origin_that_it_names() {
    let browser = |with_credentials| Browser {
        origin: "https://app.example.com",
        to: SocketAddr::from(([127, 0, 0, 1], 0)),
        with_credentials,
    };
    let reply = |lines: &[(&str, &str)]| Reply {
        headers: lines
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        ..Reply::default()
    };
    let origin = |value| ("Access-Control-Allow-Origin", value);
    let credentials = ("Access-Control-Allow-Credentials", "true");
    for (lines, without, with) in [
        (&[][..], false, false),
        (&[origin("*")], true, false),
        (&[origin("*"), credentials], true, false),
        (&[origin("https://app.example.com")], true, false),
        (
            &[origin("https://app.example.com"), credentials],
            true,
            true,
        ),
        (&[origin("https://app.example.com:443")], false, false),
        (&[origin("https://APP.example.com")], false, false),
        (
            &[
                origin("https://app.example.com"),
                origin("https://app.example.com"),
            ],
            false,
            false,
        ),
    ] {
        let reply = reply(lines);
        assert_eq!(
            browser(false).cors_check(&reply).is_ok(),
            without,
            "{lines:?}"
        );
        assert_eq!(browser(true).cors_check(&reply).is_ok(), with, "{lines:?}");
    }
    let mut reply = reply(&[
        ("access-control-expose-headers", "retry-after, *"),
        ("retry-after", "1"),
        ("x-other", "1"),
        ("set-cookie", "a=b"),
    ]);
    browser(true).hide(&mut reply).unwrap();
    assert_eq!(reply.headers, [("retry-after".to_owned(), "1".to_owned())]);
}
