//! Compiles `proto/` to Rust types and to the descriptor set that reflection serves.
//!
//! protox is a compiler of protobuf written in Rust, so that a build needs no `protoc` on the machine. No service
//! code is generated: `envoy::service` takes the bytes of a request as they came, which generated code cannot.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const ROOT: &str = "proto";
const SERVICE: &str = "envoy/service/auth/v3/external_auth.proto";

fn main() -> Result<(), Box<dyn Error>> {
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
