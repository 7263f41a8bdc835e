//! The component that adds keyward to an Envoy, and the examples that use it: rendered, checked
//! against the schemas of two Kubernetes versions and the restricted profile, read by Envoy and
//! keyward, and run as a pod would run them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::envoy;
use crate::support::kubernetes::{Manifests, VERSIONS, read, run, shipped, text_of, validate};

mod component;
pub(super) mod facts;
mod pair;
mod redis;
pub(super) mod running;

const EXAMPLES: &str = "deploy/kubernetes/examples";

fn example(name: &str) -> Manifests {
    Manifests::of_kustomization(&shipped(EXAMPLES).join(name))
}

/// The names of a directory's entries.
pub(super) fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_file_is_part_of_a_kustomization_that_is_rendered() {
    let here = shipped("deploy/kubernetes");
    assert_eq!(listed(&here), ["README.md", "component", "examples"]);
    assert_eq!(listed(&here.join("examples")), ["base", "file", "redis"]);
    for directory in [
        "component",
        "examples/base",
        "examples/file",
        "examples/redis",
    ] {
        let kustomization = read(here.join(directory).join("kustomization.yaml"));
        for name in listed(&here.join(directory)) {
            assert!(
                name == "kustomization.yaml" || kustomization.contains(&name),
                "{directory}/{name} is in no kustomization: nothing loads it"
            );
        }
    }
}

#[test]
fn the_rendered_examples_are_valid_for_both_versions() {
    let named: Vec<_> = ["base", "file", "redis"]
        .map(|name| (name.to_owned(), example(name)))
        .into();
    let named: Vec<_> = named
        .iter()
        .map(|(name, all)| (name.clone(), all))
        .collect();
    for version in VERSIONS {
        let output = validate(version, &named).unwrap_or_else(|error| panic!("{version}: {error}"));
        let documents: usize = named.iter().map(|(_, all)| all.documents.len()).sum();
        assert_eq!(
            output.matches(" passed ").count(),
            documents,
            "{version}: {output}"
        );
    }
}

#[test]
fn an_unknown_field_is_invalid() {
    let text = example("file").text;
    let wrong =
        Manifests::new(text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"));
    for version in VERSIONS {
        let output = validate(version, &[("wrong".into(), &wrong)]).unwrap_err();
        assert!(
            output.contains("terminationGraceSeconds"),
            "{version}: {output}"
        );
    }
}

#[test]
fn every_pod_is_restricted() {
    for name in ["base", "file", "redis"] {
        let manifests = example(name);
        let workloads = manifests.workloads();
        assert_eq!(workloads.len(), 2, "{name}: Envoy and its upstream");
        for (workload, document) in workloads {
            let at = format!("{name}, {workload}");
            let keyward = name != "base" && workload == "envoy";
            let users: &[_] = if keyward {
                &[("keyward", 65532), ("envoy", 101)]
            } else {
                &[(workload, 101)]
            };
            // Without the component nothing of the base may be called keyward.
            facts::restricted(&at, &document["spec"]["template"]["spec"], users);
        }
        let namespace = manifests.one("Namespace", "keyward-example");
        let labels = &namespace["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[test]
fn the_bootstrap_is_the_shipped_one_on_other_addresses() {
    let from_admin = |path: &str| {
        let text = read(shipped(path));
        let start = text.find("\nadmin:\n").expect("a section admin");
        text[start..].to_owned()
    };
    let mut expected = from_admin("deploy/envoy/envoy.yaml");
    for (original, ours) in [
        (
            "{address: 127.0.0.1, port_value: 10000}",
            "{address: 0.0.0.0, port_value: 10000}",
        ),
        (
            "        # Over a Unix socket: {pipe: {path: /run/keyward/keyward.sock}}\n",
            "",
        ),
        (
            "{socket_address: {address: 127.0.0.1, port_value: 9191}}",
            "{pipe: {path: /run/keyward/keyward.sock}}",
        ),
        (
            "- name: upstream\n    type: STATIC\n",
            "- name: upstream\n    type: STRICT_DNS\n",
        ),
        (
            "{address: 127.0.0.1, port_value: 8080}",
            "{address: upstream, port_value: 8080}",
        ),
    ] {
        assert_eq!(expected.matches(original).count(), 1, "{original}");
        expected = expected.replace(original, ours);
    }
    let ours = from_admin("deploy/kubernetes/examples/base/envoy.yaml");
    let differing = ours.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert_eq!(
        differing, None,
        "(ours, derived from deploy/envoy/envoy.yaml)"
    );
    assert_eq!(ours.len(), expected.len());
}

#[test]
fn envoy_accepts_both_bootstraps_as_they_are_rendered() {
    let dir = tempfile::TempDir::new().unwrap();
    let manifests = example("file");
    for name in ["envoy", "upstream"] {
        let bootstrap = text_of(&manifests.one("ConfigMap", name)["data"]["envoy.yaml"]);
        let file = dir.path().join(format!("{name}.yaml"));
        fs::write(&file, bootstrap).unwrap();
        let mut envoy = Command::new(envoy::binary());
        envoy.args(["--mode", "validate", "--log-level", "error", "-c"]);
        run(envoy.arg(file)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
