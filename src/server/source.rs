//! The keys that a configuration asks for: its remote source, and the cache in front of source or
//! file.
//!
//! The command line builds both here too, so that `check-config` and `explain` ask what `serve`
//! would ask. A source that is down is not an error: the server starts with it, for it may be up
//! again before a request comes.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, SourceConfig, defaults};
use crate::keys::cache::{FileKeys, KeyCache, Prepare, RemoteKeys, RemoteMetrics, RemoteSettings};
use crate::keys::http::HttpSource;
use crate::keys::redis::RedisSource;
use crate::keys::source::{KeySource, PushSupport};
use crate::observe::metrics::Metrics;

/// The remote source of that configuration; `None` where its keys are in a file. Reads files and
/// connects to nothing. Without metrics its certificates are not counted.
///
/// # Errors
/// When a file that it needs cannot be used.
pub fn remote_source(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: Option<&Metrics>,
) -> Result<Option<Arc<dyn KeySource>>, ConfigError> {
    let source: Arc<dyn KeySource> = match &config.source {
        SourceConfig::File { .. } => return Ok(None),
        SourceConfig::Http(settings) => Arc::new(
            HttpSource::new((**settings).clone(), Arc::clone(clock))
                .map_err(|error| config.unusable_file(&error.member(), &error))?,
        ),
        SourceConfig::Redis(settings) => Arc::new(
            RedisSource::new((**settings).clone(), Arc::clone(clock))
                .map_err(|error| config.unusable_file(&error.member(), &error))?,
        ),
    };
    if let (Some(certificates), Some(metrics)) = (source.certificates(), metrics) {
        certificates.report_to(metrics.certificates.clone(), clock.now());
    }
    Ok(Some(source))
}

/// The cache in front of that source, or of the keys of a file. Without metrics nothing is counted.
///
/// # Errors
/// Never for the names of sources.
pub fn key_cache<P: Send + Sync + 'static>(
    config: &Config,
    source: Option<&Arc<dyn KeySource>>,
    clock: &Arc<dyn Clock>,
    metrics: Option<&Metrics>,
    prepare: Prepare<P>,
) -> Result<KeyCache<P>, prometheus::Error> {
    let Some(source) = source else {
        let metrics = metrics.map(|metrics| metrics.cache.clone());
        let keys = FileKeys::new(config.cache.capacity, prepare, metrics);
        return Ok(KeyCache::File(keys));
    };
    let remote_metrics = |metrics: &Metrics| {
        let pushes = source.push() != PushSupport::None;
        let push_up = pushes.then(|| metrics.source_push_up(source.name()));
        Ok::<_, prometheus::Error>(RemoteMetrics {
            cache: metrics.cache.clone(),
            source: metrics.source(source.name())?,
            invalidations: metrics.invalidations.push.clone(),
            push_up: push_up.transpose()?,
        })
    };
    let settings = RemoteSettings {
        source: Arc::clone(source),
        clock: Arc::clone(clock),
        cache: config.cache,
        max_in_flight: match &config.source {
            SourceConfig::Http(settings) => settings.max_in_flight,
            SourceConfig::Redis(_) | SourceConfig::File { .. } => defaults::REDIS_MAX_IN_FLIGHT,
        },
        metrics: metrics.map(remote_metrics).transpose()?,
    };
    Ok(KeyCache::Remote(RemoteKeys::new(settings, prepare)))
}
