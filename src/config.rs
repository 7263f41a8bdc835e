//! The configuration: `keyward.yaml` becomes a checked [`Config`], or all problems of the file.
//!
//! A [`spec::ConfigSpec`] is what the operator wrote, with every default; a [`Config`] is what the
//! program uses, and cannot be wrong. Nothing here listens, watches or logs. The pepper is read
//! here, since no digest is made without it, and the files of passwords and tokens for warnings
//! only. An empty file is an error: a file that is being written looks like that. `{}` means the
//! defaults.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::Schema;

use crate::authz::snapshot::Policy;
use crate::error_chain::chain;
use crate::keys::cache::CacheSettings;
use crate::observe::log::LogSettings;
use crate::watch::named_file::NamedFile;
use crate::yaml::{
    self, Environment, FieldPath, Problem, Problems, ReadError, Segment, Source, YamlPath,
};

pub mod defaults;
pub mod spec;

mod credentials;
mod digest;
mod effective;
mod formats;
mod identity;
mod policy;
mod remote;
mod rules;
mod schema;
mod server;
mod shadowed;
mod source;
mod unsupported;
mod warnings;

#[cfg(test)]
mod tests;

pub use server::{GrpcConfig, ListenAddress, ServerConfig};
pub use source::SourceConfig;

use spec::ConfigSpec;

/// The problem of members that this version knows and does not support.
const NOT_SUPPORTED_YET: &str = "not supported yet";

/// A configuration, checked.
pub struct Config {
    /// Listeners, and how they end.
    pub server: ServerConfig,
    /// Where keys come from.
    pub source: SourceConfig,
    /// What is kept prepared for the keys in use.
    pub cache: CacheSettings,
    /// Keys with series of their own; the rest share one.
    pub metrics_max_keys: usize,
    /// What is logged.
    pub log: LogSettings,
    /// How requests are decided.
    pub policy: Arc<Policy>,
    /// What the operator should know about it, in the order of the file.
    pub warnings: Vec<Problem>,
    spec: ConfigSpec,
    pepper: digest::Pepper,
    effective: serde_json::Value,
    source_place: String,
    file: PathBuf,
    text: Box<str>,
}

/// Shows what is effective, in which no value is from the environment.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Config").field(&self.effective).finish()
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no configuration file {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// It has these problems.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

impl ConfigError {
    /// Why the configuration in `file` could not be read.
    pub fn of_read(file: &Path, error: ReadError) -> Self {
        match error {
            ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::Missing(file.to_owned())
            }
            ReadError::Problems(problems) => Self::Invalid(problems),
            error @ ReadError::Io { .. } => Self::Read(error),
        }
    }
}

/// A part of the configuration that cannot change without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedPart {
    /// Listeners, and how they end.
    Server,
    /// Where keys come from.
    Source,
    /// What is kept of them.
    Cache,
    /// What `/metrics` shows.
    Metrics,
    /// How digests are made, the pepper's content included.
    Digest,
}

impl FixedPart {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Source => "source",
            Self::Cache => "cache",
            Self::Metrics => "metrics",
            Self::Digest => "digest",
        }
    }
}

impl std::fmt::Display for FixedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Config {
    /// Reads and checks the configuration in `file`; the paths in it are relative to its directory.
    /// `env` gives the values of `${NAME}`.
    ///
    /// # Errors
    /// When the file is missing or unreadable, or with all that is wrong in it.
    pub fn load(file: &Path, env: &Environment<'_>) -> Result<Self, ConfigError> {
        let text = yaml::read(file).map_err(|error| ConfigError::of_read(file, error))?;
        Ok(Self::parse(file, &text, env)?)
    }

