//! Everything that `/metrics` shows, as structs of handles.
//!
//! `Metrics` owns a registry of its own, so that tests have many. Handles are made once and passed
//! down; what records holds the handle it needs and looks nothing up. Label values come from enums,
//! from the build, or from known keys. Per-key series and `process_*` are not in the registry: they
//! are written straight into the text at a scrape, the former because a locked vector of them would
//! stall checks and cost megabytes of labels at each scrape.

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

/// Seconds. A check from memory takes less than the first; 200 ms is Envoy's default timeout of a
/// check, so that what is above it was in vain; a check that takes a second has met a remote source
/// at its worst.
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
    /// Of the cache in front of the source.
    pub cache: CacheMetrics,
    /// Of loading configuration, keys and certificates anew.
    pub reloads: ReloadMetrics,
    /// Of certificates.
    pub certificates: CertificateMetrics,
    /// Of keys that were forgotten because they changed.
    pub invalidations: InvalidationMetrics,
}

impl Metrics {
    /// Metrics with series of their own for up to `max_keys` keys.
    ///
    /// # Errors
    /// When a name is not valid or is there twice, which the tests rule out.
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
                "1 where the mode is `observe`, so that every request goes on, whatever the decision.",
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

    /// Tells whether refusals are only recorded.
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
    /// A key takes one of the `max_keys` places at its first use, if it has none since it was
    /// loaded (see `keys_changed`), and keeps it until it goes. Where no place is left, and for a
    /// key of a generation that has been replaced meanwhile, the series is `_other`.
    pub fn key_series(&self, record: &KeyRecord, generation: Generation) -> KeySeries {
        self.keys.series(record, generation)
    }

    /// Tells that these are all the keys from that generation on; for sources whose keys are all at
    /// hand.
    ///
    /// Series of keys that are gone go with them, a key whose client changed begins anew, and ends
    /// of validity are brought up to date. Keys that have never been used but expire take places as
    /// well, so that an alert can tell of them: all of them where all the keys fit into `max_keys`,
    /// else those that expire soonest until half of the places are taken, for keys in use need some
    /// too. May run before or after the generation is put in force.
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

    /// Takes away the series of keys that nobody has used for an hour and nothing holds; for
    /// sources that never tell that a key is gone.
    pub fn forget_idle_keys(&self, now: Timestamp) {
        self.keys.forget_idle(now);
    }

    /// The handles of a source: `file`, `http` or `redis`.
    ///
    /// # Errors
    /// Never for a name without strange characters.
    pub fn source(&self, name: &'static str) -> Result<SourceMetrics, prometheus::Error> {
        self.sources.of(name)
    }

    /// The handles of a listener: `grpc` or `admin`.
    ///
    /// # Errors
    /// Never for a name without strange characters.
    pub fn listener(&self, name: &'static str) -> Result<ConnectionMetrics, prometheus::Error> {
        self.connections.of(name)
    }

    /// The gauge that shows whether a source pushes changes; for sources that can.
    ///
    /// # Errors
    /// Never for a name without strange characters.
    pub fn source_push_up(&self, name: &'static str) -> Result<IntGauge, prometheus::Error> {
        self.sources.push_up(name)
    }

    /// All metrics in Prometheus' text format. Reads files under `/proc`; holds no lock that a
    /// check waits for.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for family in self.registry.gather() {
            // Fails for a family without metrics only, which the registry leaves out.
            let _ = TextEncoder::new().encode_utf8(&[family], &mut text);
        }
        let mut exposition = exposition::Exposition::continuing(text);
        self.keys.write(&mut exposition);
        process::write(&mut exposition);
        exposition.into_text()
    }
}

/// The revision of the sources, where the build was told.
pub const fn revision() -> &'static str {
    match option_env!("KEYWARD_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    }
}

/// Makes metrics that are registered at once.
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
