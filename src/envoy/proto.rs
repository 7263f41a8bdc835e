//! Envoy's messages, generated from `proto/` by `build.rs`; none is written by hand.
//!
//! The trimmed files keep upstream's packages, names and numbers, so that what is encoded here is
//! what Envoy decodes; `tests` below hold each field against the `envoy-types` crate, generated
//! from upstream's own files.

pub use generated::*;

mod generated {
    #![allow(
        missing_docs,
        unused_qualifications,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::as_conversions,
        clippy::wildcard_enum_match_arm,
        reason = "generated code is held to no rule of ours"
    )]

    include!(concat!(env!("OUT_DIR"), "/protocol.rs"));
}

/// The files of `proto/` and what they import, compiled: a `FileDescriptorSet` for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
