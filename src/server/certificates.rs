//! The rotation of certificates: the files of TLS are read again when they change, or when they could not be used.
//!
//! Certificate and key are two files, and some tools replace them one after the other: so one that does not fit the other yet is
//! no failure until it has lasted. Files that cannot be used leave in force what was there, and are tried again.

use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::tls::{MEMBER, Tls};
use crate::clock::Clock;
use crate::observe::metrics::CertificateMetrics;
use crate::tls::CertificateState;
use crate::watch::{ReadOutcome, ReloadAdvice, SETTLE_TIME, WatchedFiles};

/// Follows the files of TLS.
pub(crate) struct CertificateReloader {
    tls: Arc<Tls>,
    pub(super) watched: WatchedFiles,
    metrics: CertificateMetrics,
    admin: Arc<Admin>,
}

impl CertificateReloader {
    /// Follows files that were read just now, as `watched` saw them before.
    pub(crate) fn new(
        tls: Arc<Tls>,
        mut watched: WatchedFiles,
        metrics: CertificateMetrics,
        admin: Arc<Admin>,
        clock: &dyn Clock,
    ) -> Self {
        watched.was_read(Some(tls.mark()), clock.monotonic());
        metrics.loaded(MEMBER, tls.expires_at(), clock.now());
        let rotation = Self {
            tls,
            watched,
            metrics,
            admin,
        };
        rotation.show(None);
        rotation
    }

    /// Shows what is in use, and what keeps the files as they are now from it.
    fn show(&self, failure: Option<String>) {
        let state = CertificateState {
            expires_at: self.tls.expires_at(),
            failure,
        };
        self.admin.certificates.store(Some(Arc::new(state)));
    }

    /// Reads the files if they are due or `forced`. Gives when to look again, if that is sooner than
    /// the usual interval. Blocks.
    pub(super) fn follow(&mut self, forced: bool, clock: &dyn Clock) -> Option<Duration> {
        let look = self.watched.look(clock.monotonic());
        match look.advice {
            ReloadAdvice::Read => {}
            ReloadAdvice::Wait(_) | ReloadAdvice::Unchanged if forced && !look.in_flux => {}
            ReloadAdvice::Wait(time) => return Some(time),
            ReloadAdvice::Unchanged => return None,
        }
        let read = self.tls.read();
        match self.watched.finish_read(read, clock.monotonic()) {
            ReadOutcome::Changing => return Some(super::reload::RETRY),
            ReadOutcome::Usable { value, is_new } => {
                if is_new || forced {
                    self.tls.put(value);
                    self.metrics
                        .reloaded(MEMBER, self.tls.expires_at(), clock.now());
                    tracing::info!("certificates reloaded");
                }
                self.show(None);
            }
            ReadOutcome::Unusable {
                problem, report, ..
            } => {
                if report || forced {
                    self.metrics.refused();
                    tracing::error!(
                        problems = problem,
                        "certificates not reloaded; those in force stay"
                    );
                    self.show(Some(problem));
                }
            }
        }
        Some(SETTLE_TIME)
    }
}
