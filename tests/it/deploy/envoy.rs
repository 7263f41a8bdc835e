//! `deploy/envoy/envoy.yaml` in a real Envoy: what it does when a keyward is killed and when a connection to one is silently
//! lost, what a browser's script may do and read, and which client address reaches a decision.

pub(super) mod browsers;
mod client_address;
pub(super) mod losses;
