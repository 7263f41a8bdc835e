//! The decision's parts, pure: what a request presents, what a key may do, what a rule asks.
//!
//! Nothing here knows of tokio, tonic, files, logs or metrics, and time comes in as an argument, so
//! that every rule of the gate can be read and tested as a function of its inputs. The pipeline
//! that puts the parts in order is `crate::authorizer`.

pub mod credential;
pub mod decision;
pub mod decision_id;
pub mod digest;
pub mod host;
pub mod identity;
pub mod key;
pub mod key_map;
pub mod method;
pub mod moment;
pub mod path;
pub mod reason;
pub mod request;
pub mod rule;
pub mod scope;
pub mod snapshot;
pub mod token;

#[cfg(test)]
pub(crate) mod tests;
