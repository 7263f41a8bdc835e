//! The chart of a keyward shared by several gateways: linted and rendered with several sets of
//! values, checked against the schemas of two Kubernetes versions and the restricted profile, and
//! its keyward.yaml loaded by keyward.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_yaml::Value;
use tempfile::TempDir;

use super::kubernetes::{facts, listed};
use crate::support::bootstrap::yaml;
use crate::support::certs::Authority;
use crate::support::kubernetes::{
    Manifests, VERSIONS, items, keyward, read, run, shipped, text_of, tool, validate,
};
use crate::support::pod::{Files, Pod};

mod policy;
mod refused;
mod shared;

const CHART: &str = "deploy/helm/keyward";

/// helm with the chart and these values, as the release `gw` in the namespace `gateway`.
fn helm(arguments: &[&str], values: &str) -> Result<String, String> {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    let mut command = tool("helm");
    // A home of its own, so that helm does not read or change the user's.
    command.env("HOME", dir.path());
    run(command
        .args(arguments)
        .arg(shipped(CHART))
        .arg("-f")
        .arg(file))
}

/// The rendered chart.
///
/// # Errors
/// helm's complaint.
fn rendered(values: &str) -> Result<Manifests, String> {
    let text = helm(&["template", "gw", "--namespace", "gateway"], values)?;
    Ok(Manifests::new(text))
}

fn render(values: &str) -> Manifests {
    rendered(values).unwrap_or_else(|error| panic!("{values}: {error}"))
}

/// The sets of values that we ship as examples, and the defaults.
fn value_sets() -> Vec<(String, String)> {
    let directory = shipped(CHART).join("ci");
    let mut sets = vec![("default".to_owned(), String::new())];
    for name in listed(&directory) {
        sets.push((name.clone(), read(directory.join(name))));
    }
    sets
}

fn config_of(manifests: &Manifests) -> Value {
    let map = manifests.all("ConfigMap")[0];
    yaml(text_of(&map["data"]["keyward.yaml"]))
}

/// The only container of the chart's only workload, and its pod.
fn keyward_of(manifests: &Manifests) -> (&Value, &Value) {
    let deployment = manifests.all("Deployment")[0];
    let spec = &deployment["spec"]["template"]["spec"];
    (spec, &spec["containers"][0])
}

/// The contents of the Secrets that the values refer to.
fn secrets(authority: &Authority) -> BTreeMap<&'static str, Files> {
    let own = authority.issue(shared::NAME);
    let files = |all: &[(&str, &str)]| -> Files {
        let all = all.iter();
        all.map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect()
    };
    let ca = authority.pem();
    [
        ("keyward-keys", files(&[("keys.yaml", "keys: []\n")])),
        (
            "keyward-tls",
            files(&[
                ("tls.crt", &own.cert),
                ("tls.key", &own.key),
                ("ca.crt", &ca),
            ]),
        ),
        (
            "keyward-redis",
            files(&[("password", "secret"), ("ca.crt", &ca)]),
        ),
        (
            "keyward-keys-service",
            files(&[("token", "secret"), ("ca.crt", &ca)]),
        ),
        (
            "keyward-pepper",
            files(&[("pepper", "0123456789abcdef0123456789abcdef")]),
        ),
    ]
    .into()
}

#[test]
fn every_file_of_the_chart_is_rendered_or_read() {
    assert_eq!(
        listed(&shipped("deploy/helm")),
        ["gateway-cluster.yaml", "keyward"]
    );
    let expected = [
        ".helmignore",
        "Chart.yaml",
        "README.md",
        "ci",
        "templates",
        "values.schema.json",
        "values.yaml",
    ];
    assert_eq!(listed(&shipped(CHART)), expected);
    let all: String = value_sets()
        .iter()
        .map(|(_, values)| render(values).text)
        .collect();
    for name in listed(&shipped(CHART).join("templates")) {
        let source = format!("# Source: keyward/templates/{name}\n");
        let mut documents = all.split("---\n").filter(|text| text.contains(&source));
        let made = documents.any(|text| !yaml(text).is_null());
        // The notes have a test of their own, and all other templates use the helpers.
        assert!(
            made || ["NOTES.txt", "_helpers.tpl"].contains(&&*name),
            "{name} renders nothing"
        );
    }
}

#[test]
fn helm_lint_passes() {
    for (name, values) in value_sets() {
        let output =
            helm(&["lint", "--strict"], &values).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(output.contains("0 chart(s) failed"), "{name}: {output}");
        for word in ["[WARNING]", "[ERROR]"] {
            assert!(!output.contains(word), "{name}: {output}");
        }
    }
}

