//! Checks where keys come from and how they are cached.
//!
//! Exactly one source is named. A shared backend of limits is refused, so that no operator relies
//! on what this version does not do.

use std::path::Path;

use super::remote::{check_http, check_redis};
use super::server::file;
use super::spec::{CacheSpec, SourceSpec};
use crate::keys::cache::CacheSettings;
use crate::keys::http::HttpSettings;
use crate::keys::redis::RedisSourceSettings;
use crate::watch::named_file::NamedFile;
use crate::yaml::FieldPath;

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// A file, or a directory of files.
    File {
        /// Its path: the configuration's directory joined with what was written.
        path: NamedFile,
    },
    /// An HTTP service.
    Http(Box<HttpSettings>),
    /// Redis or Valkey.
    Redis(Box<RedisSourceSettings>),
}

impl SourceConfig {
    /// Its name in the configuration: file, http or redis.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Http(_) => "http",
            Self::Redis(_) => "redis",
        }
    }

    /// Where the keys' file or directory is; `None` for a remote source.
    pub fn path(&self) -> Option<&NamedFile> {
        match self {
            Self::File { path } => Some(path),
            Self::Http(_) | Self::Redis(_) => None,
        }
    }
}

/// The checked form; paths are relative to `base`.
pub(super) fn check(spec: &SourceSpec, at: &FieldPath<'_>, base: &Path) -> Option<SourceConfig> {
    let sources = [
        spec.file.is_some(),
        spec.http.is_some(),
        spec.redis.is_some(),
    ];
    let count = sources.into_iter().filter(|given| *given).count();
    if count != 1 {
        at.problem_with_help(
            "not one source",
            "name exactly one of `file`, `http`, `redis`",
        );
        return None;
    }
    if let Some(http) = &spec.http {
        let settings = check_http(http, &at.field("http"), base)?;
        return Some(SourceConfig::Http(Box::new(settings)));
    }
    if let Some(redis) = &spec.redis {
        let settings = check_redis(redis, &at.field("redis"), base)?;
        return Some(SourceConfig::Redis(Box::new(settings)));
    }
    let path = &spec.file.as_ref()?.path;
    let path = file(path, &at.field("file").field("path"), base)?;
    Some(SourceConfig::File { path })
}

/// The checked form.
pub(super) fn check_cache(spec: &CacheSpec, at: &FieldPath<'_>) -> Option<CacheSettings> {
    let before = at.problems_so_far();
    for (name, capacity) in [
        ("capacity", spec.capacity),
        ("negative_capacity", spec.negative_capacity),
    ] {
        if capacity == 0 {
            at.field(name)
                .problem_with_help("the cache would be empty", "write 1 or more");
        }
    }
    (at.problems_so_far() == before).then_some(CacheSettings {
        capacity: spec.capacity,
        ttl: spec.ttl.0,
        negative_capacity: spec.negative_capacity,
        negative_ttl: spec.negative_ttl.0,
        stale_if_error: spec.stale_if_error.0,
    })
}
