//! Structs of handles for the modules that record by themselves: the cache, sources, listeners and
//! reloads.
//!
//! Each is cheap to clone. Those on the path of a request hold their series already, so that
//! recording is an atomic operation.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::Register;

/// Seconds. A store on the same machine answers in 0.1 ms; timeouts are 100 and 150 ms by default.
const LOOKUP_BUCKETS: [f64; 13] = [
    100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 150e-3, 250e-3, 1.0,
];

/// The cache in front of the source.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// The key was cached.
    pub hit: IntCounter,
    /// The digest was in the negative cache.
    pub negative_hit: IntCounter,
    /// Neither was cached.
    pub miss: IntCounter,
    /// A stale key was used because the source is failing.
    pub stale: IntCounter,
    keys: IntGauge,
    negatives: IntGauge,
}

impl CacheMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, Error> {
        let lookups = register.counters(
            "keyward_cache_lookups_total",
            "Lookups of digests in the cache in front of the source.",
            &["result"],
        )?;
        let entries = register.gauges(
            "keyward_cache_entries",
            "Entries in the cache, approximately.",
            &["kind"],
        )?;
        Ok(Self {
            hit: lookups.get_metric_with_label_values(&["hit"])?,
            negative_hit: lookups.get_metric_with_label_values(&["negative_hit"])?,
            miss: lookups.get_metric_with_label_values(&["miss"])?,
            stale: lookups.get_metric_with_label_values(&["stale"])?,
            keys: entries.get_metric_with_label_values(&["key"])?,
            negatives: entries.get_metric_with_label_values(&["negative"])?,
        })
    }

    /// Sets the numbers of entries; called before a scrape is rendered.
    pub fn set_entries(&self, keys: u64, negatives: u64) {
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.negatives
            .set(i64::try_from(negatives).unwrap_or(i64::MAX));
    }
}

/// How a lookup at a source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceResult {
    /// There is a record, valid or not.
    Found,
    /// No key has the digest.
    NotFound,
    /// The source failed.
    Error,
    /// The source did not answer in time.
    Timeout,
}

/// One source.
#[derive(Debug, Clone)]
pub struct SourceMetrics {
    found: IntCounter,
    not_found: IntCounter,
    error: IntCounter,
    timeout: IntCounter,
    duration: Histogram,
    up: IntGauge,
}

impl SourceMetrics {
    /// Counts a lookup.
    pub fn looked_up(&self, result: SourceResult, duration: Duration) {
        match result {
            SourceResult::Found => &self.found,
            SourceResult::NotFound => &self.not_found,
            SourceResult::Error => &self.error,
            SourceResult::Timeout => &self.timeout,
        }
        .inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// Sets whether the source answers; for a file, whether its content was loaded.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }
}

/// All sources; only the configured one has series.
#[derive(Debug)]
pub(super) struct SourceVectors {
    lookups: IntCounterVec,
    durations: HistogramVec,
    up: IntGaugeVec,
    push_up: IntGaugeVec,
}

impl SourceVectors {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            lookups: register.counters(
                "keyward_source_lookups_total",
                "Lookups of digests at the source.",
                &["source", "result"],
            )?,
            durations: register.histograms(
                "keyward_source_lookup_duration_seconds",
                "Time that a lookup at the source took, in seconds.",
                &["source"],
                &LOOKUP_BUCKETS,
            )?,
            up: register.gauges(
                "keyward_source_up",
                "1 while the source answers (a file: while its current content is loaded), else 0.",
                &["source"],
            )?,
            push_up: register.gauges(
                "keyward_source_push_up",
                "1 while the source pushes every change of keys, else 0; absent where it has no way to.",
                &["source"],
            )?,
        })
    }

    pub(super) fn push_up(&self, source: &'static str) -> Result<IntGauge, Error> {
        self.push_up.get_metric_with_label_values(&[source])
    }

    pub(super) fn of(&self, source: &'static str) -> Result<SourceMetrics, Error> {
        let lookups = |result| self.lookups.get_metric_with_label_values(&[source, result]);
        Ok(SourceMetrics {
            found: lookups("found")?,
            not_found: lookups("not_found")?,
            error: lookups("error")?,
            timeout: lookups("timeout")?,
            duration: self.durations.get_metric_with_label_values(&[source])?,
            up: self.up.get_metric_with_label_values(&[source])?,
        })
    }
}

/// What a reload loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadTarget {
    /// The configuration.
    Config,
    /// The keys.
    Keys,
    /// Certificates, of the server and of a remote source.
    Certificates,
}

impl ReloadTarget {
    const ALL: [Self; 3] = [Self::Config, Self::Keys, Self::Certificates];

    /// The value of the label.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keys => "keys",
            Self::Certificates => "certificates",
        }
    }
}

/// Counts reloads. They are rare, so series are looked up by their labels.
#[derive(Debug, Clone)]
pub struct ReloadMetrics {
    total: IntCounterVec,
    /// Only what was loaded has a series: one that stays 0 would be taken for a load that never
    /// succeeds.
    last_success: IntGaugeVec,
}

