//! What a reload replaces: the snapshot that checks use, what was prepared under it, and what is
//! shown.
//!
//! One pointer is swapped here, and so a check sees one configuration and its keys, never a
//! mixture.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::admin::Admin;
use super::super::prepared_key::PreparedKey;
use crate::authorizer::Authorizer;
use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::config::Config;
use crate::keys::cache::KeyCache;
use crate::observe::Observer;
use crate::observe::metrics::SourceMetrics;

/// The parts of a running server that a reload changes.
pub(crate) struct LiveState {
    /// Takes the new snapshot.
    pub(crate) authorizer: Arc<Authorizer<PreparedKey>>,
    /// Counts reloads, and takes the new log settings.
    pub(crate) observer: Observer,
    /// The metrics of the source of keys.
    pub(crate) source: SourceMetrics,
    /// Shows the new configuration and the state of the keys' files.
    pub(crate) admin: Arc<Admin>,
}

impl LiveState {
    /// Swaps the snapshot: checks that begin from now on use this policy, and a file's keys. Keys
    /// of a remote source are not part of it; the cache checks each against the policy at its next
    /// use.
    pub(super) fn install(
        &self,
        generation: Generation,
        policy: &Arc<Policy>,
        keys: Option<&Arc<KeyMap>>,
        now: Timestamp,
    ) {
        let metrics = &self.observer.metrics;
        metrics.set_observing(policy.mode == Mode::Observe);
        if let Some(keys) = keys {
            metrics.keys_changed(generation, keys.iter().map(|record| &**record), now);
        }
        self.authorizer.install(Arc::new(Snapshot {
            generation,
            policy: Arc::clone(policy),
            keys: keys.cloned(),
        }));
        if let KeyCache::File(keys) = self.authorizer.cache() {
            // What was prepared under the generation before would otherwise stay in memory.
            keys.clear();
        }
    }
}

/// Logs what an operator should know about a configuration that is now in use.
pub(crate) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}
