//! Envoy's protocol: what Envoy sends and what it receives.
//!
//! [`service`] receives a check. [`decode`] reads the bytes of its `CheckRequest` as
//! `RequestAttributes`, the authorizer decides, and [`encode`] alone writes the `CheckResponse`,
//! from what `answer` says. [`message`] does gRPC's framing on bytes, so that no message is built
//! where none is needed. [`proto`] holds Envoy's messages, generated from `proto/`.

pub mod decode;
pub mod encode;
pub mod message;
pub mod proto;
pub mod service;
