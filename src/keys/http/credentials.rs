//! The bearer token (RFC 6750) and the certificates, and their rotation.
//!
//! Their files are read again when they have changed and settled. What cannot be used leaves in use
//! what was there, is logged once, and is tried again. A new token does not cost the connections;
//! new certificates do, since a connection shows those that it was made with. No error repeats any
//! of a file's content.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use super::HttpSource;
use super::client::Clients;
use super::settings::HttpSettings;
use crate::tls::{TlsError, content_hash};
use crate::watch::secret_file::{SecretFile, SecretFileError};
use crate::watch::{ReadOutcome, WatchedFiles};

/// An HTTP source cannot be made, or not made again from changed files.
#[derive(Debug, thiserror::Error)]
pub enum HttpSourceError {
    /// The file of the bearer token cannot be used.
    #[error(transparent)]
    Token(#[from] SecretFileError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be set up.
    #[error("source.http: the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl HttpSourceError {
    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Token(error) => error.member().to_owned(),
            Self::Tls(error) => error.member(),
            Self::Client(_) => "source.http".to_owned(),
        }
    }
}

/// Reads the token, where one is configured, as the header that is sent, marked so that nothing
/// prints it; with its hash. Blocks.
pub(super) fn read_token(
    settings: &HttpSettings,
) -> Result<(Option<HeaderValue>, blake3::Hash), HttpSourceError> {
    let Some(path) = &settings.bearer_token_file else {
        return Ok((None, content_hash([None])));
    };
    let file = SecretFile {
        member: "source.http.bearer_token_file",
        path,
        wanted: "a bearer token, which is one word of visible ASCII",
    };
    let token = file.read()?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(file.unusable().into());
    }
    let value = Zeroizing::new([b"Bearer ", token.as_bytes()].concat());
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| file.unusable())?;
    value.set_sensitive(true);
    let hash = content_hash([Some(value.as_bytes())]);
    Ok((Some(value), hash))
}

/// Follows the files of a source. Never ends.
pub(super) async fn follow(source: &HttpSource) {
    let use_token = |token: Result<_, &str>| {
        if let Ok(token) = token {
            source.token.store(Arc::new(token));
        }
    };
    let use_clients = |clients: Result<Clients, &str>| match (clients, &source.certificates) {
        (Ok(clients), certificates) => {
            let contents = clients.certificates;
            source.clients.store(Arc::new(clients));
            if let Some(certificates) = certificates {
                certificates.note_used(contents, source.clock.now());
            }
        }
        (Err(why), Some(certificates)) => certificates.note_refused(why),
        (Err(_), None) => {}
    };
    let (token_file, tls_files) = (&source.token_file, &source.tls_files);
    tokio::join!(
        reload(source, "bearer token", token_file, read_token, use_token),
        reload(source, "certificates", tls_files, Clients::new, use_clients),
    );
}

/// Reads files again whenever they are due, and hands over what is new: the content, or why it
/// cannot be used.
async fn reload<T: Send + 'static>(
    source: &HttpSource,
    what: &'static str,
    files: &WatchedFiles,
    read: fn(&HttpSettings) -> Result<(T, blake3::Hash), HttpSourceError>,
    hand_over: impl Fn(Result<T, &str>),
) {
    let (mut files, settings) = (files.clone(), Arc::clone(&source.settings));
    let (read, interval) = (move || read(&settings), source.timing.poll_interval);
    loop {
        let outcome = files.next_read(interval, &*source.clock, read.clone());
        match outcome.await {
            ReadOutcome::Usable { value, is_new } if is_new => {
                hand_over(Ok(value));
                tracing::info!(source = "http", what, "credentials of the source reloaded");
            }
            ReadOutcome::Unusable {
                problem, report, ..
            } if report => {
                hand_over(Err(&problem));
                tracing::error!(
                    source = "http",
                    what,
                    problems = problem,
                    "credentials of the source not reloaded; the active ones are kept"
                );
            }
            ReadOutcome::Changing | ReadOutcome::Usable { .. } | ReadOutcome::Unusable { .. } => {}
        }
    }
}
