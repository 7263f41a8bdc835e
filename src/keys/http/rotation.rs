//! The rotation of token and certificates: their files are read again when they have changed and stand still.
//!
//! What cannot be used leaves in force what was there, is told once, and is tried again at each look. A new token does not cost
//! the connections; new certificates do, since a connection shows those that it was made with.

use std::sync::Arc;

use super::client::Clients;
use super::error::HttpSourceError;
use super::settings::HttpSettings;
use super::{HttpSource, token};
use crate::watch::{ReadOutcome, WatchedFiles};

/// Follows the files of a source for ever.
pub(super) async fn follow(source: &HttpSource) {
    let put_token = |token| source.token.store(Arc::new(token));
    let put_clients = |clients: Clients| {
        let contents = clients.certificates;
        source.clients.store(Arc::new(clients));
        if let Some(certificates) = &source.certificates {
            certificates.is_used(contents, source.clock.now());
        }
    };
    let refuse = |why: &str| {
        if let Some(certificates) = &source.certificates {
            certificates.is_refused(why);
        }
    };
    let (token_file, tls_files) = (&source.token_file, &source.tls_files);
    tokio::join!(
        renew(
            source,
            "bearer token",
            token_file,
            token::read,
            put_token,
            |_| {}
        ),
        renew(
            source,
            "certificates",
            tls_files,
            Clients::new,
            put_clients,
            refuse
        ),
    );
}

/// Reads files again whenever they are due, and puts to use what can be used.
async fn renew<T: Send + 'static>(
    source: &HttpSource,
    what: &'static str,
    files: &WatchedFiles,
    read: fn(&HttpSettings) -> Result<(T, blake3::Hash), HttpSourceError>,
    put: impl Fn(T),
    refuse: impl Fn(&str),
) {
    let mut files = files.clone();
    let settings = Arc::clone(&source.settings);
    let read = move || read(&settings);
    let interval = source.timing.look_every;
    loop {
        match files
            .next_read(interval, &*source.clock, read.clone())
            .await
        {
            ReadOutcome::Usable {
                value,
                is_new: true,
            } => {
                put(value);
                tracing::info!(
                    source = "http",
                    what,
                    "reloaded what the source is asked with"
                );
            }
            ReadOutcome::Unusable {
                problem,
                report: true,
                ..
            } => {
                refuse(&problem);
                tracing::error!(
                    source = "http",
                    what,
                    problems = problem,
                    "not reloaded; what was in force stays"
                );
            }
            ReadOutcome::Changing
            | ReadOutcome::Usable { is_new: false, .. }
            | ReadOutcome::Unusable { report: false, .. } => {}
        }
    }
}
