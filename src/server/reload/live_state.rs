//! What a reload changes: the snapshot that checks are decided by, what was prepared under the one before, and what is shown.
//!
//! The one pointer is swapped here. The keys of a file come with the snapshot; those of a remote source are looked up, and what
//! was learnt of them is held to the new policy when it is used.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::admin::Admin;
use super::super::prepared_key::PreparedKey;
use crate::authorizer::Authorizer;
use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::config::Config;
use crate::observe::Observer;
use crate::observe::metrics::SourceMetrics;

/// What a reload changes.
pub(crate) struct LiveState {
    /// Takes the new snapshot.
    pub(crate) authorizer: Arc<Authorizer<PreparedKey>>,
    /// Counts, and takes the new log settings.
    pub(crate) observer: Observer,
    /// Of the source of keys.
    pub(crate) source: SourceMetrics,
    /// Shows the new configuration and the state of a file.
    pub(crate) admin: Arc<Admin>,
}

impl LiveState {
    /// Puts a policy and a file's keys in force.
    pub(super) fn install(
        &self,
        generation: Generation,
        policy: &Arc<Policy>,
        keys: &Arc<KeyMap>,
        now: Timestamp,
    ) {
        self.show_mode(policy);
        let records = keys.iter().map(|record| &**record);
        self.observer.metrics.keys_changed(generation, records, now);
        self.authorizer.install(Arc::new(Snapshot {
            generation,
            policy: Arc::clone(policy),
            keys: Some(Arc::clone(keys)),
        }));
        // What was prepared under the generation before would else stay in memory.
        self.authorizer.cache().clear();
    }

    /// Puts a policy in force under which a remote source's keys are used from now on. What the cache holds of them is held to it at
    /// its next use.
    pub(super) fn install_policy(&self, generation: Generation, policy: &Arc<Policy>) {
        self.show_mode(policy);
        self.authorizer.install(Arc::new(Snapshot {
            generation,
            policy: Arc::clone(policy),
            keys: None,
        }));
    }

    fn show_mode(&self, policy: &Policy) {
        let is_observing = policy.mode == Mode::Observe;
        self.observer.metrics.set_observing(is_observing);
    }
}

/// Tells what the operator of a configuration that is in force now should know.
pub(crate) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}
