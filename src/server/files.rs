//! The configuration's file: read whole or not at all, and followed.
//!
//! Plain functions that block, for threads that do not serve. A configuration that cannot be used is due again, for what is wrong may
//! be a file that it names.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::watch::{Observation, ReadResult, WatchedFiles};
use crate::yaml;

/// Gives the value of an environment variable.
pub type Environment = fn(&str) -> Option<String>;

/// The configuration's file, followed.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    env: Environment,
    pub(super) followed: WatchedFiles,
}

impl ConfigFile {
    /// Follows the file in which the configuration is. Blocks.
    pub(crate) fn new(path: &Path, env: Environment) -> Self {
        Self {
            path: path.to_owned(),
            env,
            followed: WatchedFiles::new([path].into_iter()),
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What to do now. Blocks.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> Observation {
        self.followed.look(clock.monotonic())
    }

    /// Reads it, as the last look saw it. What cannot be used is due again, for it may be a file that it names that cannot be read.
    /// Blocks.
    pub(crate) fn read(&mut self, clock: &dyn Clock) -> (Result<Config, ConfigError>, ReadResult) {
        let (hash, outcome) = match yaml::read(&self.path) {
            Ok(text) => {
                let outcome = Config::parse(&self.path, &text, &self.env);
                let hash = blake3::hash(text.as_bytes());
                (Some(hash), outcome.map_err(ConfigError::from))
            }
            Err(error) => (None, Err(ConfigError::of_read(&self.path, error))),
        };
        let mark = hash.filter(|_| outcome.is_ok());
        let news = self.followed.was_read(mark, clock.monotonic());
        (outcome, news)
    }
}
