//! The rotation of certificates: the files of TLS are read again when they have changed and stand still.
//!
//! Certificate and key are two files, and some tools replace them one after the other: so they are read once none of them
//! has changed for a moment. Files that cannot be used leave in force what was there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::tls::Tls;
use crate::keys::chain::chain;
use crate::keys::stillness::{STILL_FOR, Sighting};

/// Follows the files of TLS.
#[derive(Debug)]
pub(crate) struct Rotation {
    tls: Arc<Tls>,
    read: Vec<Sighting>,
    last: Option<(Vec<Sighting>, Duration)>,
}

impl Rotation {
    /// Follows files that were read just now.
    pub(crate) fn new(tls: Arc<Tls>) -> Self {
        let read = look(&tls);
        Self {
            tls,
            read,
            last: None,
        }
    }

    /// The directories whose events tell of changes.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let files = self
            .tls
            .files()
            .filter_map(|path| std::path::absolute(path).ok());
        files.filter_map(|path| path.parent().map(PathBuf::from))
    }

    /// Looks at the files, reads them if it is time, and else tells when it will be. Blocks.
    pub(crate) fn follow(&mut self, now: Duration) -> Option<Duration> {
        let seen = look(&self.tls);
        if seen == self.read {
            self.last = None;
            return None;
        }
        let since = match &self.last {
            Some((last, since)) if *last == seen => *since,
            Some(_) | None => {
                self.last = Some((seen, now));
                return Some(STILL_FOR);
            }
        };
        let rest = STILL_FOR.saturating_sub(now.saturating_sub(since));
        if !rest.is_zero() {
            return Some(rest);
        }
        self.read = seen;
        self.last = None;
        match self.tls.reload() {
            Ok(()) => tracing::info!("certificates reloaded"),
            Err(error) => tracing::error!(
                problems = chain(&error),
                "certificates not reloaded; those in force stay"
            ),
        }
        None
    }
}

fn look(tls: &Tls) -> Vec<Sighting> {
    tls.files().map(Sighting::of).collect()
}
