//! Reading configuration, keys and certificates again while the server runs.
//!
//! All of it happens on one thread that serves nobody: look, read, judge, and swap one pointer. Whatever cannot be used
//! changes nothing, is told once and counted each time. Configuration and keys are taken in one snapshot: keys by the
//! configuration in force, and a new configuration only if the keys fit it.

mod in_force;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(crate) use self::in_force::{InForce, tell_warnings};
use self::refusal::Refusal;
use super::admin::FileState;
use super::files::{self, Environment, Taken};
use super::followed::{Followed, Look, News};
use super::phase::{Phase, PhaseWatch};
use super::rotation::Rotation;
use super::watch::{Happened, Watch};
use crate::authz::clock::Clock;
use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::Generation;
use crate::config::Config;
use crate::keys::file::LoadError;
use crate::keys::stillness::{Advice, STILL_FOR};
use crate::observe::metrics::What;

/// How often everything is looked at where no event tells: subPath mounts and network file systems never do.
const POLL: Duration = Duration::from_secs(5);
/// From an event to the look: so many looks a second at most.
const BREATH: Duration = Duration::from_millis(5);
/// When to look again at what changed while it was read.
const RETRY: Duration = Duration::from_millis(100);

/// Follows the files that the server was built from.
pub(crate) struct Reloader {
    in_force: InForce,
    clock: Arc<dyn Clock>,
    env: Environment,
    config: Config,
    generation: Generation,
    config_file: Followed,
    /// `None` where keys are looked up at a remote source.
    key_file: Option<Followed>,
    rotation: Option<Rotation>,
    watch: Watch,
    /// The last configuration was refused because the keys do not fit it.
    config_waits_for_keys: bool,
    /// A configuration was read and the keys were being written: both are to be read when those stand still.
    config_is_due: bool,
    /// Everything is to be read, whether it changed or not.
    is_ordered: bool,
}

/// What was read at start, for whoever follows it.
pub(crate) struct Start {
    /// The configuration.
    pub(crate) config: Config,
    /// Its file.
    pub(crate) config_file: Followed,
    /// The keys' file; `None` where keys are looked up at a remote source.
    pub(crate) key_file: Option<Followed>,
    /// The certificates.
    pub(crate) rotation: Option<Rotation>,
    /// The generation of the first snapshot.
    pub(crate) generation: Generation,
}

impl Reloader {
    /// Follows what was read at start.
    pub(crate) fn new(
        in_force: InForce,
        start: Start,
        env: Environment,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let Start {
            config,
            config_file,
            key_file,
            rotation,
            generation,
        } = start;
        let certificates = rotation.iter().flat_map(Rotation::directories);
        let directories = std::iter::once(config_file.directory())
            .chain(key_file.as_ref().map(Followed::directory))
            .chain(certificates);
        let watch = Watch::new(directories);
        Self {
            in_force,
            clock,
            env,
            config,
            generation,
            config_file,
            key_file,
            rotation,
            watch,
            config_waits_for_keys: false,
            config_is_due: false,
            is_ordered: false,
        }
    }

    /// Follows the files until the phase is `Over`, and reads them at every order. Blocks the thread.
    pub(crate) fn run(
        mut self,
        mut orders: mpsc::Receiver<()>,
        mut phase: PhaseWatch,
        runtime: &Handle,
    ) {
        runtime.block_on(async {
            loop {
                let rest = self.follow();
                tokio::select! {
                    // In this order, for nothing else may be waited for once the runtime is going away.
                    biased;
                    () = phase.reached(Phase::Over) => return,
                    Some(()) = orders.recv() => self.is_ordered = true,
                    happened = self.watch.next() => {
                        self.note(&happened);
                        // One change makes several events, and a busy directory makes many that are none of ours.
                        tokio::select! {
                            biased;
                            () = phase.reached(Phase::Over) => return,
                            () = tokio::time::sleep(BREATH) => {}
                        }
                    }
                    () = tokio::time::sleep(rest) => self.watch.renew(),
                }
            }
        });
    }

    fn note(&mut self, happened: &Happened) {
        self.config_file.note(happened);
        if let Some(key_file) = &mut self.key_file {
            key_file.note(happened);
        }
    }

    /// Looks at everything, reads what is to be read, and tells when to look again.
    fn follow(&mut self) -> Duration {
        while let Some(happened) = self.watch.waiting() {
            self.note(&happened);
        }
        let now = self.clock.monotonic();
        let mut rest = POLL;
        if let Some(rotation) = &mut self.rotation {
            rest = rest.min(rotation.follow(now).unwrap_or(POLL));
        }
        let config = self.config_file.look(now);
        let keys = match &mut self.key_file {
            Some(key_file) => key_file.look(now),
            None => Look::NOTHING,
        };
        for look in [config, keys] {
            if let Advice::Wait(time) = look.advice {
                rest = rest.min(time);
            }
        }
        // A new configuration takes the keys with it, and half of either must not be read.
        if config.in_flux || keys.in_flux {
            return rest;
        }
        let ordered = std::mem::take(&mut self.is_ordered);
        if ordered && self.key_file.is_none() {
            self.doubt_keys();
        }
        let keys_to_read = keys.advice == Advice::Read;
        let mut settling = None;
        let config_to_read = config.advice == Advice::Read || self.config_is_due;
        if ordered || config_to_read || (self.config_waits_for_keys && keys_to_read) {
            settling = Some(self.reload_config(ordered));
        }
        if (ordered || keys_to_read) && settling.is_none_or(|done| !done.keys_taken) {
            let news = self.reload_keys(ordered);
            settling = Some(Done {
                keys_taken: news != News::Unknown,
                is_known: news != News::Unknown,
            });
        }
        match settling {
            None => rest,
            Some(done) if done.is_known => rest.min(STILL_FOR),
            Some(_) => RETRY,
        }
    }

