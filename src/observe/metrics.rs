//! Everything that `/metrics` shows, as structs of handles.
//!
//! `Metrics` owns a registry of its own, so that each test can have one. Handles are made once and
//! passed down, so that recording looks nothing up. Label values come from enums, from the build,
//! or from known keys. Per-key series and `process_*` are not in the registry but written into the
//! text at a scrape: a locked vector of per-key series would stall checks and cost megabytes of
//! labels at each scrape.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

mod exposition;
mod handles;
mod key_series;
mod process;

pub use self::handles::{
    CacheMetrics, CertificateMetrics, ConnectionMetrics, InvalidationMetrics, ReloadMetrics,
    ReloadTarget, SourceMetrics, SourceResult,
};
pub use self::key_series::KeySeries;
use self::key_series::KeyTable;
use crate::authz::key::KeyRecord;
use crate::authz::reason::{DecisionKind, Reason};
use crate::authz::snapshot::Generation;

/// The media type of `Metrics::render`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds. A check from memory takes less than the first. Envoy's default timeout of a check is
/// 200 ms, so longer checks are useless to it. Only a slow remote source makes a check take a
/// second.
const CHECK_BUCKETS: [f64; 15] = [
    25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 200e-3,
    500e-3, 1.0,
];

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By `Reason::index`.
    checks: Box<[IntCounter]>,
    allowed: Histogram,
    denied: Histogram,
    failed: Histogram,
    keys: KeyTable,
    keys_loaded: IntGauge,
    observe_mode: IntGauge,
    sources: handles::SourceVectors,
    connections: handles::ConnectionVectors,
    /// The cache in front of the source.
    pub cache: CacheMetrics,
    /// Reloads of configuration, keys and certificates.
    pub reloads: ReloadMetrics,
    /// Certificates.
    pub certificates: CertificateMetrics,
    /// Cached keys that were invalidated.
    pub invalidations: InvalidationMetrics,
}

impl Metrics {
    /// Metrics with series of their own for up to `max_keys` keys.
    ///
    /// # Errors
    /// When a name is invalid or registered twice, which the tests rule out.
    pub fn new(max_keys: usize) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let register = Register(&registry);

        let checks = register.counters(
            "keyward_checks_total",
            "Checks answered; in observe mode, by what the decision would have been.",
            &["decision", "reason"],
        )?;
        let check = |reason: &Reason| {
            checks.get_metric_with_label_values(&[reason.kind().as_str(), reason.as_str()])
        };
        let durations = register.histograms(
            "keyward_check_duration_seconds",
            "Time from a check's arrival to its answer, in seconds.",
            &["decision"],
            &CHECK_BUCKETS,
        )?;
        let duration =
            |decision: DecisionKind| durations.get_metric_with_label_values(&[decision.as_str()]);
        let build = register.gauges(
            "keyward_build_info",
            "The version that runs and the revision that it was built from; always 1.",
            &["version", "revision"],
        )?;
        build
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION"), revision()])?
            .set(1);

        let reloads = ReloadMetrics::new(&register)?;
        Ok(Self {
            checks: Reason::ALL.iter().map(check).collect::<Result<_, _>>()?,
            allowed: duration(DecisionKind::Allow)?,
            denied: duration(DecisionKind::Deny)?,
            failed: duration(DecisionKind::Error)?,
            keys: KeyTable::new(max_keys),
            keys_loaded: register.gauge(
                "keyward_keys_loaded",
                "Keys that the file source holds in memory.",
            )?,
            observe_mode: register.gauge(
                "keyward_observe_mode",
                "1 where the mode is `observe`, so that every request is allowed, whatever the decision.",
            )?,
            sources: handles::SourceVectors::new(&register)?,
            connections: handles::ConnectionVectors::new(&register)?,
            cache: CacheMetrics::new(&register)?,
            certificates: CertificateMetrics::new(&register, reloads.clone())?,
            reloads,
            invalidations: InvalidationMetrics::new(&register)?,
            registry,
        })
    }

    /// Sets whether the mode is `observe`.
    pub fn set_observing(&self, observing: bool) {
        self.observe_mode.set(i64::from(observing));
    }

    /// Counts a check. A few atomic operations.
    pub fn checked(&self, decision: DecisionKind, reason: Reason, duration: Duration) {
        if let Some(counter) = self.checks.get(reason.index()) {
            counter.inc();
        }
        let histogram = match decision {
            DecisionKind::Allow => &self.allowed,
            DecisionKind::Deny => &self.denied,
            DecisionKind::Error => &self.failed,
        };
        histogram.observe(duration.as_secs_f64());
    }

    /// The series of a key, to be held with what is prepared for it under that generation of the
    /// snapshot.
    ///
    /// A key gets one of the `max_keys` series at its first use, unless it got one when it was
    /// loaded (see `keys_changed`), and keeps it until the key is removed. Where none is left, and
    /// for a key of a replaced generation, the series is `_other`.
    pub fn key_series(&self, record: &KeyRecord, generation: Generation) -> KeySeries {
        self.keys.series(record, generation)
    }

    /// Sets the keys that exist from that generation on; for file sources, whose keys are all
    /// known.
    ///
    /// Series of removed keys are removed, a key whose client changed gets a new one, and expiries
    /// are updated. Keys that have never been used but expire get series too, for alerts: all of
    /// them where all the keys fit into `max_keys`, else those that expire soonest until half of
    /// the series are taken, so that some remain for keys in use. May run before or after the
    /// generation becomes active.
    pub fn keys_changed<'k>(
        &self,
        generation: Generation,
        keys: impl IntoIterator<Item = &'k KeyRecord>,
        now: Timestamp,
    ) {
        let count = self.keys.replace(generation, keys, now);
        self.keys_loaded
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Removes the series of keys that were not used for an hour and are not cached; for sources
    /// that do not report removed keys.
    pub fn forget_idle_keys(&self, now: Timestamp) {
        self.keys.forget_idle(now);
    }

    /// The handles of a source: `file`, `http` or `redis`.
    ///
    /// # Errors
    /// Never for a valid label value.
    pub fn source(&self, name: &'static str) -> Result<SourceMetrics, prometheus::Error> {
        self.sources.of(name)
    }

    /// The handles of a listener: `grpc` or `admin`.
    ///
    /// # Errors
    /// Never for a valid label value.
    pub fn listener(&self, name: &'static str) -> Result<ConnectionMetrics, prometheus::Error> {
        self.connections.of(name)
    }

    /// The gauge that shows whether a source pushes changes; for sources that can.
    ///
    /// # Errors
    /// Never for a valid label value.
    pub fn source_push_up(&self, name: &'static str) -> Result<IntGauge, prometheus::Error> {
        self.sources.push_up(name)
    }

    /// All metrics in Prometheus' text format. Reads files under `/proc`; no check waits for it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for family in self.registry.gather() {
            // Fails only for a family without metrics, which the registry leaves out.
            let _ = TextEncoder::new().encode_utf8(&[family], &mut text);
        }
        let mut exposition = exposition::Exposition::appending_to(text);
        self.keys.write(&mut exposition);
        process::write(&mut exposition);
        exposition.into_text()
    }
}

/// The revision of the sources, if the build was given one.
pub const fn revision() -> &'static str {
    match option_env!("KEYWARD_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    }
}

/// Creates metrics and registers them.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let histograms = HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )?;
        self.0.register(Box::new(histograms.clone()))?;
        Ok(histograms)
    }
}

#[cfg(test)]
mod tests;
