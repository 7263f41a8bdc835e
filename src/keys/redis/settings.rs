//! What a Redis source is made from, checked.
//!
//! The connection's own settings are those of the module `redis`; here is what a source of keys
//! adds to them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redis::RedisSettings;

/// A Redis source, as its operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSourceSettings {
    /// How connections are made.
    pub redis: RedisSettings,
    /// The prefix of every Redis key.
    pub prefix: String,
    /// All the time that one lookup may take.
    pub timeout: Duration,
    /// Whether it pushes changes.
    pub push: PushMode,
}

/// Whether pushes of changes, by client tracking, are used or required.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushMode {
    /// If the server refuses, cached keys are used for `cache.ttl`.
    #[default]
    Auto,
    /// If the server refuses, each key is looked up at each use.
    Require,
    /// keyward does not ask for pushes; cached keys are used for `cache.ttl`.
    Off,
}
