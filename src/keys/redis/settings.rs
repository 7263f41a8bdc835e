//! What a Redis source is made from, checked.
//!
//! The connection's own settings are those of the room `redis`; here is what a source of keys adds
//! to them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redis::RedisSettings;

/// A Redis source, as its operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSourceSettings {
    /// How connections are made.
    pub redis: RedisSettings,
    /// What every Redis key begins with.
    pub prefix: String,
    /// All the time that one lookup may take.
    pub timeout: Duration,
    /// Whether it pushes changes.
    pub push: PushMode,
}

/// Whether the server is to push changes, by client tracking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushMode {
    /// Where it refuses to, keys are served for `cache.ttl`.
    #[default]
    Auto,
    /// Where it refuses to, each key is looked up at each use.
    Require,
    /// It is not asked to; keys are served for `cache.ttl`.
    Off,
}