#[test]
fn the_rendered_chart_is_valid_for_both_versions() {
    let named: Vec<_> = value_sets()
        .into_iter()
        .map(|(name, values)| (name, render(&values)))
        .collect();
    let named: Vec<_> = named
        .iter()
        .map(|(name, all)| (name.clone(), all))
        .collect();
    for version in VERSIONS {
        let output = validate(version, &named).unwrap_or_else(|error| panic!("{version}: {error}"));
        let documents = named.iter().flat_map(|(_, all)| &all.documents);
        let own = documents
            .filter(|document| document["kind"] != "PodMonitor")
            .count();
        assert_eq!(
            output.matches(" passed ").count(),
            own,
            "{version}: {output}"
        );
    }
}

#[test]
fn every_pod_is_restricted_and_has_its_probes_and_files() {
    for (name, values) in value_sets() {
        let manifests = render(&values);
        assert_eq!(manifests.workloads().len(), 1, "{name}");
        let (spec, container) = keyward_of(&manifests);
        facts::restricted(&name, spec, &[("keyward", 65532)]);
        let config = config_of(&manifests);
        facts::probed(&name, container, &config);
        facts::finds_its_files(&name, container, &config);
        let deadline = facts::seconds(text_of(&config["server"]["deadline"]));
        let grace = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace > deadline, "{name}");
        for account in manifests.all("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
            assert_eq!(
                account["metadata"]["name"], spec["serviceAccountName"],
                "{name}"
            );
        }
    }
}

#[test]
fn every_selector_finds_the_pods() {
    for (name, values) in value_sets() {
        let manifests = render(&values);
        let deployment = manifests.all("Deployment")[0];
        let labels = deployment["spec"]["template"]["metadata"]["labels"]
            .as_mapping()
            .unwrap();
        let (spec, container) = keyward_of(&manifests);
        let mut selectors = vec![&deployment["spec"]["selector"]["matchLabels"]];
        selectors.extend(
            manifests
                .all("Service")
                .iter()
                .map(|service| &service["spec"]["selector"]),
        );
        selectors.extend(
            manifests
                .all("NetworkPolicy")
                .iter()
                .map(|p| &p["spec"]["podSelector"]["matchLabels"]),
        );
        for kind in ["PodDisruptionBudget", "PodMonitor"] {
            selectors.extend(
                manifests
                    .all(kind)
                    .iter()
                    .map(|d| &d["spec"]["selector"]["matchLabels"]),
            );
        }
        let spread = items(&spec["topologySpreadConstraints"]);
        selectors.extend(spread.iter().map(|s| &s["labelSelector"]["matchLabels"]));
        for selector in selectors {
            let selector = selector
                .as_mapping()
                .unwrap_or_else(|| panic!("{name}: selects nothing"));
            assert_eq!(selector.len(), 2, "{name}: {selector:?}");
            for (label, value) in selector {
                assert_eq!(labels.get(label), Some(value), "{name}: {label:?}");
            }
        }
        let ports: Vec<_> = items(&container["ports"])
            .iter()
            .map(|port| &port["name"])
            .collect();
        let target = &manifests.all("Service")[0]["spec"]["ports"][0]["targetPort"];
        assert!(ports.contains(&target), "{name}");
        for monitor in manifests.all("PodMonitor") {
            assert!(
                ports.contains(&&monitor["spec"]["podMetricsEndpoints"][0]["port"]),
                "{name}"
            );
        }
    }
}

#[test]
fn keyward_accepts_its_configuration() {
    let authority = Authority::new();
    let secrets = secrets(&authority);
    for (name, values) in value_sets() {
        let manifests = render(&values);
        let pod = Pod::lay_out(&manifests, manifests.all("Deployment")[0], &secrets);
        let file = laid_out(&pod);
        let mut check = Command::new(env!("CARGO_BIN_EXE_keyward"));
        check.args(["check-config", "--offline", "-c"]).arg(file);
        for variable in items(&keyward_of(&manifests).1["env"]) {
            check.env(text_of(&variable["name"]), text_of(&variable["value"]));
        }
        let output = run(&mut check).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(output.contains(": valid; "), "{name}: {output}");
    }
    // A number of seven digits is not written as 2e+06.
    let http = render(&read(shipped(CHART).join("ci/http-values.yaml")));
    assert_eq!(config_of(&http)["cache"]["capacity"], 2_000_000);
}

/// keyward.yaml with the paths of this machine; its path.
fn laid_out(pod: &Pod) -> PathBuf {
    let container = pod.container("keyward");
    container.edit("/etc/keyward/keyward.yaml", |text| text);
    container.path("/etc/keyward/keyward.yaml")
}

#[test]
fn keyward_finds_mistakes_in_the_configuration() {
    let authority = Authority::new();
    let manifests = render("config: {defualt: deny}");
    let pod = Pod::lay_out(
        &manifests,
        manifests.all("Deployment")[0],
        &secrets(&authority),
    );
    let output = keyward(&[
        "check-config",
        "--offline",
        "-c",
        laid_out(&pod).to_str().unwrap(),
    ]);
    assert!(output.unwrap_err().contains("did you mean `default`?"));
}
