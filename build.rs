//! Compiles `proto/` to Rust types and to the descriptor set that reflection serves, and records
//! the revision of the sources.
//!
//! protox is a protobuf compiler written in Rust, so that a build does not need `protoc`. No
//! service code is generated, because `envoy::service` needs the undecoded bytes of a request.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost::Message as _;

const ROOT: &str = "proto";
const SERVICE: &str = "envoy/service/auth/v3/external_auth.proto";

/// Changes with every commit and checkout.
const GIT_LOG: &str = ".git/logs/HEAD";

fn main() -> Result<(), Box<dyn Error>> {
    record_revision();
    compile_protos()
}

/// Sets `KEYWARD_REVISION` for the crate, from the environment, for builds without git, or else
/// from the checkout; and `KEYWARD_VERSION`, the crate's version with the revision.
fn record_revision() {
    println!("cargo:rerun-if-env-changed=KEYWARD_REVISION");
    let revision = env::var_os("KEYWARD_REVISION").and_then(|name| name.into_string().ok());
    let revision = revision.or_else(revision_of_checkout);
    let version = env!("CARGO_PKG_VERSION");
    let version = match &revision {
        Some(revision) => format!("{version} ({revision})"),
        None => version.to_owned(),
    };
    println!("cargo:rustc-env=KEYWARD_VERSION={version}");
    if let Some(revision) = revision {
        println!("cargo:rustc-env=KEYWARD_REVISION={revision}");
    }
}

fn revision_of_checkout() -> Option<String> {
    if !Path::new(GIT_LOG).exists() {
        return None;
    }
    println!("cargo:rerun-if-changed={GIT_LOG}");
    let head = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let revision = String::from_utf8(head.stdout).ok()?;
    head.status.success().then(|| revision.trim().to_owned())
}

fn compile_protos() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let descriptors = protox::compile([SERVICE], [ROOT])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .emit_rerun_if_changed(false)
        .bytes(".envoy.config.core.v3.HeaderValue.raw_value")
        .include_file("protocol.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
