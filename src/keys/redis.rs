//! Keys from Redis or Valkey.
//!
//! (written by the Redis part)

pub mod settings;

pub use settings::{InvalidRedisUrl, RedisServers, RedisSettings, RedisUrl};
