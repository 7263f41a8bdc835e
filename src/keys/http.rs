//! Keys from an HTTP service: a `GET` with the digest in the URL, a record or 404 in the answer.
//!
//! (written by the HTTP part)

pub mod settings;

pub use settings::{HttpSettings, InvalidUrl, UrlTemplate};
