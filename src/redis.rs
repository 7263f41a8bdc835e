//! Connections to Redis or Valkey: one server, a cluster, or a master that sentinels know.
//!
//! [`RedisClient`](client::RedisClient) sends commands over a connection that it makes anew
//! whenever that is lost, when its server stops being a master, or when the password or the
//! certificates change on disk. [`connect`] makes one connection; [`role`] tells whether a server's
//! answers may be stale; [`fault`] puts errors into words that repeat nothing of what a server
//! said. What is stored in Redis, and under which names, is the affair of the rooms that use it.

pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod credentials;
mod eviction;
pub(crate) mod fault;
pub(crate) mod role;
pub mod settings;

pub use credentials::RedisCredentialsError;
pub use settings::{InvalidRedisUrl, RedisServers, RedisSettings, RedisUrl};
