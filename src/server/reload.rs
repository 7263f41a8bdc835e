//! Reading configuration, keys and certificates again while the server runs.
//!
//! All of it happens on one thread that serves nobody: look, read, judge, and swap one pointer. Whatever cannot be used
//! changes nothing, is told once, and is tried again. Configuration and keys are taken in one snapshot: keys by the
//! configuration in force, and a new configuration only if the keys fit it. Neither waits for the other to be written.

mod live_state;
mod rejection;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(crate) use self::live_state::{LiveState, log_warnings};
use self::rejection::ReloadRejection;
use super::admin::KeyFilesState;
use super::files::ConfigFile;
use super::key_files::{Judgement, KeyFiles};
use super::phase::{Phase, PhaseWatch};
use super::rotation::Rotation;
use crate::authz::snapshot::Generation;
use crate::clock::Clock;
use crate::config::Config;
use crate::observe::metrics::ReloadTarget;
use crate::watch::events::{DirectoryWatch, FileEvent};
use crate::watch::{ReadResult, ReloadAdvice, SETTLE_TIME};

/// How often everything is looked at where no event tells: subPath mounts and network file systems never do.
const POLL: Duration = Duration::from_secs(5);
/// From an event to the look: so many looks a second at most.
const BREATH: Duration = Duration::from_millis(5);
/// When to look again at what changed while it was read.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// Follows the files that the server was built from.
pub(crate) struct Reloader {
    live: LiveState,
    clock: Arc<dyn Clock>,
    config: Config,
    generation: Generation,
    config_file: ConfigFile,
    /// `None` where keys are looked up at a remote source.
    key_files: Option<KeyFiles>,
    rotation: Option<Rotation>,
    watch: DirectoryWatch,
    /// The last configuration was refused because the keys do not fit it.
    config_waits_for_keys: bool,
    /// Everything is to be read, whether it changed or not.
    is_forced: bool,
    /// What was told of the keys' files that is wrong with them.
    logged_key_problems: Option<String>,
}

/// What was read at start, for whoever follows it.
pub(crate) struct Start {
    /// The configuration.
    pub(crate) config: Config,
    /// Its file.
    pub(crate) config_file: ConfigFile,
    /// The keys' files; `None` where keys are looked up at a remote source.
    pub(crate) key_files: Option<KeyFiles>,
    /// The certificates.
    pub(crate) rotation: Option<Rotation>,
    /// The generation of the first snapshot.
    pub(crate) generation: Generation,
}

impl Reloader {
    /// Follows what was read at start.
    pub(crate) fn new(live: LiveState, start: Start, clock: Arc<dyn Clock>) -> Self {
        let Start {
            config,
            config_file,
            key_files,
            rotation,
            generation,
        } = start;
        let of_certificates = rotation
            .iter()
            .flat_map(|files| files.followed.directories());
        let of_keys = key_files.iter().flat_map(KeyFiles::directories);
        let of_config = config_file.followed.directories();
        let watch = DirectoryWatch::new(of_config.chain(of_keys).chain(of_certificates));
        Self {
            live,
            clock,
            config,
            generation,
            config_file,
            key_files,
            rotation,
            watch,
            config_waits_for_keys: false,
            is_forced: false,
            logged_key_problems: None,
        }
    }

    /// Follows the files until the phase is `Stopped`, and reads them at every order. Blocks the thread.
    pub(crate) fn run(
        mut self,
        mut requests: mpsc::Receiver<()>,
        mut phase: PhaseWatch,
        runtime: &Handle,
    ) {
        runtime.block_on(async {
            loop {
                // A directory may have been replaced, and its watch is dead then.
                self.watch.renew();
                let rest = self.follow();
                tokio::select! {
                    // In this order, for nothing else may be waited for once the runtime is going away.
                    biased;
                    () = phase.reached(Phase::Stopped) => return,
                    Some(()) = requests.recv() => self.is_forced = true,
                    event = self.watch.next() => {
                        self.note(&event);
                        // One change makes several events, and a busy directory makes many that are none of ours.
                        tokio::select! {
                            biased;
                            () = phase.reached(Phase::Stopped) => return,
                            () = tokio::time::sleep(BREATH) => {}
                        }
                    }
                    () = tokio::time::sleep(rest) => {}
                }
            }
        });
    }

