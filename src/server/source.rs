//! The remote source that a configuration asks for: made from its settings, and put behind the cache.
//!
//! The command line makes its source here too, so that `check-config` and `explain` ask what `serve` would ask. A source that is
//! down is none of the errors: the server starts with it, for it may be back before anybody asks.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, SourceConfig, defaults};
use crate::keys::cache::{KeyCache, Prepare, RemoteSettings};
use crate::keys::http::HttpSource;
use crate::keys::redis::RedisSource;
use crate::keys::source::{KeySource, Push, SourceError};
use crate::observe::metrics::Metrics;

/// A remote source.
#[derive(Clone)]
pub enum Remote {
    /// An HTTP service; with the lookups that may be made at once.
    Http(Arc<HttpSource>, usize),
    /// Redis or Valkey.
    Redis(Arc<RedisSource>),
}

impl Remote {
    /// The remote source of that configuration; `None` where its keys are in a file. Reads files and connects to nobody. Without metrics
    /// its certificates are not shown in any.
    ///
    /// # Errors
    /// When a file that it needs cannot be used.
    pub fn of(
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: Option<&Metrics>,
    ) -> Result<Option<Self>, ConfigError> {
        let certificates = metrics.map(|metrics| metrics.certificates.clone());
        Ok(match &config.source {
            SourceConfig::File { .. } => None,
            SourceConfig::Http(settings) => {
                let mut source = HttpSource::new((**settings).clone(), Arc::clone(clock))
                    .map_err(|error| config.unusable_file(&error.member(), &error))?;
                if let Some(metrics) = certificates {
                    source.count_certificates_by(metrics);
                }
                Some(Self::Http(Arc::new(source), settings.max_in_flight))
            }
            SourceConfig::Redis(settings) => {
                let mut source = RedisSource::new((**settings).clone(), Arc::clone(clock))
                    .map_err(|error| config.unusable_file(&error.member(), &error))?;
                if let Some(metrics) = certificates {
                    source.count_certificates_by(metrics);
                }
                Some(Self::Redis(Arc::new(source)))
            }
        })
    }

    /// Tries the source once: a lookup of what nobody has, and whether changes would be heard. Gives what an operator should know of
    /// a source that can be used.
    ///
    /// # Errors
    /// When either fails.
    pub async fn try_once(&self) -> Result<Vec<String>, SourceError> {
        match self {
            Self::Http(source, _) => source.try_once().await.map(|()| Vec::new()),
            Self::Redis(source) => source.try_once().await,
        }
    }

    /// Connects to it as a server has long before a request comes; why it cannot, the lookup tells.
    pub async fn connect(&self) {
        match self {
            Self::Http(source, _) => source.connect().await,
            Self::Redis(source) => _ = source.connect().await,
        }
    }

    /// A cache in front of it, as the configuration wants it. Without metrics it is not counted.
    ///
    /// # Errors
    /// Never for the names of sources.
    pub fn cache<P: Send + Sync + 'static>(
        &self,
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: Option<&Metrics>,
        prepare: Prepare<P>,
    ) -> Result<KeyCache<P>, prometheus::Error> {
        let (source, max_in_flight): (Arc<dyn KeySource>, usize) = match self {
            Self::Http(source, max_in_flight) => (Arc::<HttpSource>::clone(source), *max_in_flight),
            Self::Redis(source) => (
                Arc::<RedisSource>::clone(source),
                defaults::REDIS_MAX_IN_FLIGHT,
            ),
        };
        let capacity = |entries| u64::try_from(entries).unwrap_or(u64::MAX);
        let name = source.name();
        let pushes = source.push() != Push::None;
        let push_up = metrics.filter(|_| pushes);
        let push_up = push_up.map(|metrics| metrics.source_push_up(name));
        let remote = RemoteSettings {
            source,
            clock: Arc::clone(clock),
            capacity: capacity(config.cache.capacity),
            ttl: config.cache.ttl,
            negative_capacity: capacity(config.cache.negative_capacity),
            negative_ttl: config.cache.negative_ttl,
            stale_if_error: config.cache.stale_if_error,
            max_in_flight,
            metrics: metrics.map(|metrics| metrics.source(name)).transpose()?,
            heard: metrics.map(|metrics| metrics.invalidations.push.clone()),
            push_up: push_up.transpose()?,
        };
        let cache = KeyCache::for_source(remote, prepare);
        Ok(match metrics {
            Some(metrics) => cache.counted_by(metrics.cache.clone()),
            None => cache,
        })
    }
}
