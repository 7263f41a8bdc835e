//! The bearer token that the service is shown (RFC 6750).
//!
//! Read from its file and kept as the header that is sent, marked so that nothing prints it. No error repeats any of it.

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use super::error::HttpSourceError;
use super::settings::HttpSettings;

/// The header's value, of the scheme that the token is for.
const SCHEME: &[u8] = b"Bearer ";

/// Reads the token, where one is configured. One final newline is not part of it. Blocks.
pub(super) fn read(settings: &HttpSettings) -> Result<Option<HeaderValue>, HttpSourceError> {
    let Some(path) = &settings.bearer_token_file else {
        return Ok(None);
    };
    let content = std::fs::read(path).map_err(|cause| HttpSourceError::Read {
        member: "bearer_token_file",
        path: path.clone(),
        cause,
    })?;
    let content = Zeroizing::new(content);
    let line = content.strip_suffix(b"\n").unwrap_or(&content);
    let token = line.strip_suffix(b"\r").unwrap_or(line);
    let unusable = || HttpSourceError::Token { path: path.clone() };
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(unusable());
    }
    let value = Zeroizing::new([SCHEME, token].concat());
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    Ok(Some(value))
}