    fn reload_config(&mut self, ordered: bool) -> Done {
        let Taken { outcome, facts } = files::read_config(self.config_file.path(), self.env);
        let news = self.config_file.was_read(facts, self.clock.monotonic());
        match news {
            News::Unknown => {
                return Done {
                    keys_taken: true,
                    is_known: false,
                };
            }
            News::Same if !ordered && !self.config_waits_for_keys && !self.config_is_due => {
                return Done {
                    keys_taken: false,
                    is_known: true,
                };
            }
            News::Same | News::New => {}
        }
        self.config_waits_for_keys = false;
        self.config_is_due = false;
        let adopted = outcome
            .map_err(Refusal::from)
            .and_then(|config| self.adopt(config, ordered));
        let reloads = &self.in_force.observer.metrics.reloads;
        match adopted {
            Ok(()) => {
                reloads.succeeded(What::Config, self.clock.now());
                self.config_file.is_well();
                tracing::info!(generation = self.generation.0, "configuration reloaded");
                tell_warnings(&self.config);
                Done {
                    keys_taken: true,
                    is_known: true,
                }
            }
            Err(Refusal::KeysInFlux) => {
                self.config_is_due = true;
                Done {
                    keys_taken: true,
                    is_known: false,
                }
            }
            Err(refusal) => {
                reloads.failed(What::Config);
                self.config_waits_for_keys = refusal.is_of_keys();
                let problems = refusal.to_string();
                if self.config_file.is_untold(&problems) || ordered {
                    tracing::error!(
                        problems,
                        "configuration not reloaded; the one in force stays"
                    );
                }
                Done {
                    keys_taken: false,
                    is_known: true,
                }
            }
        }
    }

    /// Puts a new configuration in force, with the keys as they are now.
    fn adopt(&mut self, config: Config, ordered: bool) -> Result<(), Refusal> {
        let fixed = self.config.fixed_parts_changed(&config);
        if !fixed.is_empty() {
            return Err(Refusal::NeedsRestart(fixed));
        }
        let (keys, news) = match &mut self.key_file {
            Some(key_file) => {
                let Taken { outcome, facts } = files::read_keys(key_file.path(), &config.policy);
                if !key_file.is_as_judged(&facts) {
                    return Err(Refusal::KeysInFlux);
                }
                let keys = outcome.map_err(Refusal::KeysDoNotFit)?;
                let news = key_file.was_read(facts, self.clock.monotonic());
                (Some(keys), news)
            }
            None => (None, News::Same),
        };
        self.config = config;
        self.install(keys);
        self.in_force.observer.log.reconfigure(self.config.log);
        self.in_force
            .admin
            .config
            .store(Arc::new(shown(&self.config)));
        if self.key_file.is_some() && (ordered || news == News::New) {
            self.keys_succeeded();
        }
        Ok(())
    }

    fn reload_keys(&mut self, ordered: bool) -> News {
        let Some(key_file) = &mut self.key_file else {
            return News::Same;
        };
        let Taken { outcome, facts } = files::read_keys(key_file.path(), &self.config.policy);
        let news = key_file.was_read(facts, self.clock.monotonic());
        if news == News::Unknown || (news == News::Same && !ordered) {
            return news;
        }
        match outcome {
            Ok(keys) => {
                self.install(Some(keys));
                self.keys_succeeded();
            }
            Err(error) => self.keys_failed(&error, ordered),
        }
        news
    }

    fn install(&mut self, keys: Option<KeyMap>) {
        self.generation = Generation(self.generation.0 + 1);
        let (generation, policy) = (self.generation, &self.config.policy);
        match keys {
            Some(keys) => self
                .in_force
                .install(generation, policy, keys, self.clock.now()),
            None => self.in_force.install_policy(generation, policy),
        }
    }

    fn keys_succeeded(&mut self) {
        let InForce {
            observer,
            source,
            admin,
            ..
        } = &self.in_force;
        observer
            .metrics
            .reloads
            .succeeded(What::Keys, self.clock.now());
        observer.metrics.invalidations.file.inc();
        source.set_up(true);
        if let Some(key_file) = &mut self.key_file {
            key_file.is_well();
        }
        tracing::info!(
            keys = admin.file.load().keys,
            generation = self.generation.0,
            "keys reloaded"
        );
    }

    /// Has the keys of a remote source looked up anew, as those of a file are read anew.
    fn doubt_keys(&self) {
        self.in_force.authorizer.cache().doubt_all();
        let reloads = &self.in_force.observer.metrics.reloads;
        reloads.succeeded(What::Keys, self.clock.now());
        tracing::info!("each key is looked up anew at its next use");
    }

    fn keys_failed(&mut self, error: &LoadError, ordered: bool) {
        let InForce {
            observer,
            source,
            admin,
            ..
        } = &self.in_force;
        observer.metrics.reloads.failed(What::Keys);
        source.set_up(false);
        let problems = error.to_string();
        let keys = admin.file.load().keys;
        admin.file.store(Arc::new(FileState {
            keys,
            failure: Some(problems.clone()),
        }));
        let untold = self
            .key_file
            .as_mut()
            .is_some_and(|key_file| key_file.is_untold(&problems));
        if untold || ordered {
            tracing::error!(problems, "keys not reloaded; those in force stay");
        }
    }
}

/// What came of reading the configuration.
#[derive(Debug, Clone, Copy)]
struct Done {
    /// The keys were read with it.
    keys_taken: bool,
    /// It was read whole.
    is_known: bool,
}

/// A configuration as `/config` shows it.
pub(crate) fn shown(config: &Config) -> String {
    format!("{:#}\n", config.effective())
}
