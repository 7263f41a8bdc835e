//! Black-box tests of keyward: the real binary, a real Envoy 1.40 in front of it, an upstream that
//! records what it receives, and callers that speak HTTP/1.1 byte by byte, HTTP/2 and gRPC. One
//! module per behaviour; `support` starts and stops the parts. The tests use no internals: they
//! assert what operators and callers are promised, and what Envoy does that is not obvious. Every
//! wait polls with a deadline.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, in real time, with the real environment"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, and says where"
)]
#![allow(
    clippy::print_stdout,
    reason = "measurements are printed, and shown by --nocapture or a failure"
)]
#![allow(
    clippy::too_many_lines,
    reason = "a table of cases, or a scene told from its beginning to its end"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no callers outside"
)]

mod admin;
mod advice;
mod architecture;
mod canary;
mod cli;
mod credentials;
mod decisions;
mod deploy;
mod documentation;
mod draining;
mod failing;
mod hostile;
mod identity;
mod listeners;
mod metadata;
mod methods;
mod paths;
mod recorded;
mod refused_configs;
mod reloading;
mod remote;
mod services;
mod shared_locations;
mod support;
mod transport;
mod watched_files;
