//! Who reaches whom, what a change does, and what the operator is told at the end.

use super::{config_of, helm, keyward_of, render, value_sets};
use crate::support::bootstrap::yaml;
use crate::support::kubernetes::{items, text_of};

const REDIS: &str = "config: {source: {redis: {url: \"redis://a:1\"}}}\n";

/// The ports that the rules of a network policy name, with the peers that may use them.
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
fn an_empty_list_of_peers_lets_in_nobody() {
    for (values, expected) in [
        ("", &[(9191, 1), (9192, 1)][..]),
        ("networkPolicy: {scrapers: []}", &[(9191, 1)]),
        ("networkPolicy: {gateways: []}", &[(9192, 1)]),
        ("networkPolicy: {gateways: [], scrapers: []}", &[]),
    ] {
        assert_eq!(ingress(values), expected, "{values}");
    }
    // By default the gateways of the same namespace alone.
    let manifests = render("");
    let from = &manifests.all("NetworkPolicy")[0]["spec"]["ingress"][0]["from"];
    assert_eq!(*from, yaml("[{podSelector: {}}]"));
}

#[test]
fn nothing_leaves_the_pods_but_what_is_named() {
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
fn a_changed_configuration_makes_new_pods_and_nothing_else_does() {
    let template = |values: &str| render(values).all("Deployment")[0]["spec"]["template"].clone();
    let before = template("");
    assert_eq!(template("replicas: 5"), before);
    let changed = template("config: {default: deny}");
    assert_ne!(changed, before);
    assert_eq!(changed["spec"], before["spec"], "only the checksum differs");
}

#[test]
fn tls_is_what_the_values_say() {
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
    // The gateways' Secret may hold their private key.
    let expected = yaml("{secretName: theirs, items: [{key: ca.crt, path: ca.crt}]}");
    assert_eq!(theirs.unwrap()["secret"], expected);
}

#[test]
fn the_service_stands_for_every_pod_unless_it_is_to_have_an_address() {
    for (values, address) in [("", "None"), ("service: {headless: false}", "")] {
        let manifests = render(values);
        let service = manifests.all("Service")[0];
        assert_eq!(text_of(&service["spec"]["clusterIP"]), address, "{values}");
        // Metrics are not for everyone who asks keyward.
        let ports = yaml("[{name: grpc, port: 9191, targetPort: grpc, protocol: TCP}]");
        assert_eq!(service["spec"]["ports"], ports);
    }
}

#[test]
fn the_image_is_the_charts_version_unless_named() {
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
fn the_notes_warn_of_what_is_open() {
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
        let told = notes(values);
        for warning in [tls, clients, policy, observe] {
            assert_eq!(
                told.contains(warning),
                expected.contains(&warning),
                "{values}: {told}"
            );
        }
        assert!(told.contains("gw-keyward.gateway.svc:9191"), "{told}");
        assert!(
            told.contains("create secret generic keyward-keys"),
            "{told}"
        );
    }
    for (name, values) in value_sets() {
        assert!(!notes(&values).contains("<no value>"), "{name}");
    }
}
