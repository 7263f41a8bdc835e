//! Custom resources below `deploy/` conform to the schemas of their projects: no field that a
//! cluster would drop or refuse, no wrong type, no unknown value. Broken copies test the check
//! itself.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::crds::{self, Verdict};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Every YAML file below a directory, except chart templates, which are YAML only when rendered.
fn yaml_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("templates") {
                found.extend(yaml_below(&path));
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_shipped_custom_resource_conforms_to_its_published_schema() {
    let Verdict { all_well, lines } = crds::check(&yaml_below(&deploy()));
    assert!(all_well, "{lines:#?}");
    // Listed by hand, because a checker that finds no documents finds no problems.
    for resource in [
        "istio/authorization-policy.yaml:2: AuthorizationPolicy keyward: ok",
        "envoy-gateway/security-policy.yaml:2: SecurityPolicy keyward: ok",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(resource)),
            "{resource}: {lines:#?}"
        );
    }
}

#[test]
fn each_document_for_istio_and_envoy_gateway_is_checked() {
    for directory in ["istio", "envoy-gateway"] {
        let below = deploy().join(directory);
        let files = yaml_below(&below);
        let all: Vec<PathBuf> = fs::read_dir(&below)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("README.md"))
            .collect();
        assert_eq!(all.len(), files.len(), "an unchecked file is among {all:?}");
        let lines = crds::check(&files).lines;
        let summary = lines.last().unwrap();
        assert!(summary.contains(", 0 of other groups,"), "{lines:#?}");
    }
}

/// A shipped file, a change to it, and the expected complaint.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    (
        "envoy-gateway/security-policy.yaml",
        "failOpen: false",
        "failOpn: false",
        "spec.extAuth.failOpn: unknown field",
    ),
    (
        "envoy-gateway/security-policy.yaml",
        "statusOnError: 503",
        "statusOnError: \"503\"",
        "spec.extAuth.statusOnError: Type 'string' is not assignable to type 'number'",
    ),
    (
        "envoy-gateway/security-policy.yaml",
        "    timeout: 1s\n    # Every",
        "    timeout: 1 s\n    # Every",
        "spec.extAuth.timeout: must match pattern",
    ),
    (
        "envoy-gateway/security-policy.yaml",
        "port: 9191",
        "port: 99191",
        "spec.extAuth.grpc.backendRefs[0].port: must be <= 65535",
    ),
    (
        "envoy-gateway/security-policy.yaml",
        "kind: SecurityPolicy",
        "kind: SecurityPolisy",
        "gateway.envoyproxy.io/v1alpha1 has no kind SecurityPolisy",
    ),
    (
        "envoy-gateway/security-policy.yaml",
        "gateway.envoyproxy.io/v1alpha1",
        "gateway.example.com/v1",
        "nothing here has schemas of gateway.example.com",
    ),
    (
        "envoy-gateway/client-traffic-policy.yaml",
        "remove:",
        "removes:",
        "spec.headers.earlyRequestHeaders.removes: unknown field",
    ),
    (
        "envoy-gateway/client-traffic-policy.yaml",
        "RejectRequest",
        "REJECT_REQUEST",
        "spec.headers.withUnderscoresAction: must be equal to one of the allowed values",
    ),
    (
        "envoy-gateway/gateway.yaml",
        "backendRefs:",
        "backends:",
        "spec.rules[0].backends: unknown field",
    ),
    (
        "envoy-gateway/gateway.yaml",
        "port: 443",
        "port: \"443\"",
        "spec.listeners[0].port: must be integer",
    ),
    (
        "envoy-gateway/reference-grant.yaml",
        "  to:",
        "  too:",
        "spec: must have required property to",
    ),
    (
        "envoy-gateway/backend-tls-policy.yaml",
        "hostname:",
        "hostName:",
        "spec.validation.hostName: unknown field",
    ),
    (
        "istio/authorization-policy.yaml",
        "action: CUSTOM",
        "action: Custom",
        "spec.action: must be equal to one of the allowed values",
    ),
    (
        "istio/authorization-policy.yaml",
        "matchLabels",
        "matchLabel",
        "spec.selector.matchLabel: unknown field",
    ),
    (
        "istio/envoy-filter.yaml",
        "INSERT_FIRST",
        "INSERT_FRST",
        "spec.configPatches[0].patch.operation: must be equal to one of",
    ),
    (
        "istio/mutual-tls.yaml",
        "ports: [\"9191\"]",
        "ports: [9191]",
        "spec.rules[0].to[0].operation.ports[0]: must be string",
    ),
    (
        "istio/istiod-values.yaml",
        "failOpen",
        "failureModeAllow",
        "envoyExtAuthzGrpc.failureModeAllow: unknown field",
    ),
    (
        "istio/istiod-values.yaml",
        "\"503\"",
        "503",
        "envoyExtAuthzGrpc.statusOnError: Type 'number' is not assignable",
    ),
];

/// Of the Prometheus operator: whole documents, so that these tests need no file of another
/// directory.
const BROKEN_MONITORS: &[(&str, &str)] = &[
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: a}, \
         spec: {selector: {}, podMetricsEndpoint: [{port: admin}]}}",
        "spec.podMetricsEndpoint: unknown field",
    ),
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: a}, \
         spec: {selector: {}, podMetricsEndpoints: [{port: 9192}]}}",
        "spec.podMetricsEndpoints[0].port: must be string",
    ),
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}}",
        "(top): must have required property spec",
    ),
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, \
         spec: {selector: {}, endpoints: [{port: admin, interval: soon}]}}",
        "spec.endpoints[0].interval: must match pattern",
    ),
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule, metadata: {name: a}, \
         spec: {groups: [{name: g, rules: [{alert: A, expr: up, sumary: b}]}]}}",
        "spec.groups[0].rules[0].sumary: unknown field",
    ),
];

#[test]
fn unknown_fields_wrong_types_and_unknown_values_are_reported_with_their_place() {
    let dir = TempDir::new().unwrap();
    let mut files = Vec::new();
    let mut expected = Vec::new();
    for (file, from, to, complaint) in BROKEN {
        let text = fs::read_to_string(deploy().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no `{from}` any more");
        files.push(text.replacen(from, to, 1));
        expected.push(*complaint);
    }
    for (text, complaint) in BROKEN_MONITORS {
        files.push((*text).to_owned());
        expected.push(*complaint);
    }
    let paths: Vec<PathBuf> = (0..files.len())
        .map(|index| dir.path().join(format!("{index}-.yaml")))
        .collect();
    for (path, text) in paths.iter().zip(&files) {
        fs::write(path, text).unwrap();
    }
    let Verdict { all_well, lines } = crds::check(&paths);
    assert!(!all_well);
    for (path, complaint) in paths.iter().zip(expected) {
        let of_this = || {
            lines
                .iter()
                .filter(|l| l.starts_with(path.to_str().unwrap()))
        };
        assert!(
            of_this().any(|line| line.contains(complaint)),
            "{complaint}: {:#?}",
            of_this().collect::<Vec<_>>()
        );
    }
}
