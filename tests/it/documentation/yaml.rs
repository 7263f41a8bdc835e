//! Every YAML block of the documentation is a configuration or a key file that `check-config`
//! accepts, or a piece of Envoy's configuration, whose first line is a comment that names Envoy.

use std::fs;

use serde_yaml::Value;

use super::{blocks, pages};
use crate::cli::Workdir;
use crate::support::certs::Authority;
use crate::support::keyfile::KeyFile;

/// A configuration for key files that use what the examples use.
const CONFIG: &str = "plans: {gold: {scopes: [invoices:read]}}\n";

/// A directory with every file that the examples name.
fn workdir() -> Workdir {
    let workdir = Workdir::new(CONFIG, KeyFile::new().key("a", "secret", &[]).text());
    let authority = Authority::new();
    workdir.write("ca.pem", authority.pem());
    authority
        .issue("keyward")
        .put(workdir.path("ca.pem").parent().unwrap());
    for name in ["redis-password", "token"] {
        workdir.write(name, "not-a-real-one");
    }
    workdir.write("pepper", [b'p'; 32]);
    workdir
}

#[test]
fn every_yaml_block_is_accepted() {
    let (mut configurations, mut key_files) = (0, 0);
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text, "yaml") {
            if block.starts_with("# Envoy") {
                serde_yaml::from_str::<Value>(block)
                    .unwrap_or_else(|error| panic!("{}: {error}\n{block}", path.display()));
                continue;
            }
            let workdir = workdir();
            let value: Value = serde_yaml::from_str(block).unwrap();
            if value.get("keys").is_some() {
                key_files += 1;
                workdir.write("keys.yaml", block);
            } else {
                configurations += 1;
                workdir.write("keyward.yaml", block);
            }
            let run = workdir.run(&["check-config", "--offline"]);
            assert_eq!(run.code, Some(0), "{}: {run:?}\n{block}", path.display());
        }
    }
    assert!(
        configurations >= 4 && key_files >= 1,
        "the examples are found: {configurations} and {key_files}"
    );
}
