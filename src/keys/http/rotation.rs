//! The rotation of token and certificates: their files are read again when they have changed and stand still.
//!
//! What cannot be used leaves in force what was there, is told once, and is tried again at each look. A new token does not cost
//! the connections; new certificates do, since a connection shows those that it was made with.

use std::sync::Arc;

use super::client::Clients;
use super::error::HttpSourceError;
use super::settings::HttpSettings;
use super::{HttpSource, token};
use crate::error_chain::chain;
use crate::watch::{ReadResult, WatchedFiles};

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

/// Reads files off the threads that serve whenever they are due, puts to use what is read, and tells how it went.
async fn renew<T: Send + 'static>(
    source: &HttpSource,
    what: &'static str,
    files: &WatchedFiles,
    read: fn(&HttpSettings) -> Result<(T, blake3::Hash), HttpSourceError>,
    put: impl Fn(T),
    refuse: impl Fn(&str),
) {
    let mut files = files.clone();
    loop {
        files.due(source.timing.look_every, &*source.clock).await;
        let settings = Arc::clone(&source.settings);
        // One that was stopped is the end of the process.
        let Ok(read) = tokio::task::spawn_blocking(move || read(&settings)).await else {
            continue;
        };
        let now = source.clock.monotonic();
        let mark = read.as_ref().ok().map(|(_, mark)| *mark);
        let news = files.was_read(mark, now);
        match read {
            _ if news == ReadResult::Changing => {}
            Ok(_) if news == ReadResult::Same => {}
            Ok((read, _)) => {
                put(read);
                files.clear_problem();
                tracing::info!(
                    source = "http",
                    what,
                    "reloaded what the source is asked with"
                );
            }
            Err(error) => {
                let problems = chain(&error);
                if files.should_report(&problems, now) {
                    refuse(&problems);
                    tracing::error!(
                        source = "http",
                        what,
                        problems,
                        "not reloaded; what was in force stays"
                    );
                }
            }
        }
    }
}
