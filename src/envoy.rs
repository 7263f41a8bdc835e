//! The wire: what Envoy sends and what it gets.
//!
//! A check comes as the bytes of a `CheckRequest`, which [`view`] lends to the pipeline as `RequestAttributes`,
//! and goes as the bytes of a `CheckResponse`, which [`encode`] alone builds from a `Decision`. In between
//! [`message`] frames bytes, so that no message is built where none is needed. [`proto`] holds Envoy's messages,
//! generated from `proto/`.

pub mod decode;
pub mod encode;
pub mod message;
pub mod proto;
pub mod service;
