//! What is told of the certificates that a source is reached with: their end and their rotation, in metrics and in `/readyz`.
//!
//! The source says what it put to use and what it could not; whoever asks for the state takes no lock. Files that could not be used
//! remain a failure until files can be used again, were it the same ones as before.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::ClientTlsFiles;
use crate::observe::metrics::CertificateMetrics;

/// What is known of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// When the first of the chain in use expires; `None` where there is no chain, or where that cannot be told.
    pub expires_at: Option<Timestamp>,
    /// What keeps the files as they are now from being used; `None` if they are.
    pub failure: Option<String>,
}

/// What is told of the content of files of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Differs where any content of the files does.
    pub(crate) mark: blake3::Hash,
    /// When the first certificate of our chain expires.
    pub(crate) expires_at: Option<Timestamp>,
}

/// The certificates of one member of the configuration.
#[derive(Debug)]
pub(crate) struct CertificateStatus {
    member: &'static str,
    metrics: Option<CertificateMetrics>,
    in_use: ArcSwap<blake3::Hash>,
    state: ArcSwap<CertificateState>,
}

impl CertificateStatus {
    /// Of the files of `member`, that were read just now; `None` where it names none. Not counted.
    pub(crate) fn new(
        member: &'static str,
        files: &ClientTlsFiles,
        read: Contents,
    ) -> Option<Self> {
        files.paths().next()?;
        Some(Self {
            member,
            metrics: None,
            in_use: ArcSwap::from_pointee(read.mark),
            state: ArcSwap::from_pointee(CertificateState {
                expires_at: read.expires_at,
                failure: None,
            }),
        })
    }

    /// Has them shown in metrics from now on.
    pub(crate) fn count_by(&mut self, metrics: CertificateMetrics, now: Timestamp) {
        metrics.loaded(self.member, self.state.load().expires_at, now);
        self.metrics = Some(metrics);
    }

    /// What was read is used from now on. It is a reload unless it was in use all the time.
    pub(crate) fn is_used(&self, read: Contents, now: Timestamp) {
        let Contents { mark, expires_at } = read;
        let before = self.state.load();
        if before.failure.is_none() && **self.in_use.load() == mark {
            return;
        }
        self.in_use.store(Arc::new(mark));
        self.state.store(Arc::new(CertificateState {
            expires_at,
            failure: None,
        }));
        if let Some(metrics) = &self.metrics {
            metrics.reloaded(self.member, expires_at, now);
        }
    }

    /// The files cannot be used for that reason, and what was in use stays.
    pub(crate) fn is_refused(&self, why: &str) {
        let before = self.state.load();
        self.state.store(Arc::new(CertificateState {
            expires_at: before.expires_at,
            failure: Some(why.to_owned()),
        }));
        if let Some(metrics) = &self.metrics {
            metrics.refused();
        }
    }

    /// The state.
    pub(crate) fn state(&self) -> Arc<CertificateState> {
        self.state.load_full()
    }
}
