//! Reading what a server is made of: the configuration and the keys, each whole or not at all.
//!
//! Plain functions that block, for threads that do not serve. Each tells, beside what it read, what the files looked
//! like and a hash of their content, so that whoever watches them knows what has been dealt with.

use std::path::Path;

use crate::authz::key_map::KeyMap;
use crate::authz::snapshot::Policy;
use crate::config::{Config, ConfigError};
use crate::keys::file::{self, LoadError};
use crate::keys::stillness::Sighting;
use crate::yaml;

/// Gives the value of an environment variable.
pub type Environment = fn(&str) -> Option<String>;

/// A file or directory, read.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    /// What came of it.
    pub(crate) outcome: T,
    /// What was seen of it meanwhile.
    pub(crate) facts: Facts,
}

/// What is seen of a file or directory while it is read.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// What it looked like before it was read.
    pub(crate) sighting: Sighting,
    /// The hash of its content; `None` where it could not be read.
    pub(crate) hash: Option<blake3::Hash>,
    /// Whether it was changed meanwhile, so that nothing can be said of it.
    pub(crate) changing: bool,
}

/// Reads the configuration.
pub(crate) fn read_config(path: &Path, env: Environment) -> Taken<Result<Config, ConfigError>> {
    let sighting = Sighting::of(path);
    let (hash, outcome) = match yaml::read(path) {
        Ok(text) => {
            let hash = blake3::hash(text.as_bytes());
            (
                Some(hash),
                Config::parse(path, &text, &env).map_err(ConfigError::from),
            )
        }
        Err(error) => (None, Err(ConfigError::of_read(path, error))),
    };
    let changing = Sighting::of(path) != sighting;
    Taken {
        outcome,
        facts: Facts {
            sighting,
            hash,
            changing,
        },
    }
}

/// Reads the keys under a policy.
pub(crate) fn read_keys(path: &Path, policy: &Policy) -> Taken<Result<KeyMap, LoadError>> {
    let before = Sighting::of(path);
    match file::read(path) {
        Ok(texts) => Taken {
            facts: Facts {
                sighting: texts.sighting().clone(),
                hash: Some(texts.hash()),
                changing: false,
            },
            outcome: texts.keys(Some(policy)).map_err(LoadError::from),
        },
        Err(error) => Taken {
            facts: Facts {
                sighting: before,
                hash: None,
                changing: matches!(error, LoadError::Changing { .. }),
            },
            outcome: Err(error),
        },
    }
}