    fn note(&mut self, event: &FileEvent) {
        let Some(moved) = &event.moved else { return };
        self.config_file.followed.note(moved);
        if let Some(key_files) = &mut self.key_files {
            key_files.note(moved);
        }
        if let Some(rotation) = &mut self.rotation {
            rotation.followed.note(moved);
        }
    }

    /// Looks at everything, reads what is to be read, and tells when to look again.
    fn follow(&mut self) -> Duration {
        while let Some(event) = self.watch.try_next() {
            self.note(&event);
        }
        let forced = std::mem::take(&mut self.is_forced);
        let rotation = self.rotation.as_mut();
        let mut rest = rotation
            .and_then(|rotation| rotation.follow(forced, &*self.clock))
            .unwrap_or(POLL);
        let look = self.config_file.look(&*self.clock);
        let now = self.clock.monotonic();
        let keys = self.key_files.as_mut().map(|files| files.look(now));
        for advice in [Some(look.advice), keys].into_iter().flatten() {
            if let ReloadAdvice::Wait(time) = advice {
                rest = rest.min(time);
            }
        }
        let are_keys_due = keys == Some(ReloadAdvice::Read);
        let is_config_due = look.advice == ReloadAdvice::Read
            || (!look.in_flux && (forced || (self.config_waits_for_keys && are_keys_due)));
        // A new configuration takes the keys with it.
        let taken = if is_config_due {
            rest = rest.min(SETTLE_TIME);
            self.reload_config(forced)
        } else {
            ConfigReload::Same
        };
        if taken == ConfigReload::Changing {
            rest = rest.min(RETRY);
        }
        if (forced || are_keys_due) && taken != ConfigReload::Adopted {
            rest = rest.min(SETTLE_TIME);
            self.reload_keys(forced);
        }
        if self.key_files.as_ref().is_some_and(KeyFiles::are_changing) {
            rest = rest.min(RETRY);
        }
        rest
    }

    fn reload_config(&mut self, forced: bool) -> ConfigReload {
        let (outcome, news) = self.config_file.read(&*self.clock);
        match news {
            ReadResult::Changing => return ConfigReload::Changing,
            ReadResult::Same if outcome.is_ok() && !forced && !self.config_waits_for_keys => {
                return ConfigReload::Same;
            }
            ReadResult::Same | ReadResult::New => {}
        }
        self.config_waits_for_keys = false;
        let adopted = outcome
            .map_err(ReloadRejection::from)
            .and_then(|config| self.adopt(config, forced));
        let reloads = &self.live.observer.metrics.reloads;
        match adopted {
            Ok(()) => {
                reloads.succeeded(ReloadTarget::Config, self.clock.now());
                self.config_file.followed.clear_problem();
                tracing::info!(generation = self.generation.0, "configuration reloaded");
                log_warnings(&self.config);
                ConfigReload::Adopted
            }
            Err(refusal) => {
                self.config_waits_for_keys = refusal.is_of_keys();
                let problems = refusal.to_string();
                let now = self.clock.monotonic();
                let is_untold = self.config_file.followed.should_report(&problems, now) || forced;
                // What is tried again in vain is the same failure.
                if is_untold || news == ReadResult::New {
                    reloads.failed(ReloadTarget::Config);
                }
                if is_untold {
                    tracing::error!(
                        problems,
                        "configuration not reloaded; the one in force stays"
                    );
                }
                ConfigReload::Refused
            }
        }
    }

