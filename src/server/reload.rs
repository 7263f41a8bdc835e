//! Reading configuration, keys and certificates again while the server runs.
//!
//! All of it happens on one thread that serves no checks: look, read, check, and swap one pointer.
//! Files that cannot be used change nothing, are reported once, and are tried again. Configuration
//! and keys go into one snapshot: keys are read under the current configuration, and a new
//! configuration is adopted only with keys that fit it. Neither waits for the other to be written.

mod keys;
mod live_state;
mod rejection;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(crate) use self::live_state::{LiveState, log_warnings};
use self::rejection::ReloadRejection;
use super::certificates::CertificateReloader;
use super::config_file::WatchedConfig;
use super::key_files::KeyFiles;
use super::phase::{Phase, PhaseWatch};
use crate::authz::snapshot::Generation;
use crate::clock::Clock;
use crate::config::Config;
use crate::observe::metrics::ReloadTarget;
use crate::watch::events::DirectoryWatch;
use crate::watch::{ReadOutcome, ReloadAdvice, ReportedProblem, SETTLE_TIME};

/// How often all files are looked at without an event: subPath mounts and network file systems send
/// none.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// When to look again at a file that changed while it was read.
pub(super) const CHANGING_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Follows the files that the server was built from.
pub(crate) struct Reloader {
    live: LiveState,
    clock: Arc<dyn Clock>,
    config: Config,
    generation: Generation,
    config_file: WatchedConfig,
    /// `None` if keys are looked up at a remote source.
    key_files: Option<KeyFiles>,
    certificates: Option<CertificateReloader>,
    directories: DirectoryWatch,
    /// The last configuration was rejected because the keys do not fit it.
    config_waits_for_keys: bool,
    rejection: ReportedProblem,
    key_problem: ReportedProblem,
}

/// What was read at start, to be followed.
pub(crate) struct ReloadInputs {
    pub(crate) config: Config,
    pub(crate) config_file: WatchedConfig,
    /// The keys' files; `None` if keys are looked up at a remote source.
    pub(crate) key_files: Option<KeyFiles>,
    pub(crate) certificates: Option<CertificateReloader>,
    pub(crate) generation: Generation,
}

impl Reloader {
    /// Follows what was read at start.
    pub(crate) fn new(live: LiveState, start: ReloadInputs, clock: Arc<dyn Clock>) -> Self {
        let ReloadInputs {
            config,
            config_file,
            key_files,
            certificates,
            generation,
        } = start;
        let of_config = config_file.watched.directories();
        let of_keys = key_files.iter().flat_map(KeyFiles::directories);
        let of_certificates = certificates.iter();
        let of_certificates = of_certificates.flat_map(|files| files.watched.directories());
        let directories = DirectoryWatch::new(of_config.chain(of_keys).chain(of_certificates));
        Self {
            live,
            clock,
            config,
            generation,
            config_file,
            key_files,
            certificates,
            directories,
            config_waits_for_keys: false,
            rejection: ReportedProblem::default(),
            key_problem: ReportedProblem::default(),
        }
    }

    /// Follows the files until the phase is `Stopped`. Reads all of them at each request, changed
    /// or not. Blocks the thread.
    pub(crate) fn run(
        mut self,
        mut requests: mpsc::Receiver<()>,
        mut phase: PhaseWatch,
        runtime: &Handle,
    ) {
        runtime.block_on(async {
            let mut forced = false;
            loop {
                // Before the look: what happens in a directory between being replaced and being
                // watched again makes no event, and must be seen by looking.
                self.directories.renew();
                let wait = self.follow(forced);
                forced = tokio::select! {
                    // In this order: when the runtime shuts down, no timer fires any more.
                    biased;
                    () = phase.reached(Phase::Stopped) => return,
                    Some(()) = requests.recv() => true,
                    () = self.directories.changed(wait) => false,
                }
            }
        });
    }

