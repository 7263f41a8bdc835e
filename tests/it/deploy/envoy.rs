//! `deploy/envoy/envoy.yaml` in a real Envoy: a killed keyward, a silently lost connection, what a
//! browser's script may do and read, and which client address decisions use.

pub(super) mod browsers;
mod client_address;
pub(super) mod losses;
