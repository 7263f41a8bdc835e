//! Refuses bodies that are encoded.
//!
//! Requests accept `identity` alone, and nothing here decompresses. A stream of events that a
//! service or a proxy compressed anyway would go unnoticed: hardly any of its lines would be
//! an event.

use reqwest::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};

use super::failure::Failure;

/// What `Accept-Encoding` says (RFC 9110 section 12.5.3): without that header a service may choose
/// any encoding.
pub(crate) const IDENTITY: &str = "identity";

/// Fails for any content encoding but `identity`, and any transfer encoding but `chunked` (RFC 9112
/// section 7), which the HTTP library decodes.
pub(crate) fn require_identity(headers: &HeaderMap) -> Result<(), Failure> {
    for (name, harmless) in [
        (&CONTENT_ENCODING, IDENTITY),
        (&TRANSFER_ENCODING, "chunked"),
    ] {
        let values = headers.get_all(name).into_iter();
        let mut encodings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let is_harmless = |encoding: &[u8]| {
            let encoding = encoding.trim_ascii();
            encoding.is_empty() || encoding.eq_ignore_ascii_case(harmless.as_bytes())
        };
        if !encodings.all(is_harmless) {
            let text = format!("its answer has a {name} other than {harmless}, such as gzip");
            return Err(Failure::permanent(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_encoded_is_read() {
        for (name, values, want) in [
            ("content-encoding", &[][..], true),
            ("content-encoding", &["identity"], true),
            ("content-encoding", &["Identity", ""], true),
            ("content-encoding", &["gzip"], false),
            ("content-encoding", &["identity, br"], false),
            ("content-encoding", &["identity", "deflate"], false),
            ("content-encoding", &["anything"], false),
            ("transfer-encoding", &["chunked"], true),
            ("transfer-encoding", &["gzip, chunked"], false),
            ("transfer-encoding", &["gzip", "chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, value.parse().unwrap());
            }
            let is_read = require_identity(&headers).is_ok();
            assert_eq!(is_read, want, "{name}: {values:?}");
        }
    }
}
