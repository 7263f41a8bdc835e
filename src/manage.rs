//! Changes keys: new secrets and records.
//!
//! For the command line alone: a server only reads keys. A write is atomic and durable, keeps what
//! it does not touch, and starts again if another writer changed the file or record in between, so
//! that no write is lost.

pub mod append;
pub mod record_text;
pub mod redis_store;
mod rewrite;
pub mod secret;
