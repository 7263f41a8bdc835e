//! The files of `deploy/` that operators copy are loaded, rendered, validated or run.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_yaml::Value;

mod custom_resources;
mod documents;
mod envoy;
mod envoy_gateway;
mod helm;
mod image;
mod istio;
mod kubernetes;
mod monitoring;
mod unix_socket;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name)
}

/// The documents of a YAML file below `deploy/`.
fn deployed(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}
