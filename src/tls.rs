//! Certificates of clients and servers: read from files, checked, and replaced while in use.
//!
//! Takes the files that a configuration names and gives a rustls configuration for handshakes, or
//! says what is wrong with which file. Both sides check their files when they are made and whenever
//! they read them again, so that what is in use was usable when it was read. The crypto provider
//! is passed explicitly: nothing depends on what the process has installed as its default.

mod client;
mod error;
mod file;
pub(crate) mod loopback;
mod server;
mod status;
pub(crate) mod system;
pub mod validity;

#[cfg(test)]
pub(crate) mod tests;

pub use client::{ClientIdentityFiles, ClientTlsFiles};
pub use error::TlsError;
pub use file::TlsFile;
pub(crate) use file::content_hash;
pub use server::ServerTlsFiles;
pub(crate) use server::{ServerCertificates, ServerTls};
pub(crate) use status::CertificateFacts;
pub use status::{CertificateState, CertificateStatus};

/// The members of the configuration that name files.
const CA: &str = "ca_file";
const CERT: &str = "cert_file";
const CLIENT_CA: &str = "client_ca_file";
const KEY: &str = "key_file";
