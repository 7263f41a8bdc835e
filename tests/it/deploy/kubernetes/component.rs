//! The component on other workloads, and the facts that its examples depend on.

use std::fs;

use serde_yaml::Value;
use tempfile::TempDir;

use super::{example, facts, listed};
use crate::support::bootstrap::yaml;
use crate::support::kubernetes::{Manifests, items, read, shipped, text_of};
use crate::support::pod::containers;

/// A kustomization that uses the component, after `change` to the component's patch.
fn with_component(workloads: &str, more: &str, change: impl FnOnce(String) -> String) -> Manifests {
    let dir = TempDir::new().unwrap();
    let component = dir.path().join("component");
    fs::create_dir(&component).unwrap();
    for name in listed(&shipped("deploy/kubernetes/component")) {
        let text = read(shipped("deploy/kubernetes/component").join(&name));
        fs::write(component.join(name), text).unwrap();
    }
    let patch = component.join("sidecar.yaml");
    fs::write(&patch, change(read(&patch))).unwrap();
    fs::write(dir.path().join("workloads.yaml"), workloads).unwrap();
    let kustomization = format!("resources: [workloads.yaml]\ncomponents: [component]\n{more}");
    fs::write(dir.path().join("kustomization.yaml"), kustomization).unwrap();
    Manifests::of_kustomization(dir.path())
}

/// A workload with additional members in its pod.
fn workload(kind: &str, labels: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: edge, labels: {labels}}}\nspec:\n  selector: {{matchLabels: {{app: edge}}}}\n  \
         template: {{metadata: {{labels: {{app: edge}}}}, spec: {pod}}}\n"
    )
}

const LABELLED: &str = "{keyward.dev/sidecar: \"true\"}";
const POD: &str = "{initContainers: [{name: migrate, image: x}], containers: [{name: app, image: x}, {name: envoy, image: x}], volumes: [{name: own, emptyDir: {}}]}";

fn names(spec: &Value) -> Vec<(&str, bool)> {
    let all = containers(spec).into_iter();
    all.map(|(container, init)| (text_of(&container["name"]), init))
        .collect()
}

#[test]
fn every_kind_of_workload_with_the_label_gets_the_sidecar_first() {
    for kind in ["Deployment", "DaemonSet", "StatefulSet"] {
        let rendered = with_component(&workload(kind, LABELLED, POD), "", |patch| patch);
        let spec = &rendered.one(kind, "edge")["spec"]["template"]["spec"];
        let mut all = names(spec);
        assert_eq!(all[..2], [("keyward", true), ("migrate", true)], "{kind}");
        all.sort_unstable();
        assert_eq!(
            all,
            [
                ("app", false),
                ("envoy", false),
                ("keyward", true),
                ("migrate", true)
            ],
            "{kind}"
        );
        for (container, _) in containers(spec) {
            let sockets = facts::mount_paths(spec, container, "emptyDir", "keyward-socket");
            let with_socket = ["keyward", "envoy"].contains(&text_of(&container["name"]));
            assert_eq!(!sockets.is_empty(), with_socket, "{kind}: {container:?}");
        }
    }
}

#[test]
fn a_workload_without_the_label_is_unchanged() {
    for labels in ["{}", "{keyward.dev/sidecar: \"false\"}"] {
        let before = workload("Deployment", labels, POD);
        let rendered = with_component(&before, "", |patch| patch);
        assert_eq!(rendered.documents, [yaml(&before)], "{labels}");
    }
}

#[test]
fn image_and_envoys_name_can_be_changed() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let images = format!(
        "images: [{{name: ghcr.io/keyward/keyward, newName: registry.example/keyward, digest: \"{digest}\"}}]\n"
    );
    let pod = POD.replace("name: envoy", "name: proxy");
    let rendered = with_component(&workload("Deployment", LABELLED, &pod), &images, |patch| {
        // The change that the README describes.
        assert_eq!(patch.matches("- name: envoy\n").count(), 1);
        patch.replace("- name: envoy\n", "- name: proxy\n")
    });
    let spec = &rendered.one("Deployment", "edge")["spec"]["template"]["spec"];
    let all = containers(spec);
    assert_eq!(
        all[0].0["image"],
        format!("registry.example/keyward@{digest}")
    );
    for (container, _) in &all {
        assert!(
            container["image"].is_string(),
            "a container of the patch's own: {container:?}"
        );
    }
    let proxy = all
        .iter()
        .find(|(container, _)| container["name"] == "proxy");
    assert_eq!(
        facts::mount_paths(spec, proxy.unwrap().0, "emptyDir", "keyward-socket"),
        ["/run/keyward"]
    );
}

