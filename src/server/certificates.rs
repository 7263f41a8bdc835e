//! The certificates of the gRPC listener: read at start, and again when their files change.
//!
//! Certificate and key are two files, and some tools replace them one after the other, so a pair
//! that does not fit is a failure only once it has lasted. Files that cannot be used change nothing
//! and are tried again.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::observe::metrics::Metrics;
use crate::tls::{CertificateStatus, ServerCertificates, ServerTls, ServerTlsFiles, TlsError};
use crate::watch::{ReadOutcome, ReloadAdvice, SETTLE_TIME, WatchedFiles};

/// Where the configuration names the files.
const MEMBER: &str = "server.grpc.tls";

/// Follows the files of the listener's certificates.
pub(crate) struct CertificateReloader {
    files: ServerTlsFiles,
    pub(super) watched: WatchedFiles,
    tls: Arc<ServerTls>,
    status: Arc<CertificateStatus>,
}

/// Whether the certificates that a configuration names can be used.
///
/// # Errors
/// What is wrong with them.
pub fn check_certificates(config: &Config) -> Result<(), ConfigError> {
    let files = config.server.grpc.tls.as_ref();
    files.map_or(Ok(()), |files| read(files, config).map(drop))
}

fn read(files: &ServerTlsFiles, config: &Config) -> Result<ServerCertificates, ConfigError> {
    let unusable = |error: TlsError| config.unusable_file(&error.member(), &error);
    files.read(MEMBER).map_err(unusable)
}

impl CertificateReloader {
    /// Reads the certificates that a configuration names, to follow them later; `None` if it names
    /// none. Blocks.
    pub(crate) fn load(
        config: &Config,
        metrics: &Metrics,
        clock: &dyn Clock,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(files) = config.server.grpc.tls.clone() else {
            return Ok(None);
        };
        // Before they are read, so that a change during the read is seen later.
        let mut watched = WatchedFiles::new(files.paths());
        let certificates = read(&files, config)?;
        watched.note_read(Some(certificates.facts.content_hash), clock.monotonic());
        let status = CertificateStatus::new(MEMBER, certificates.facts);
        status.report_to(metrics.certificates.clone(), clock.now());
        Ok(Some(Self {
            files,
            watched,
            tls: Arc::new(ServerTls::new(certificates)),
            status: Arc::new(status),
        }))
    }

    pub(crate) fn tls(&self) -> Arc<ServerTls> {
        Arc::clone(&self.tls)
    }

    pub(crate) fn status(&self) -> Arc<CertificateStatus> {
        Arc::clone(&self.status)
    }

    /// Reads the files if they are due or `forced`. Gives when to look again, if that is sooner
    /// than the usual interval. Blocks.
    pub(super) fn follow(&mut self, forced: bool, clock: &dyn Clock) -> Option<Duration> {
        let look = self.watched.look(clock.monotonic());
        match look.advice {
            ReloadAdvice::Read => {}
            ReloadAdvice::Wait(_) | ReloadAdvice::Unchanged if forced && !look.in_flux => {}
            ReloadAdvice::Wait(time) => return Some(time),
            ReloadAdvice::Unchanged => return None,
        }
        let read = self.files.read(MEMBER).map(|certificates| {
            let hash = certificates.facts.content_hash;
            (certificates, hash)
        });
        match self.watched.finish_read(read, clock.monotonic()) {
            ReadOutcome::Changing => return Some(super::reload::CHANGING_RETRY_INTERVAL),
            ReadOutcome::Usable { value, is_new } => {
                if is_new || forced {
                    self.status.note_reloaded(value.facts, clock.now());
                    self.tls.replace(value);
                    tracing::info!("certificates reloaded");
                }
            }
            ReadOutcome::Unusable {
                problem, report, ..
            } => {
                if report || forced {
                    self.status.note_refused(&problem);
                    tracing::error!(
                        problems = problem,
                        "certificates not reloaded; the active ones are kept"
                    );
                }
            }
        }
        Some(SETTLE_TIME)
    }
}
