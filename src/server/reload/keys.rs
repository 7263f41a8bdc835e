//! The keys' part of a reload: installing what was read, and reporting it.
//!
//! Keys are installed under the current configuration, and faulty files are reported once in the
//! log, and for as long as they last in `/readyz` and the metrics.

use std::sync::Arc;
use std::time::Duration;

use super::super::admin::KeyFilesState;
use super::super::key_files::{KeyFiles, KeyReload};
use super::Reloader;
use crate::authz::snapshot::Generation;
use crate::keys::cache::KeyCache;
use crate::observe::metrics::ReloadTarget;

impl Reloader {
    /// Reads the keys' files that are due, or all if `forced`. Keys of a remote source are looked
    /// up again at their next use.
    pub(super) fn reload_keys(&mut self, forced: bool) {
        let now = self.clock.monotonic();
        let Some(key_files) = &mut self.key_files else {
            return self.revalidate_keys();
        };
        let reload = key_files.reload(&self.config.policy, forced, now);
        if reload.changes_keys() {
            self.install();
        }
        self.report_keys(reload, forced);
    }

    /// Installs the current configuration and keys as a new generation.
    pub(super) fn install(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        let keys = self.key_files.as_ref().map(KeyFiles::keys);
        let (policy, now) = (&self.config.policy, self.clock.now());
        self.live.install(self.generation, policy, keys, now);
    }

    /// Counts, logs and shows what came of reading the keys' files.
    pub(super) fn report_keys(&mut self, reload: KeyReload, forced: bool) {
        let changed = reload.changes_keys();
        let failure = match reload {
            KeyReload::Unchanged => return,
            KeyReload::Complete => None,
            KeyReload::Partial { problems, .. } => Some(problems),
        };
        let files = self.key_files.as_ref();
        let keys = files.map_or(0, |files| files.keys().len());
        let generation = self.generation.0;
        let metrics = &self.live.observer.metrics;
        self.live.source.set_up(failure.is_none());
        if changed {
            metrics.invalidations.file.inc();
        }
        if let Some(problems) = &failure {
            metrics.reloads.failed(ReloadTarget::Keys);
            if changed {
                tracing::info!(
                    keys,
                    generation,
                    "keys reloaded, except those of faulty files"
                );
            }
            let now = self.clock.monotonic();
            if self
                .key_problem
                .should_report(problems, Duration::ZERO, now)
                || forced
            {
                log_problems(problems, files.is_some_and(KeyFiles::are_partly_usable));
            }
        } else {
            let now = self.clock.now();
            metrics.reloads.succeeded(ReloadTarget::Keys, now);
            tracing::info!(keys, generation, "keys reloaded");
            self.key_problem.clear();
        }
        let state = KeyFilesState { keys, failure };
        self.live.admin.file.store(Arc::new(state));
    }

    /// Has each key of a remote source looked up again at its next use, which is for them what
    /// reading the files again is.
    pub(super) fn revalidate_keys(&self) {
        if let KeyCache::Remote(keys) = self.live.authorizer.cache() {
            keys.revalidate_all();
        }
        let reloads = &self.live.observer.metrics.reloads;
        reloads.succeeded(ReloadTarget::Keys, self.clock.now());
        tracing::info!("each key is looked up again at its next use");
    }
}

fn log_problems(problems: &str, are_partly_usable: bool) {
    if are_partly_usable {
        tracing::error!(
            problems,
            "keys not reloaded of faulty files; their last valid ones are kept"
        );
    } else {
        tracing::error!(problems, "keys not reloaded; the active ones are kept");
    }
}
