//! keyward is a function from Envoy's `CheckRequest` to an allow-or-deny `Decision`, with the keys it
//! needs on one side and the records it leaves on the other.

pub mod authorizer;
pub mod authz;
pub mod cli;
pub mod config;
pub mod envoy;
pub mod keys;
pub mod observe;
pub mod server;
pub mod yaml;
