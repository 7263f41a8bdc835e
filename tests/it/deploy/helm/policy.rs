//! Network access, the effect of changes, and the notes for the operator.

use super::{config_of, helm, keyward_of, render, value_sets};
use crate::support::bootstrap::yaml;
use crate::support::kubernetes::{items, text_of};

const REDIS: &str = "config: {source: {redis: {url: \"redis://a:1\"}}}\n";

/// The ports in the rules of a network policy, each with the number of peers that may use it.
fn ingress(values: &str) -> Vec<(u64, usize)> {
    let manifests = render(values);
    let spec = &manifests.all("NetworkPolicy")[0]["spec"];
    assert_eq!(spec["policyTypes"], yaml("[Ingress, Egress]"), "{values}");
    let rules = items(&spec["ingress"]).iter();
    rules
        .map(|rule| {
            let ports = items(&rule["ports"]);
            assert_eq!(ports.len(), 1, "{values}");
            (
                ports[0]["port"].as_u64().unwrap(),
                items(&rule["from"]).len(),
            )
        })
        .collect()
}

#[test]
fn an_empty_list_of_peers_allows_nobody() {
    for (values, expected) in [
        ("", &[(9191, 1), (9192, 1)][..]),
        ("networkPolicy: {scrapers: []}", &[(9191, 1)]),
        ("networkPolicy: {gateways: []}", &[(9192, 1)]),
        ("networkPolicy: {gateways: [], scrapers: []}", &[]),
    ] {
        assert_eq!(ingress(values), expected, "{values}");
    }
    // By default only the gateways of the same namespace.
    let manifests = render("");
    let from = &manifests.all("NetworkPolicy")[0]["spec"]["ingress"][0]["from"];
    assert_eq!(*from, yaml("[{podSelector: {}}]"));
}

#[test]
fn only_listed_egress_leaves_the_pods() {
    let manifests = render("");
    let policy = &manifests.all("NetworkPolicy")[0]["spec"];
    assert_eq!(policy["egress"], yaml("[]"));
    let rule = "{to: [{ipBlock: {cidr: 10.0.0.1/32}}], ports: [{port: 6379}]}";
    // A remote source, or the sidecar of a mesh.
    for source in [REDIS, ""] {
        let manifests = render(&format!("{source}networkPolicy: {{egress: [{rule}]}}"));
        let egress = items(&manifests.all("NetworkPolicy")[0]["spec"]["egress"]);
        assert_eq!(egress.len(), 2, "names and what is named");
        assert_eq!(
            egress[0]["ports"],
            yaml("[{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]")
        );
        assert_eq!(items(&egress[0]["to"]).len(), 1);
        assert_eq!(egress[1], yaml(rule));
    }
}

#[test]
fn only_a_changed_configuration_creates_new_pods() {
    let template = |values: &str| render(values).all("Deployment")[0]["spec"]["template"].clone();
    let before = template("");
    assert_eq!(template("replicas: 5"), before);
    let changed = template("config: {default: deny}");
    assert_ne!(changed, before);
    assert_eq!(changed["spec"], before["spec"], "only the checksum differs");
}

#[test]
fn tls_follows_the_values() {
    let tls = |values: &str| config_of(&render(values))["server"]["grpc"]["tls"].clone();
    assert!(tls("").is_null());
    let (own, files) = (
        "tls: {secretName: own}",
        "cert_file: /etc/keyward/tls/tls.crt, key_file: /etc/keyward/tls/tls.key",
    );
    assert_eq!(tls(own), yaml(&format!("{{{files}}}")));
    let both = "tls: {secretName: own, clientCaSecretName: theirs}";
    let client_ca = "client_ca_file: /etc/keyward/client-ca/ca.crt";
    assert_eq!(tls(both), yaml(&format!("{{{files}, {client_ca}}}")));
    let manifests = render(both);
    let volumes = items(&keyward_of(&manifests).0["volumes"]);
    let theirs = volumes.iter().find(|volume| volume["name"] == "client-ca");
    // The gateways' Secret may contain their private key.
    let expected = yaml("{secretName: theirs, items: [{key: ca.crt, path: ca.crt}]}");
    assert_eq!(theirs.unwrap()["secret"], expected);
}

#[test]
fn the_service_is_headless_unless_the_values_say_otherwise() {
    for (values, address) in [("", "None"), ("service: {headless: false}", "")] {
        let manifests = render(values);
        let service = manifests.all("Service")[0];
        assert_eq!(text_of(&service["spec"]["clusterIP"]), address, "{values}");
        // Peers that may send checks may not read metrics.
        let ports = yaml("[{name: grpc, port: 9191, targetPort: grpc, protocol: TCP}]");
        assert_eq!(service["spec"]["ports"], ports);
    }
}

#[test]
fn the_image_has_the_charts_version_by_default() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (values, image) in [
        (String::new(), "ghcr.io/keyward/keyward:0.1.0".to_owned()),
        (
            "image: {tag: \"1.2\"}".into(),
            "ghcr.io/keyward/keyward:1.2".into(),
        ),
        (
            format!("image: {{repository: own/keyward, tag: \"1.2\", digest: \"{digest}\"}}"),
            format!("own/keyward@{digest}"),
        ),
    ] {
        let manifests = render(&values);
        assert_eq!(keyward_of(&manifests).1["image"], image, "{values}");
    }
    // The chart's version is keyward's.
    assert_eq!(env!("CARGO_PKG_VERSION"), "0.1.0");
}

/// What helm prints after an installation.
fn notes(values: &str) -> String {
    let all = helm(
        &[
            "install",
            "gw",
            "--namespace",
            "gateway",
            "--dry-run=client",
        ],
        values,
    )
    .unwrap();
    let (_, notes) = all.split_once("\nNOTES:\n").expect("there are notes");
    notes.to_owned()
}

#[test]
fn the_notes_warn_about_insecure_values() {
    let (tls, clients) = (
        "tls.secretName is not set",
        "tls.clientCaSecretName is not set",
    );
    let (policy, observe) = ("networkPolicy.enabled is false", "config.mode is observe");
    for (values, expected) in [
        ("", &[tls][..]),
        ("tls: {secretName: a}", &[clients]),
        ("tls: {secretName: a, clientCaSecretName: b}", &[]),
        (
            "networkPolicy: {enabled: false}\nconfig: {mode: observe}",
            &[tls, policy, observe],
        ),
    ] {
        let text = notes(values);
        for warning in [tls, clients, policy, observe] {
            assert_eq!(
                text.contains(warning),
                expected.contains(&warning),
                "{values}: {text}"
            );
        }
        assert!(text.contains("gw-keyward.gateway.svc:9191"), "{text}");
        assert!(
            text.contains("create secret generic keyward-keys"),
            "{text}"
        );
    }
    for (name, values) in value_sets() {
        assert!(!notes(&values).contains("<no value>"), "{name}");
    }
}
