//! Where keys come from: a source, and the cache in front of it.
//!
//! Takes a digest and gives the record of the key that has it, with what was prepared for it. Knows
//! neither metrics of requests nor wire formats: what is prepared is decided by the server.

pub mod cache;
pub mod file;
pub mod http;
pub mod invalidation;
pub mod record;
pub mod redis;
pub mod source;