    /// Checks `text` as if it stood in `file`.
    ///
    /// # Errors
    /// With all that is wrong in it.
    pub fn parse(file: &Path, text: &str, env: &Environment<'_>) -> Result<Self, Problems> {
        let base = file.parent().unwrap_or(Path::new(""));
        let check = |spec: ConfigSpec, top: &FieldPath<'_>| {
            let parts = Parts::check(spec, top, base)?;
            warnings::note(&parts, top);
            Some(parts)
        };
        let converted = yaml::convert_with_env(file, text, env, check)?;
        let parts = converted.value;
        let effective = effective::write(&parts.spec, converted.substituted);
        Ok(Self {
            server: parts.server,
            source: parts.source,
            cache: parts.cache,
            metrics_max_keys: parts.spec.metrics.max_keys,
            log: parts.spec.log.settings(),
            policy: Arc::new(parts.policy),
            warnings: converted.warnings,
            source_place: effective::source_place(&effective, base),
            effective,
            spec: parts.spec,
            pepper: parts.pepper,
            file: file.to_owned(),
            text: text.into(),
        })
    }

    /// The parts in which `other` differs and that cannot change without a restart.
    pub fn fixed_parts_changed(&self, other: &Self) -> Vec<FixedPart> {
        // The pepper's content counts, not where it stands.
        let same_digest = self.policy.digester.accept() == other.policy.digester.accept()
            && self.pepper == other.pepper;
        [
            (FixedPart::Server, self.server == other.server),
            (FixedPart::Source, self.source == other.source),
            (FixedPart::Cache, self.cache == other.cache),
            (FixedPart::Metrics, self.spec.metrics == other.spec.metrics),
            (FixedPart::Digest, same_digest),
        ]
        .into_iter()
        .filter_map(|(part, is_same)| (!is_same).then_some(part))
        .collect()
    }

    /// The active configuration as JSON, with the defaults that it leaves out. It holds no
    /// secret: secrets stand in files, of which it has the names, and a value that came from the
    /// environment is shown as the file has it, `${NAME}`.
    pub fn effective(&self) -> &serde_json::Value {
        &self.effective
    }

    /// The error that a file cannot be used which `member` names, such as
    /// `source.http.tls.cert_file`: reported where it is named. Its message may begin with the
    /// member.
    pub fn unusable_file(&self, member: &str, error: &dyn std::error::Error) -> ConfigError {
        let told = chain(error);
        let message = told.strip_prefix(member).unwrap_or(&told);
        let message = message.strip_prefix(": ").unwrap_or(message).to_owned();
        let names = member.split('.').map(str::to_owned);
        let path = YamlPath(names.map(Segment::Field).collect());
        let problem = Problem {
            file: Arc::from(self.file.as_path()),
            position: Source::new(&self.file, &self.text).locate(&path),
            path,
            message,
            help: None,
        };
        ConfigError::Invalid(problem.into())
    }

    /// Where keys come from, as it may be shown: what came from the environment as the file has it,
    /// and URLs without their query.
    pub fn source_place(&self) -> &str {
        &self.source_place
    }
}

/// The checked parts of a configuration, and what they were written as.
struct Parts {
    server: ServerConfig,
    source: SourceConfig,
    cache: CacheSettings,
    policy: Policy,
    pepper: digest::Pepper,
    spec: ConfigSpec,
}

impl Parts {
    /// Each is checked whether or not another failed, so that all problems are reported at once.
    fn check(spec: ConfigSpec, top: &FieldPath<'_>, base: &Path) -> Option<Self> {
        let server = server::check(&spec.server, &top.field("server"), base);
        let source = source::check(&spec.source, &top.field("source"), base);
        let cache = source::check_cache(&spec.cache, &top.field("cache"));
        unsupported::refuse(&spec, top);
        let (policy, pepper) = policy::check(&spec, top, base)?;
        Some(Self {
            server: server?,
            source: source?,
            cache: cache?,
            policy,
            pepper,
            spec,
        })
    }
}

/// The JSON Schema of `keyward.yaml`, for editors.
pub fn schema() -> Schema {
    schema::schema()
}