impl ReloadMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, Error> {
        let total = register.counters(
            "keyward_reloads_total",
            "Reloads of configuration, keys and certificates; the load at start is not counted.",
            &["what", "result"],
        )?;
        for target in ReloadTarget::ALL {
            for result in ["success", "failure"] {
                total.get_metric_with_label_values(&[target.as_str(), result])?;
            }
        }
        let last_success = register.gauges(
            "keyward_last_reload_success_timestamp_seconds",
            "Unix time of the last load that succeeded, that at start included, in seconds; absent for what is never loaded.",
            &["what"],
        )?;
        Ok(Self {
            total,
            last_success,
        })
    }

    /// Notes the load at start.
    pub fn loaded(&self, target: ReloadTarget, now: Timestamp) {
        let last_success = self
            .last_success
            .get_metric_with_label_values(&[target.as_str()]);
        if let Ok(last_success) = last_success {
            last_success.set(now.as_second());
        }
    }

    /// Counts a reload that took effect.
    pub fn succeeded(&self, target: ReloadTarget, now: Timestamp) {
        self.count(target, "success");
        self.loaded(target, now);
    }

    /// Counts a reload that was refused.
    pub fn failed(&self, target: ReloadTarget) {
        self.count(target, "failure");
    }

    fn count(&self, target: ReloadTarget, result: &str) {
        if let Ok(total) = self
            .total
            .get_metric_with_label_values(&[target.as_str(), result])
        {
            total.inc();
        }
    }
}

/// Connections of one listener, and their limit.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    open: IntGauge,
    max: IntGauge,
}

/// The connections of all listeners.
#[derive(Debug)]
pub(super) struct ConnectionVectors {
    open: IntGaugeVec,
    max: IntGaugeVec,
}

impl ConnectionVectors {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            open: register.gauges("keyward_connections", "Open connections.", &["listener"])?,
            max: register.gauges(
                "keyward_connections_max",
                "Connection limit; at the limit the longest idle connection is closed for a new one.",
                &["listener"],
            )?,
        })
    }

    pub(super) fn of(&self, listener: &str) -> Result<ConnectionMetrics, Error> {
        Ok(ConnectionMetrics {
            open: self.open.get_metric_with_label_values(&[listener])?,
            max: self.max.get_metric_with_label_values(&[listener])?,
        })
    }
}

impl ConnectionMetrics {
    /// Sets how many are open.
    pub fn set_open(&self, open: usize) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Sets how many there may be.
    pub fn set_max(&self, max: usize) {
        self.max.set(i64::try_from(max).unwrap_or(i64::MAX));
    }
}

/// Expiry and rotation of certificates.
#[derive(Debug, Clone)]
pub struct CertificateMetrics {
    expiry: IntGaugeVec,
    reloads: ReloadMetrics,
}

impl CertificateMetrics {
    pub(super) fn new(register: &Register<'_>, reloads: ReloadMetrics) -> Result<Self, Error> {
        Ok(Self {
            expiry: register.gauges(
                "keyward_certificate_expiry_timestamp_seconds",
                "Unix time at which the first certificate of the chain in use expires, in seconds.",
                &["member"],
            )?,
            reloads,
        })
    }

    /// Notes the load at start of the certificates that a member of the configuration names.
    pub fn loaded(&self, member: &'static str, expires_at: Option<Timestamp>, now: Timestamp) {
        self.expires(member, expires_at);
        self.reloads.loaded(ReloadTarget::Certificates, now);
    }

    /// Counts a rotation that took effect.
    pub fn reloaded(&self, member: &'static str, expires_at: Option<Timestamp>, now: Timestamp) {
        self.expires(member, expires_at);
        self.reloads.succeeded(ReloadTarget::Certificates, now);
    }

    /// Counts files that cannot be used; the certificates in use remain.
    pub fn refused(&self) {
        self.reloads.failed(ReloadTarget::Certificates);
    }

    fn expires(&self, member: &'static str, at: Option<Timestamp>) {
        let Some(at) = at else {
            // A value of 0 would mean expired. Removing a missing series fails, which is fine.
            _ = self.expiry.remove_label_values(&[member]);
            return;
        };
        if let Ok(gauge) = self.expiry.get_metric_with_label_values(&[member]) {
            gauge.set(at.as_second());
        }
    }
}

/// Changes that invalidated cached keys.
#[derive(Debug, Clone)]
pub struct InvalidationMetrics {
    /// The file changed: all prepared keys were dropped.
    pub file: IntCounter,
    /// A remote source pushed a change.
    pub push: IntCounter,
}

impl InvalidationMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, Error> {
        let total = register.counters(
            "keyward_invalidations_total",
            "Invalidations of cached keys after a change at the source.",
            &["origin"],
        )?;
        Ok(Self {
            file: total.get_metric_with_label_values(&["file"])?,
            push: total.get_metric_with_label_values(&["push"])?,
        })
    }
}
