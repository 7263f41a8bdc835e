//! The rotation of certificates: the files of TLS are read again when they change, or when they could not be used.
//!
//! Certificate and key are two files, and some tools replace them one after the other: so one that does not fit the other yet is
//! no failure until it has lasted. Files that cannot be used leave in force what was there, and are tried again.

use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::tls::{MEMBER, Tls};
use crate::clock::Clock;
use crate::error_chain::chain;
use crate::observe::metrics::CertificateMetrics;
use crate::tls::CertificateState;
use crate::watch::{ReadResult, ReloadAdvice, SETTLE_TIME, WatchedFiles};

/// Follows the files of TLS.
pub(crate) struct Rotation {
    tls: Arc<Tls>,
    pub(super) followed: WatchedFiles,
    metrics: CertificateMetrics,
    admin: Arc<Admin>,
}

impl Rotation {
    /// Follows files that were read just now, as `followed` saw them before.
    pub(crate) fn new(
        tls: Arc<Tls>,
        mut followed: WatchedFiles,
        metrics: CertificateMetrics,
        admin: Arc<Admin>,
        clock: &dyn Clock,
    ) -> Self {
        followed.was_read(Some(tls.mark()), clock.monotonic());
        metrics.loaded(MEMBER, tls.expires_at(), clock.now());
        let rotation = Self {
            tls,
            followed,
            metrics,
            admin,
        };
        rotation.show();
        rotation
    }

    /// Shows what is in use, and what keeps the files as they are now from it.
    fn show(&self) {
        let failure = self.followed.problem().map(str::to_owned);
        let state = CertificateState {
            expires_at: self.tls.expires_at(),
            failure,
        };
        self.admin.certificates.store(Some(Arc::new(state)));
    }

    /// Looks at the files, reads them if it is time or `forced`, and else tells when it will be. Blocks.
    pub(super) fn follow(&mut self, forced: bool, clock: &dyn Clock) -> Option<Duration> {
        let now = clock.monotonic();
        let look = self.followed.look(now);
        match look.advice {
            ReloadAdvice::Read => {}
            ReloadAdvice::Wait(_) | ReloadAdvice::Unchanged if forced && !look.in_flux => {}
            ReloadAdvice::Wait(time) => return Some(time),
            ReloadAdvice::Unchanged => return None,
        }
        let read = self.tls.read();
        let mark = read.as_ref().ok().map(|(_, mark)| *mark);
        let news = self.followed.was_read(mark, clock.monotonic());
        match read {
            _ if news == ReadResult::Changing => return Some(super::reload::RETRY),
            Ok(_) if news == ReadResult::Same && !forced => {}
            Ok((current, _)) => {
                self.tls.put(current);
                self.followed.clear_problem();
                self.metrics
                    .reloaded(MEMBER, self.tls.expires_at(), clock.now());
                tracing::info!("certificates reloaded");
            }
            Err(error) => {
                let problems = chain(&error);
                if self.followed.should_report(&problems, clock.monotonic()) || forced {
                    self.metrics.refused();
                    tracing::error!(problems, "certificates not reloaded; those in force stay");
                }
            }
        }
        self.show();
        Some(SETTLE_TIME)
    }
}
