//! How long an answer says that it may be cached (RFC 9111).
//!
//! Takes the headers of an answer and gives the rest of its `max-age`. An unreadable value counts
//! as stale (RFC 9111 section 4.2.1).

use std::time::Duration;

use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};

/// Any longer time counts as this one (RFC 9111 section 1.2.2).
const LONGEST_SECS: u64 = 1 << 31;

/// How long the answer may be cached; `None` where it does not say, zero where it must not be.
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let bounds = lines.flat_map(|line| directives(line.as_bytes()));
    let least = bounds.filter_map(bound).min()?;
    Some(Duration::from_secs(least.saturating_sub(age(headers))))
}

/// For how many seconds a directive lets an answer be cached, if it is one of these.
fn bound((name, argument): (&[u8], Option<&[u8]>)) -> Option<u64> {
    if name.eq_ignore_ascii_case(b"no-store") || name.eq_ignore_ascii_case(b"no-cache") {
        Some(0)
    } else if name.eq_ignore_ascii_case(b"max-age") {
        Some(argument.and_then(seconds).unwrap_or(0))
    } else {
        None
    }
}

/// How old the answer was when it came (RFC 9111 section 5.1): of several values the first counts,
/// and an invalid one is ignored.
fn age(headers: &HeaderMap) -> u64 {
    let value = headers.get(AGE).map_or(&b""[..], |value| value.as_bytes());
    let first = value.split(|byte| *byte == b',').next();
    first
        .and_then(|first| seconds(first.trim_ascii()))
        .unwrap_or(0)
}

/// `delta-seconds`, of any number of digits.
fn seconds(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| is_number)?;
    Some(text.parse().unwrap_or(LONGEST_SECS).min(LONGEST_SECS))
}

/// The directives of a line with their arguments; a comma in a quoted string separates nothing.
fn directives(line: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let parts = line.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted => is_escaped = !was_escaped,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == b',' && !is_quoted
    });
    parts.map(|part| {
        let part = part.trim_ascii();
        match part.iter().position(|byte| *byte == b'=') {
            None => (part, None),
            Some(at) => {
                let (name, rest) = part.split_at(at);
                let argument = rest.strip_prefix(b"=").unwrap_or(rest);
                // Tokens are usual, and quoted strings must be read as well (RFC 9111 section 5.2).
                let unquoted = argument
                    .strip_prefix(b"\"")
                    .and_then(|argument| argument.strip_suffix(b"\""));
                (name.trim_ascii(), Some(unquoted.unwrap_or(argument)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_may_be_kept_as_long_as_it_says() {
        for (lines, age, want) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["max-age=60"], None, Some(60)),
            (&["Max-Age=60"], None, Some(60)),
            (&["max-age=\"60\""], None, Some(60)),
            (&["public, max-age=60"], None, Some(60)),
            (&["max-age=0"], None, Some(0)),
            (&["no-store"], None, Some(0)),
            (&["NO-CACHE"], None, Some(0)),
            (&["no-cache=\"set-cookie\", max-age=60"], None, Some(0)),
            (&["max-age=60", "no-store"], None, Some(0)),
            (&["max-age=60, max-age=10"], None, Some(10)),
            (&["s-maxage=10, max-age=60"], None, Some(60)),
            (&["s-maxage=10"], None, None),
            (&["private=\"a, max-age=5\", max-age=60"], None, Some(60)),
            (&["x=\"\\\", no-store\", max-age=60"], None, Some(60)),
            (&["x=\"\\\\\", no-store"], None, Some(0)),
            (&["max-age=60"], Some("20"), Some(40)),
            (&["max-age=60"], Some("60"), Some(0)),
            (&["max-age=60"], Some("90"), Some(0)),
            (&["max-age=60"], Some("20, 50"), Some(40)),
            (&["max-age=60"], Some("x"), Some(60)),
            (&["max-age=60"], Some("-5"), Some(60)),
            (&["public"], Some("20"), None),
            (&["max-age"], None, Some(0)),
            (&["max-age="], None, Some(0)),
            (&["max-age=-1"], None, Some(0)),
            (&["max-age=+60"], None, Some(0)),
            (&["max-age=1.5"], None, Some(0)),
            (&["max-age=1h"], None, Some(0)),
            (&["max-age = 60"], None, Some(0)),
            (&["max-age=60;"], None, Some(0)),
            (&["max-age=99999999999999999999"], None, Some(1 << 31)),
            (&["max-agent=5"], None, None),
            (&[""], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            if let Some(age) = age {
                headers.append(AGE, HeaderValue::from_static(age));
            }
            let want = want.map(Duration::from_secs);
            assert_eq!(max_age(&headers), want, "{lines:?}, age {age:?}");
        }
    }
}
