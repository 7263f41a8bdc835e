//! The state of certificates for metrics and `/readyz`: when they expire, and why they are
//! outdated.
//!
//! The owner of the certificates says what is used and what was refused; reading the state takes no
//! lock. A failure stays until files can be used again, even if they are the same as before it.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::observe::metrics::CertificateMetrics;

/// The state of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// When the first of the chain in use expires; `None` without a chain, or if it is unknown.
    pub expires_at: Option<Timestamp>,
    /// Why the files as they are now cannot be used; `None` if they are in use.
    pub failure: Option<String>,
}

/// What is known of files of TLS that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// Differs if the content of any of the files does.
    pub(crate) content_hash: blake3::Hash,
    /// When the first certificate of the chain expires.
    pub(crate) expires_at: Option<Timestamp>,
}

/// The certificates of one member of the configuration.
#[derive(Debug)]
pub struct CertificateStatus {
    member: &'static str,
    metrics: OnceLock<CertificateMetrics>,
    in_use: ArcSwap<blake3::Hash>,
    state: ArcSwap<CertificateState>,
}

impl CertificateStatus {
    /// The files of `member`, which were read just now. Without metrics.
    pub(crate) fn new(member: &'static str, read: CertificateFacts) -> Self {
        Self {
            member,
            metrics: OnceLock::new(),
            in_use: ArcSwap::from_pointee(read.content_hash),
            state: ArcSwap::from_pointee(CertificateState {
                expires_at: read.expires_at,
                failure: None,
            }),
        }
    }

    /// Shows them in metrics from now on.
    pub(crate) fn report_to(&self, metrics: CertificateMetrics, now: Timestamp) {
        let metrics = self.metrics.get_or_init(|| metrics);
        metrics.loaded(self.member, self.state.load().expires_at, now);
    }

    /// What was read is used from now on. It counts as a reload unless it was in use before.
    pub(crate) fn note_used(&self, read: CertificateFacts, now: Timestamp) {
        let is_same = **self.in_use.load() == read.content_hash;
        if !is_same || self.state.load().failure.is_some() {
            self.note_reloaded(read, now);
        }
    }

    /// What was read is used from now on. It counts as a reload even if it was in use before.
    pub(crate) fn note_reloaded(&self, read: CertificateFacts, now: Timestamp) {
        let CertificateFacts {
            content_hash,
            expires_at,
        } = read;
        self.in_use.store(Arc::new(content_hash));
        self.state.store(Arc::new(CertificateState {
            expires_at,
            failure: None,
        }));
        if let Some(metrics) = self.metrics.get() {
            metrics.reloaded(self.member, expires_at, now);
        }
    }

    /// The files cannot be used for that reason; the active ones are kept.
    pub(crate) fn note_refused(&self, why: &str) {
        let before = self.state.load();
        self.state.store(Arc::new(CertificateState {
            expires_at: before.expires_at,
            failure: Some(why.to_owned()),
        }));
        if let Some(metrics) = self.metrics.get() {
            metrics.refused();
        }
    }

    pub(crate) fn state(&self) -> Arc<CertificateState> {
        self.state.load_full()
    }
}
