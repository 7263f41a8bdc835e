//! Whether a body comes as its service wrote it.
//!
//! Requests ask for `identity` alone, and nothing here decompresses: a body that a service or a proxy encoded all the same can't be
//! read. Of a stream of events that would go unnoticed, for compressed bytes have hardly any line that is an event.

use reqwest::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};

use super::failure::Failure;

/// What `Accept-Encoding` says (RFC 9110 section 12.5.3): without that header a service may choose any encoding.
pub(super) const IDENTITY: &str = "identity";

/// Fails if the headers of an answer name an encoding of its body that is left in it: any content encoding but `identity`, and any
/// transfer encoding but `chunked` (RFC 9112 section 7), which the HTTP library removes.
pub(super) fn require_identity(headers: &HeaderMap) -> Result<(), Failure> {
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
