//! The keys that a command manages: a file, a directory or Redis, and the configuration for them.
//!
//! They are named by an argument, or are the source of the configuration. A configuration whose
//! source they are is used even if no argument names it: a key that is made without its pepper
//! would be refused by the servers that use it.

use std::path::Path;
use std::sync::Arc;

use super::super::command::KeyStoreArgs;
use super::super::{Error, load_config, named_config, note};
use crate::clock::SystemClock;
use crate::config::{Config, SourceConfig, defaults};
use crate::manage::append::{resolved, written_to};
use crate::manage::redis_store::RedisKeyStore;
use crate::redis::{RedisServers, RedisSettings, RedisUrl};
use crate::tls::ClientTlsFiles;
use crate::watch::named_file::NamedFile;

/// The keys that a command manages.
pub(super) enum KeyStore {
    File(NamedFile),
    /// Redis, and its name in messages.
    Redis(Box<RedisKeyStore>, String),
}

impl KeyStore {
    /// The keys that the arguments name, else the source of the configuration; and the
    /// configuration, if one applies.
    pub(super) fn of(arguments: &KeyStoreArgs) -> Result<(Self, Option<Config>), Error> {
        if let Some(url) = &arguments.redis {
            // The URL is not repeated: it may contain a password.
            let url: RedisUrl = url.parse().map_err(|error| {
                Error::Usage(format!(
                    "--redis: {error}; user and password belong in the configuration"
                ))
            })?;
            return Self::of_redis(url, arguments);
        }
        if let Some(file) = &arguments.file {
            let config = config_of(arguments, |config| {
                let source = config.source.path();
                source.is_some_and(|source| is_among(file, source))
            })?;
            return Ok((Self::File(file.clone().into()), config));
        }
        let config = load_config(&arguments.config)?;
        let place = match &config.source {
            SourceConfig::File { path } => Self::File(path.clone()),
            SourceConfig::Redis(settings) => Self::redis(
                settings.redis.clone(),
                &settings.prefix,
                config.source_place().to_owned(),
            )?,
            SourceConfig::Http(_) => {
                return Err(Error::Usage(
                    "the configuration's keys are those of an HTTP service, which manages them itself; name others with --file or --redis"
                        .to_owned(),
                ));
            }
        };
        Ok((place, Some(config)))
    }

    fn of_redis(url: RedisUrl, arguments: &KeyStoreArgs) -> Result<(Self, Option<Config>), Error> {
        let name = url.to_string();
        let config = config_of(arguments, |config| {
            let is_source = match &config.source {
                SourceConfig::Redis(settings) => settings.redis.servers.urls().contains(&url),
                SourceConfig::File { .. } | SourceConfig::Http(_) => false,
            };
            if !is_source && named_config(&arguments.config).is_none() {
                note(&format!(
                    "a configuration is here whose keys are elsewhere ({}), and is not used; -c has its pepper, prefix and plans used",
                    config.source_place()
                ));
            }
            is_source
        })?;
        let (settings, prefix) = match config.as_ref().map(|config| &config.source) {
            Some(SourceConfig::Redis(source)) => {
                let mut settings = source.redis.clone();
                if !settings.servers.urls().contains(&url) {
                    settings.servers = RedisServers::One(url);
                }
                (settings, source.prefix.as_str())
            }
            Some(SourceConfig::File { .. } | SourceConfig::Http(_)) | None => {
                let settings = RedisSettings {
                    servers: RedisServers::One(url),
                    username: None,
                    password_file: None,
                    tls: ClientTlsFiles::default(),
                };
                (settings, defaults::REDIS_PREFIX)
            }
        };
        Ok((Self::redis(settings, prefix, name)?, config))
    }

    fn redis(settings: RedisSettings, prefix: &str, name: String) -> Result<Self, Error> {
        let keys = RedisKeyStore::new(settings, prefix, Arc::new(SystemClock::new()))?;
        Ok(Self::Redis(Box::new(keys), name))
    }
}

/// The configuration that is named, or one at a usual path if the keys are its source. One with a
/// problem is an error, since it may be the one that applies.
fn config_of(
    arguments: &KeyStoreArgs,
    is_source: impl FnOnce(&Config) -> bool,
) -> Result<Option<Config>, Error> {
    let is_named = named_config(&arguments.config).is_some();
    match load_config(&arguments.config) {
        Err(Error::NoConfig) => Ok(None),
        Ok(config) => {
            let is_source = is_source(&config);
            Ok(Some(config).filter(|_| is_named || is_source))
        }
        Err(error) => Err(error),
    }
}

/// Whether a record that is added to `file` belongs to `source`. Each may be a directory, and need
/// not exist yet.
fn is_among(file: &Path, source: &Path) -> bool {
    let written = written_to(file);
    let target = resolved(&written);
    // Both the directory of the name and that of a link's target.
    let named = std::path::absolute(&written).unwrap_or(written);
    let named_in = named.parent().and_then(resolved);
    let lies_in = target
        .as_ref()
        .and_then(|target| Some(target.parent()?.to_owned()));
    resolved(source).is_some_and(|source| [target, named_in, lies_in].contains(&Some(source)))
}
