//! What a Redis source is made from, checked.
//!
//! The connection's own settings are those of the room `redis`; here is what a source of keys adds
//! to them.

use std::time::Duration;

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

/// Whether the server is to push changes, and what is done where it refuses to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PushMode {
    /// It is asked to; where it refuses, what was learnt serves for the cache's `ttl`.
    #[default]
    Auto,
    /// It is asked to; where it refuses, each key is looked up at each use.
    Require,
    /// It is never asked to; what was learnt serves for the cache's `ttl`.
    Off,
}