    /// Puts a new configuration in force, with the keys as they are now.
    fn adopt(&mut self, config: Config, forced: bool) -> Result<(), ReloadRejection> {
        let fixed = self.config.fixed_parts_changed(&config);
        if !fixed.is_empty() {
            return Err(ReloadRejection::NeedsRestart(fixed));
        }
        let judgement = match &mut self.key_files {
            Some(key_files) => {
                let now = self.clock.monotonic();
                let fitted = key_files.refit(&config.policy, forced, now);
                Some(fitted.map_err(ReloadRejection::KeysDoNotFit)?)
            }
            None => None,
        };
        self.config = config;
        self.install();
        self.live.observer.log.reconfigure(self.config.log);
        self.live.admin.config.store(Arc::new(shown(&self.config)));
        match judgement {
            Some(judgement) => self.report_keys(judgement, forced),
            None if forced => self.revalidate_keys(),
            None => {}
        }
        Ok(())
    }

    fn reload_keys(&mut self, forced: bool) {
        let now = self.clock.monotonic();
        let Some(key_files) = &mut self.key_files else {
            return self.revalidate_keys();
        };
        let judgement = key_files.reload(&self.config.policy, forced, now);
        let installs = match &judgement {
            Judgement::Nothing => return,
            Judgement::Whole => true,
            Judgement::AtFault { changed, .. } => *changed,
        };
        if installs {
            self.install();
        }
        self.report_keys(judgement, forced);
    }

    fn install(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        let (generation, policy) = (self.generation, &self.config.policy);
        let now = self.clock.now();
        match &self.key_files {
            Some(files) => {
                let keys = files.keys();
                self.live.install(generation, policy, keys, now);
            }
            None => self.live.install_policy(generation, policy),
        }
    }

    /// Counts and tells what became of the keys' files.
    fn report_keys(&mut self, judgement: Judgement, forced: bool) {
        let LiveState {
            observer,
            source,
            admin,
            ..
        } = &self.live;
        let keys = self
            .key_files
            .as_ref()
            .map_or(0, |files| files.keys().len());
        let (failure, changed) = match judgement {
            Judgement::Nothing => return,
            Judgement::Whole => (None, true),
            Judgement::AtFault { problems, changed } => (Some(problems), changed),
        };
        let reloads = &observer.metrics.reloads;
        source.set_up(failure.is_none());
        if changed {
            observer.metrics.invalidations.file.inc();
        }
        match &failure {
            None => {
                reloads.succeeded(ReloadTarget::Keys, self.clock.now());
                tracing::info!(keys, generation = self.generation.0, "keys reloaded");
            }
            Some(problems) => {
                reloads.failed(ReloadTarget::Keys);
                if changed {
                    tracing::info!(
                        keys,
                        generation = self.generation.0,
                        "keys reloaded, but for those of files that are at fault"
                    );
                }
                if self.logged_key_problems != failure || forced {
                    let files = self.key_files.as_ref();
                    if files.is_some_and(KeyFiles::are_partly_right) {
                        tracing::error!(
                            problems,
                            "keys not reloaded of the files at fault, which keep their last ones"
                        );
                    } else {
                        tracing::error!(problems, "keys not reloaded; those in force stay");
                    }
                }
            }
        }
        self.logged_key_problems.clone_from(&failure);
        admin.file.store(Arc::new(KeyFilesState { keys, failure }));
    }

    /// Has the keys of a remote source looked up anew, as those of a file are read anew.
    fn revalidate_keys(&self) {
        self.live.authorizer.cache().revalidate_all();
        let reloads = &self.live.observer.metrics.reloads;
        reloads.succeeded(ReloadTarget::Keys, self.clock.now());
        tracing::info!("each key is looked up anew at its next use");
    }
}

/// What came of reading the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigReload {
    /// It is in force, with the keys as they are now.
    Adopted,
    /// It cannot be.
    Refused,
    /// It is what it was.
    Same,
    /// It was being written.
    Changing,
}

/// A configuration as `/config` shows it.
pub(crate) fn shown(config: &Config) -> String {
    format!("{:#}\n", config.effective())
}
