//! Compiles `proto/` to Rust types and to the descriptor set that reflection serves, and notes the revision of the sources.
//!
//! protox is a compiler of protobuf written in Rust, so that a build needs no `protoc` on the machine. No service
//! code is generated: `envoy::service` takes the bytes of a request as they came, which generated code cannot.

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
    note_revision();
    compile_protos()
}

/// Gives the crate `KEYWARD_REVISION`: that of the environment, for builds without git, else that of the checkout.
///
/// And `KEYWARD_VERSION`, which is the crate's version and the revision.
fn note_revision() {
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