#[test]
fn the_sidecar_of_each_example_is_native_and_has_its_files() {
    for name in ["file", "redis"] {
        let manifests = example(name);
        let deployment = manifests.one("Deployment", "envoy");
        let spec = &deployment["spec"]["template"]["spec"];
        let keyward = &items(&spec["initContainers"])[0];
        // The check that the README describes.
        let sidecars = manifests.text.matches("restartPolicy: Always").count();
        assert_eq!(sidecars, 1, "{name}");
        assert_eq!(
            keyward["restartPolicy"], "Always",
            "{name}: a native sidecar"
        );
        assert_eq!(keyward["image"], "ghcr.io/keyward/keyward:0.1.0", "{name}");
        let args = yaml("[serve, -c, /etc/keyward/keyward.yaml]");
        assert_eq!(keyward["args"], args, "{name}");

        let map = manifests.one("ConfigMap", "keyward");
        let mounted = &items(&spec["volumes"])
            .iter()
            .find(|v| v["name"] == "keyward-config");
        let mounted = &mounted.unwrap()["configMap"]["name"];
        // With the hash of the content, so that a change creates new pods.
        assert_eq!(*mounted, map["metadata"]["name"], "{name}");
        assert!(text_of(mounted).len() > "keyward-".len(), "{name}");
        assert_eq!(
            facts::mount_paths(spec, keyward, "configMap", "keyward"),
            ["/etc/keyward"]
        );
        let (secret, at) = match name {
            "file" => ("keyward-keys", "/etc/keyward/keys"),
            _ => ("keyward-redis", "/etc/keyward/redis"),
        };
        assert_eq!(
            facts::mount_paths(spec, keyward, "secret", secret),
            [at],
            "{name}"
        );

        let config = yaml(text_of(&map["data"]["keyward.yaml"]));
        facts::probed(name, keyward, &config);
        facts::finds_its_files(name, keyward, &config);
        let envoy = &items(&spec["containers"])[0];
        same_socket(name, &manifests, spec, [keyward, envoy], &config);
        grace(name, spec, envoy, &config);
    }
}

/// keyward listens on the socket that Envoy uses, in a directory of a volume that both mount and
/// Envoy cannot write to.
fn same_socket(at: &str, manifests: &Manifests, spec: &Value, both: [&Value; 2], config: &Value) {
    let bootstrap = manifests.one("ConfigMap", "envoy");
    let bootstrap = yaml(text_of(&bootstrap["data"]["envoy.yaml"]));
    let clusters = items(&bootstrap["static_resources"]["clusters"]).iter();
    let cluster = clusters
        .into_iter()
        .find(|cluster| cluster["name"] == "keyward");
    let endpoint = &cluster.unwrap()["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    let pipe = text_of(&endpoint["endpoint"]["address"]["pipe"]["path"]);
    let grpc = &config["server"]["grpc"];
    assert_eq!(text_of(&grpc["address"]), format!("unix:{pipe}"), "{at}");
    // The two run as different users.
    assert_eq!(grpc["socket_mode"], "0666", "{at}");
    for container in both {
        let mounted = facts::mount_paths(spec, container, "emptyDir", "keyward-socket");
        assert_eq!(mounted, ["/run/keyward"], "{at}");
        assert!(pipe.starts_with("/run/keyward/"), "{at}");
        let mounts = items(&container["volumeMounts"]).iter();
        let socket = mounts
            .into_iter()
            .find(|mount| mount["name"] == "keyward-socket");
        let read_only = &socket.unwrap()["readOnly"];
        assert_eq!(*read_only == true, container["name"] == "envoy", "{at}");
    }
}

/// Envoy's drain and keyward's deadline together fit into the grace period.
fn grace(at: &str, spec: &Value, envoy: &Value, config: &Value) {
    let pre_stop = &envoy["lifecycle"]["preStop"]["exec"]["command"];
    let script = text_of(&items(pre_stop)[2]);
    let sleep = script
        .lines()
        .find_map(|line| line.strip_prefix("sleep "))
        .unwrap();
    let args: Vec<_> = items(&envoy["args"]).iter().map(text_of).collect();
    let drain = args
        .iter()
        .position(|arg| *arg == "--drain-time-s")
        .unwrap();
    assert_eq!(args[drain + 1], sleep, "{at}");
    let deadline = config["server"]["deadline"].as_str().unwrap_or("20s");
    let needed = sleep.parse::<u64>().unwrap() + facts::seconds(deadline);
    let given = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(given > needed, "{at}: {given} s for {needed} s");
}
