//! The rotation of token and certificates: their files are read again when they have changed and stand still.
//!
//! What cannot be used leaves in force what was there, and is told once, until the files change again. A new token does not cost
//! the connections; new certificates do, since a connection shows those that it was made with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::stillness::Sighting;
use super::client::Clients;
use super::error::HttpSourceError;
use super::{HttpSource, token};

/// Files that are read together.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    paths: Vec<PathBuf>,
    read: Vec<Sighting>,
    last: Option<(Vec<Sighting>, Duration)>,
}

impl Followed {
    /// Follows files that are about to be read. Blocks.
    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        let paths: Vec<_> = paths.cloned().collect();
        Self {
            read: look(&paths),
            paths,
            last: None,
        }
    }

    /// Whether they have changed since they were read and stood still; whoever asks reads them then.
    fn is_due(&mut self, now: Duration, still_for: Duration) -> bool {
        let seen = look(&self.paths);
        if seen == self.read {
            self.last = None;
            return false;
        }
        let since = match &self.last {
            Some((last, since)) if *last == seen => *since,
            Some(_) | None => {
                self.last = Some((seen, now));
                return false;
            }
        };
        let is_still = now.saturating_sub(since) >= still_for;
        if is_still {
            self.read = seen;
            self.last = None;
        }
        is_still
    }
}

fn look(paths: &[PathBuf]) -> Vec<Sighting> {
    paths.iter().map(|path| Sighting::of(path)).collect()
}

/// Follows the files of a source for ever.
pub(super) async fn follow(source: &HttpSource) {
    let timing = source.timing;
    let mut token_file = source.token_file.clone();
    let mut tls_files = source.tls_files.clone();
    loop {
        tokio::time::sleep(timing.look_every).await;
        let now = source.clock.monotonic();
        if token_file.is_due(now, timing.still_for) {
            let settings = Arc::clone(&source.settings);
            if let Some(token) = read("bearer token", move || token::read(&settings)).await {
                source.token.store(Arc::new(token));
            }
        }
        if tls_files.is_due(now, timing.still_for) {
            let settings = Arc::clone(&source.settings);
            if let Some(clients) = read("certificates", move || Clients::new(&settings)).await {
                source.clients.store(Arc::new(clients));
            }
        }
    }
}

/// Reads files off the threads that serve, and tells how it went.
async fn read<T: Send + 'static>(
    what: &'static str,
    read: impl FnOnce() -> Result<T, HttpSourceError> + Send + 'static,
) -> Option<T> {
    // One that was stopped is the end of the process.
    match tokio::task::spawn_blocking(read).await.ok()? {
        Ok(read) => {
            tracing::info!(
                source = "http",
                what,
                "reloaded what the source is asked with"
            );
            Some(read)
        }
        Err(error) => {
            tracing::error!(
                source = "http",
                what,
                problems = chain(&error),
                "not reloaded; what was in force stays"
            );
            None
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
