//! Properties of a pod with keyward, checked on rendered manifests.

use std::path::Path;

use serde_yaml::Value;

use crate::support::bootstrap::yaml;
use crate::support::kubernetes::{items, text_of};
use crate::support::pod::containers;

/// What the restricted profile allows a container, with a read-only root.
fn restricted_as(uid: u32) -> Value {
    yaml(&format!(
        "{{runAsNonRoot: true, runAsUser: {uid}, runAsGroup: {uid}, allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}, seccompProfile: {{type: RuntimeDefault}}}}"
    ))
}

/// Checks a pod against the restricted profile and our own guarantees; `users` is its containers,
/// in order, with their users.
pub fn restricted(at: &str, spec: &Value, users: &[(&str, u32)]) {
    let all = containers(spec);
    let named = all.iter().map(|(container, _)| text_of(&container["name"]));
    let expected: Vec<_> = users.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.collect::<Vec<_>>(), expected, "{at}");
    assert_eq!(
        spec["automountServiceAccountToken"], false,
        "{at}: no token"
    );
    let pod = &spec["securityContext"];
    assert_eq!(pod["runAsNonRoot"], true, "{at}");
    assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{at}");
    for forbidden in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        assert!(spec[forbidden].is_null(), "{at}: {forbidden}");
    }
    for ((container, _), (name, uid)) in all.iter().zip(users) {
        let at = format!("{at}, container {name}");
        assert_eq!(container["securityContext"], restricted_as(*uid), "{at}");
        let resources = &container["resources"];
        for wanted in [
            &resources["requests"]["cpu"],
            &resources["requests"]["memory"],
            &resources["limits"]["memory"],
        ] {
            assert!(wanted.is_string(), "{at}: {resources:?}");
        }
        assert!(resources["limits"]["cpu"].is_null(), "{at}: throttled");
    }
    mounts(at, spec);
}

/// Every volume is mounted and every mount has a volume, as a directory; external content is
/// read-only.
fn mounts(at: &str, spec: &Value) {
    let volumes = items(&spec["volumes"]);
    let mut mounted = Vec::new();
    for (container, _) in containers(spec) {
        for mount in items(&container["volumeMounts"]) {
            let at = format!("{at}, {}: {mount:?}", text_of(&container["name"]));
            assert!(
                mount["subPath"].is_null() && mount["subPathExpr"].is_null(),
                "{at}: follows nothing"
            );
            let name = text_of(&mount["name"]);
            let volume = volumes.iter().find(|volume| volume["name"] == name);
            let volume = volume.unwrap_or_else(|| panic!("{at}: no such volume"));
            if volume["emptyDir"].is_null() {
                assert_eq!(mount["readOnly"], true, "{at}");
                let kinds = (
                    volume["configMap"].is_mapping(),
                    volume["secret"].is_mapping(),
                );
                assert_ne!(kinds, (false, false), "{at}: {volume:?}");
            }
            mounted.push(name);
        }
    }
    for volume in volumes {
        let name = text_of(&volume["name"]);
        assert!(mounted.contains(&name), "{at}: nothing mounts {name}");
    }
}

/// Where a container mounts the volume of this kind (`secret`, `configMap`, `emptyDir`) and name.
pub fn mount_paths<'a>(
    spec: &'a Value,
    container: &'a Value,
    kind: &str,
    source: &str,
) -> Vec<&'a str> {
    let volumes = items(&spec["volumes"]).iter();
    let of_it = volumes.filter(|volume| match kind {
        "secret" => volume["secret"]["secretName"] == source,
        "configMap" => text_of(&volume["configMap"]["name"]).starts_with(source),
        _ => volume[kind].is_mapping() && volume["name"] == source,
    });
    let names: Vec<_> = of_it.map(|volume| text_of(&volume["name"])).collect();
    let mounts = items(&container["volumeMounts"]).iter();
    let mounts = mounts.filter(|mount| names.contains(&text_of(&mount["name"])));
    mounts.map(|mount| text_of(&mount["mountPath"])).collect()
}

/// keyward's probes, and the port for Prometheus, use its admin listener.
pub fn probed(at: &str, container: &Value, config: &Value) {
    let ports = items(&container["ports"]).iter();
    let admin: Vec<_> = ports
        .filter(|port| port["name"] == "keyward-admin")
        .collect();
    assert_eq!(admin.len(), 1, "{at}");
    let port = admin[0]["containerPort"].as_u64().unwrap();
    let address = text_of(&config["server"]["admin"]["address"]);
    assert_eq!(
        address,
        format!("0.0.0.0:{port}"),
        "{at}: the kubelet asks at the pod's address"
    );
    for (probe, path) in [
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ] {
        let http = &container[probe]["httpGet"];
        assert_eq!(
            *http,
            yaml(&format!("{{path: {path}, port: keyward-admin}}")),
            "{at}: {probe}"
        );
    }
    for hook in ["preStop", "postStart"] {
        assert!(container["lifecycle"][hook].is_null(), "{at}: {hook}");
    }
}

/// Every file in keyward's configuration is in a mount of its container, deeper than the
/// configuration's own.
pub fn finds_its_files(at: &str, container: &Value, config: &Value) {
    let mounts = items(&container["volumeMounts"]).iter();
    let mounts: Vec<_> = mounts.map(|mount| text_of(&mount["mountPath"])).collect();
    assert!(mounts.contains(&"/etc/keyward"), "{at}: {mounts:?}");
    let mut paths = Vec::new();
    collect_paths(config, &mut paths);
    assert!(!paths.is_empty(), "{at}: a configuration without a file");
    for path in paths {
        let within = |mount: &&&str| Path::new(&path).starts_with(mount);
        let mount = mounts.iter().filter(within).max_by_key(|mount| mount.len());
        assert!(
            mount.is_some_and(|mount| *mount != "/etc/keyward"),
            "{at}: {path} is in no mount of {mounts:?}"
        );
    }
}

fn collect_paths(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Mapping(members) => members
            .values()
            .for_each(|value| collect_paths(value, into)),
        Value::Sequence(values) => values.iter().for_each(|value| collect_paths(value, into)),
        Value::String(text) => {
            let path = text.strip_prefix("unix:").unwrap_or(text);
            if path.starts_with("/etc/") || path.starts_with("/run/") {
                into.push(path.to_owned());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => {}
    }
}

/// Seconds of a duration such as `20s`.
pub fn seconds(text: &str) -> u64 {
    let number = text
        .strip_suffix('s')
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("not whole seconds: {text:?}"))
}
