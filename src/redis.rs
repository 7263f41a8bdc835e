//! Connections to Redis or Valkey: one server, a cluster, or a master that sentinels know.
//!
//! `RedisClient` sends commands over a connection that it replaces
//! when it fails, when its server stops being a master, or when the password or the certificates
//! change on disk. `connect` makes one connection; `role` decides whether a server's
//! answers may be stale; `error_text` puts errors into words that repeat nothing of what a server
//! said. What is stored in Redis, and under which names, is decided by the modules that use it.

pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod error_text;
mod eviction;
pub(crate) mod role;
pub mod settings;

pub use credentials::RedisCredentialsError;
pub use settings::{InvalidRedisUrl, RedisServers, RedisSettings, RedisUrl};
