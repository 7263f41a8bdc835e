//! The configuration's file: read as a whole or not at all, and watched.
//!
//! Its functions block and are for threads that do not serve. A configuration that cannot be used
//! is due again without any change, because the cause may be a file that it names.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::watch::{ReadOutcome, WatchedFiles};
use crate::yaml;

/// Gives the value of an environment variable.
pub type EnvironmentFn = fn(&str) -> Option<String>;

#[derive(Debug)]
pub(crate) struct WatchedConfig {
    path: PathBuf,
    env: EnvironmentFn,
    pub(super) watched: WatchedFiles,
}

impl WatchedConfig {
    /// Watches the configuration's file, before it is read.
    pub(crate) fn new(path: &Path, env: EnvironmentFn) -> Self {
        Self {
            path: path.to_owned(),
            env,
            watched: WatchedFiles::new([path].into_iter()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it at start.
    pub(crate) fn load(&mut self, clock: &dyn Clock) -> Result<Config, ConfigError> {
        let (config, hash) = self.parse()?;
        self.watched.note_read(Some(hash), clock.monotonic());
        Ok(config)
    }

    /// Reads it again, after a look.
    pub(super) fn read(&mut self, clock: &dyn Clock) -> ReadOutcome<Config, ConfigError> {
        let read = self.parse();
        self.watched.finish_read(read, clock.monotonic())
    }

    fn parse(&self) -> Result<(Config, blake3::Hash), ConfigError> {
        let text = yaml::read(&self.path);
        let text = text.map_err(|error| ConfigError::of_read(&self.path, error))?;
        let config = Config::parse(&self.path, &text, &self.env)?;
        Ok((config, blake3::hash(text.as_bytes())))
    }
}
