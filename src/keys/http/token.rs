//! The bearer token that the service is shown (RFC 6750).
//!
//! Read from its file and kept as the header that is sent, marked so that nothing prints it. No error repeats any of it.

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use super::error::HttpSourceError;
use super::settings::HttpSettings;
use crate::tls::content_hash;
use crate::watch::secret_file::{self, NoSecret};

/// The header's value, of the scheme that the token is for.
const SCHEME: &[u8] = b"Bearer ";

/// Reads the token, where one is configured, and gives a hash of it beside. Blocks.
pub(super) fn read(
    settings: &HttpSettings,
) -> Result<(Option<HeaderValue>, blake3::Hash), HttpSourceError> {
    let Some(path) = &settings.bearer_token_file else {
        return Ok((None, content_hash([None])));
    };
    let unusable = || HttpSourceError::Token { path: path.clone() };
    let token = secret_file::read(path).map_err(|why| match why {
        NoSecret::Read(cause) => HttpSourceError::Read {
            path: path.clone(),
            cause,
        },
        NoSecret::Content => unusable(),
    })?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable());
    }
    let value = Zeroizing::new([SCHEME, token.as_bytes()].concat());
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    let mark = content_hash([Some(value.as_bytes())]);
    Ok((Some(value), mark))
}
