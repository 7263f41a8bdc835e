//! What changes keys: new secrets, and records written to key files.
//!
//! For the command line alone: a server only reads keys. A write is atomic and durable, keeps what
//! it does not touch, and starts anew when another writer came between, so that no write is lost.

pub mod append;
pub mod record_text;
pub mod redis_store;
mod rewrite;
pub mod secret;