    /// Looks at all files, reads those that are due, or all if `forced`, and gives when to look
    /// again at the latest.
    fn follow(&mut self, forced: bool) -> Duration {
        for path in self.directories.take_moved() {
            self.note_moved(&path);
        }
        let certificates = self.certificates.as_mut();
        let mut wait = certificates
            .and_then(|files| files.follow(forced, &*self.clock))
            .unwrap_or(POLL_INTERVAL);
        let now = self.clock.monotonic();
        let config = self.config_file.watched.look(now);
        let keys = self.key_files.as_mut().map(|files| files.look(now));
        for advice in [Some(config.advice), keys].into_iter().flatten() {
            if let ReloadAdvice::Wait(time) = advice {
                wait = wait.min(time);
            }
        }
        let are_keys_due = forced || keys == Some(ReloadAdvice::Read);
        let is_config_due = config.advice == ReloadAdvice::Read
            || (!config.in_flux && (forced || (self.config_waits_for_keys && are_keys_due)));
        // The configuration goes first: a new one reads the keys under its own policy, and then
        // they need not be read again. If it is rejected, the keys are read under the current one.
        let result = if is_config_due {
            wait = wait.min(SETTLE_TIME);
            self.reload_config(forced)
        } else {
            ConfigReload::Unchanged
        };
        if result == ConfigReload::Changing {
            wait = wait.min(CHANGING_RETRY_INTERVAL);
        }
        if are_keys_due && result != ConfigReload::Adopted {
            wait = wait.min(SETTLE_TIME);
            self.reload_keys(forced);
        }
        if self.key_files.as_ref().is_some_and(KeyFiles::are_changing) {
            wait = wait.min(CHANGING_RETRY_INTERVAL);
        }
        wait
    }

    fn note_moved(&mut self, path: &std::path::Path) {
        self.config_file.watched.note_moved(path);
        if let Some(key_files) = &mut self.key_files {
            key_files.note_moved(path);
        }
        if let Some(certificates) = &mut self.certificates {
            certificates.watched.note_moved(path);
        }
    }

    fn reload_config(&mut self, forced: bool) -> ConfigReload {
        let (config, is_new) = match self.config_file.read(&*self.clock) {
            ReadOutcome::Changing => return ConfigReload::Changing,
            ReadOutcome::Unusable {
                error,
                is_new,
                report,
                ..
            } => {
                self.config_waits_for_keys = false;
                self.rejection.clear();
                self.report_rejection(&error.into(), is_new, report || forced);
                return ConfigReload::Rejected;
            }
            ReadOutcome::Usable { value, is_new } => (value, is_new),
        };
        if !is_new && !forced && !self.config_waits_for_keys {
            return ConfigReload::Unchanged;
        }
        match self.adopt(config, forced) {
            Ok(()) => {
                self.config_waits_for_keys = false;
                self.rejection.clear();
                let reloads = &self.live.observer.metrics.reloads;
                reloads.succeeded(ReloadTarget::Config, self.clock.now());
                tracing::info!(generation = self.generation.0, "configuration reloaded");
                log_warnings(&self.config);
                ConfigReload::Adopted
            }
            Err(rejection) => {
                self.config_waits_for_keys = rejection.is_of_keys();
                let (text, now) = (rejection.to_string(), self.clock.monotonic());
                let is_unreported = self.rejection.should_report(&text, Duration::ZERO, now);
                self.report_rejection(&rejection, is_new, is_unreported || forced);
                ConfigReload::Rejected
            }
        }
    }

    /// Counts and logs a configuration that is not adopted. A retry that fails in the same way is
    /// neither counted nor logged.
    fn report_rejection(&self, rejection: &ReloadRejection, is_new: bool, report: bool) {
        if report || is_new {
            self.live
                .observer
                .metrics
                .reloads
                .failed(ReloadTarget::Config);
        }
        if report {
            tracing::error!(
                problems = rejection.to_string(),
                "configuration not reloaded; the active one is kept"
            );
        }
    }

    /// Takes over a new configuration, with the keys as they are now.
    fn adopt(&mut self, config: Config, forced: bool) -> Result<(), ReloadRejection> {
        let fixed = self.config.fixed_parts_changed(&config);
        if !fixed.is_empty() {
            return Err(ReloadRejection::NeedsRestart(fixed));
        }
        let key_reload = match &mut self.key_files {
            Some(key_files) => {
                let now = self.clock.monotonic();
                let reload = key_files.recheck(&config.policy, forced, now);
                Some(reload.map_err(ReloadRejection::KeysUnusable)?)
            }
            None => None,
        };
        self.config = config;
        self.install();
        self.live.observer.log.reconfigure(self.config.log);
        let shown = Arc::new(shown(&self.config));
        self.live.admin.config.store(shown);
        match key_reload {
            Some(reload) => self.report_keys(reload, forced),
            None if forced => self.revalidate_keys(),
            None => {}
        }
        Ok(())
    }
}

/// What came of reading the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigReload {
    /// It is in use, with the keys as they are now.
    Adopted,
    Rejected,
    /// It is what it was.
    Unchanged,
    Changing,
}

/// A configuration as `/config` shows it.
pub(crate) fn shown(config: &Config) -> String {
    format!("{:#}\n", config.effective())
}
