//! Tests the examples of the documentation: keyward loads every YAML block, and a shell runs the
//! commands of console blocks.

use std::fs;
use std::path::{Path, PathBuf};

mod commands;
mod yaml;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    [root.join("README.md")].into_iter().chain(docs).collect()
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let starts = text.split(&fence).skip(1);
    starts
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// The part of a page under that heading, up to the next heading of the second level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let (_, rest) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n## ").next().unwrap()
}
