//! Monitoring: rules and monitors for Prometheus, a dashboard for Grafana. `promtool` checks what
//! it can; for the rest, a real Prometheus that scrapes real keywards shows that every series in an
//! expression exists.

mod dashboard;
mod expressions;
mod rules;
mod runbooks;
mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_yaml::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every document of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(&text(name))
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn yaml(name: &str) -> Value {
    let [document] = documents(name).try_into().unwrap();
    document
}

fn string(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value:?}"))
}

/// Every rule of `rules.yaml`.
fn rules() -> Vec<Value> {
    let groups = yaml("prometheus/rules.yaml")["groups"].clone();
    let groups = groups.as_sequence().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_sequence().unwrap().clone())
        .collect()
}

/// The alerts among them, by name.
fn alerts() -> Vec<(String, Value)> {
    let rules = rules().into_iter();
    rules
        .filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule)))
        .collect()
}

fn files_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            let name = path.strip_prefix(self::path("")).unwrap();
            found.insert(name.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_is_covered_by_a_test() {
    let mut found = BTreeSet::new();
    files_below(&path("prometheus"), &mut found);
    files_below(&path("grafana"), &mut found);
    let known = [
        "grafana/README.md",
        "grafana/keyward.json",
        "grafana/provisioning/dashboards/keyward.yaml",
        "grafana/provisioning/datasources/prometheus.yaml",
        "prometheus/README.md",
        "prometheus/podmonitor.yaml",
        "prometheus/prometheus.yaml",
        "prometheus/prometheusrule.yaml",
        "prometheus/rules.test.yaml",
        "prometheus/rules.yaml",
        "prometheus/servicemonitor.yaml",
    ];
    assert_eq!(
        found,
        known.map(str::to_owned).into(),
        "a new file wants a test that would notice it broken"
    );
}
