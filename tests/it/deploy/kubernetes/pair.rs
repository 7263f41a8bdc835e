//! The example with keys in a file, following its README: create a key, render the manifests, and
//! run keyward and Envoy as their containers would, over their shared socket; update a Secret as
//! the kubelet does; end the pod.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::listed;
use super::running::{self, Ports, status};
use crate::support::envoy;
use crate::support::http1::{self, Connection};
use crate::support::kubernetes::{Manifests, items, keyward, read, shipped, text_of};
use crate::support::message::Ask;
use crate::support::pod::{self, Pod, decoded};
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::upstream::Upstream;
use crate::support::wait;

/// Copies a directory, to change it as an operator would.
fn copied(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in listed(from) {
        if from.join(&name).is_dir() {
            copied(&from.join(&name), &to.join(&name));
        } else {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

struct Tried {
    dir: TempDir,
    secret: String,
}

impl Tried {
    /// A copy of the example with a key in it.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let tried = Self {
            secret: String::new(),
            dir,
        };
        copied(
            &shipped("deploy/kubernetes"),
            &tried.dir.path().join("kubernetes"),
        );
        let secret = tried.keys(&["new", "--id", "me", "--client", "acme"]);
        Self { secret, ..tried }
    }

    fn example(&self) -> std::path::PathBuf {
        self.dir.path().join("kubernetes/examples/file")
    }

    /// `keyward keys` on the example's file.
    fn keys(&self, arguments: &[&str]) -> String {
        let file = self.example().join("keys.yaml");
        let mut all = vec!["keys"];
        all.extend(arguments);
        all.extend(["--file", file.to_str().unwrap()]);
        keyward(&all).unwrap().trim().to_owned()
    }

    /// Adds a line to the last key of the file, as with an editor.
    fn revoke(&self) {
        let file = self.example().join("keys.yaml");
        let text = format!("{}    revoked_at: 2026-01-01T00:00:00Z\n", read(&file));
        fs::write(file, text).unwrap();
    }

    fn render(&self) -> Manifests {
        Manifests::of_kustomization(&self.example())
    }
}

/// The pod, with its files changed as little as possible to run here.
fn laid_out(manifests: &Manifests, ports: &Ports, upstream: &Upstream) -> Pod {
    let pod = Pod::lay_out(
        manifests,
        manifests.one("Deployment", "envoy"),
        &BTreeMap::new(),
    );
    pod.container("keyward")
        .edit("/etc/keyward/keyward.yaml", |text| {
            ports.in_place_of_the_pods(&text)
        });
    pod.container("envoy")
        .edit("/etc/envoy/envoy.yaml", |text| {
            let upstream = format!("127.0.0.1, port_value: {}", upstream.address.port());
            ports
                .in_place_of_the_pods(&text)
                .replace("upstream, port_value: 8080", &upstream)
        });
    pod
}

#[tokio::test]
async fn only_a_request_with_a_key_passes_and_a_revocation_arrives_with_the_secret() {
    let tried = Tried::new();
    let (manifests, ports, upstream) = (tried.render(), Ports::reserve(), Upstream::start().await);
    let pod = laid_out(&manifests, &ports, &upstream);
    let config = pod.container("keyward").path("/etc/keyward/keyward.yaml");
    let valid = keyward(&["check-config", "-c", config.to_str().unwrap()]).unwrap();
    assert!(
        valid.contains("valid; 1 rules, 0 plans, 1 keys in "),
        "{valid}"
    );

    let _keyward = running::keyward(&pod, "keyward", &ports).await;
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = &pod.container("keyward").manifest[probe]["httpGet"]["path"];
        let asked = status(ports.keyward_admin.address(), text_of(path)).await;
        assert_eq!(asked, Some(200), "{probe}");
    }
    let socket = pod.volume("keyward-socket").join("keyward.sock");
    let mode = fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "for a user that is not keyward's");
    let _envoy = running::envoy(&pod, &ports).await;

    let (to, with_key) = (
        ports.http.address(),
        Ask::get("/v1/orders").key(&tried.secret),
    );
    let passed = http1::send(to, &with_key).await;
    assert_eq!(passed.status, 200, "{passed:?}");
    let received = upstream.take_one();
    assert_eq!(received.all("x-keyward-client"), ["acme"]);
    assert_eq!(received.all("x-api-key"), [""; 0]);
    for (ask, code) in [
        (Ask::get("/v1/orders"), "missing_key"),
        (Ask::get("/v1/orders").key("somebody-else"), "unknown_key"),
    ] {
        let refused = http1::send(to, &ask).await;
        assert_eq!(
            (refused.status, &refused.problem()["code"]),
            (401, &code.into())
        );
    }
    assert_eq!(
        http1::send(to, &Ask::get("/healthz")).await.status,
        200,
        "open to all"
    );
    upstream.take();

    tried.revoke();
    let changed = tried.render();
    let secret = changed.one("Secret", "keyward-keys");
    pod::put(&pod.volume("keyward-keys"), &decoded(&secret["data"]));
    wait::until("the key is refused", async || {
        http1::send(to, &with_key).await.status == 401
    })
    .await;
    let refused = http1::send(to, &with_key).await;
    assert_eq!(refused.problem()["code"], "key_revoked");
    assert_eq!(
        secret["metadata"]["name"], "keyward-keys",
        "followed by its name"
    );
    let names =
        |of: &Manifests| text_of(&of.one("ConfigMap", "keyward")["metadata"]["name"]).to_owned();
    assert_eq!(names(&changed), names(&manifests), "no new pods for it");
}

#[tokio::test]
async fn the_pod_ends_envoy_first_and_callers_are_warned_before() {
    let tried = Tried::new();
    let (rendered, ports, upstream) = (tried.render(), Ports::reserve(), Upstream::start().await);
    // 15 s are too long for a test.
    let manifests = Manifests::new(rendered.text.replace("- \"15\"", "- \"5\""));
    assert_ne!(manifests.text, rendered.text);
    let pod = laid_out(&manifests, &ports, &upstream);
    let mut keyward = running::keyward(&pod, "keyward", &ports).await;
    let mut envoy = running::envoy(&pod, &ports).await;

    let (to, ask) = (
        ports.http.address(),
        Ask::get("/v1/orders").key(&tried.secret),
    );
    let mut kept = Connection::open(to).await;
    let before = kept.send(&ask).await.unwrap();
    assert_eq!(before.status, 200, "{before:?}");
    assert_eq!(before.all("connection"), [""; 0]);
    let hook = &pod.container("envoy").manifest["lifecycle"]["preStop"]["exec"]["command"];
    let hook: Vec<_> = items(hook).iter().map(text_of).collect();
    assert!(hook[2].ends_with("\nsleep 15\n"), "{hook:?}");
    let script = ports.in_place_of_the_pods(hook[2]).replace("sleep 15", "");
    let mut hook = Process::start(Command::new(hook[0]).args([hook[1], &script]));
    wait::until("a connected caller is asked to reconnect", async || {
        let reply = kept.send(&ask).await.expect("it is served until then");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.all("connection") == ["close"]
    })
    .await;
    // The pod's address is still in use somewhere.
    assert_eq!(
        http1::send(to, &ask).await.status,
        200,
        "a new caller is served, too"
    );
    let done = hook.end().await;
    assert!(done.success(), "{}", hook.output());

    // As the kubelet does: first the containers, then the sidecars.
    envoy.signal("TERM");
    assert!(envoy.end().await.success());
    let ready = status(ports.keyward_admin.address(), "/readyz").await;
    assert_eq!(ready, Some(200));
    keyward.signal("TERM");
    let ended = keyward.end().await;
    assert_eq!(ended.code(), Some(0), "{}", keyward.output());
    let log = keyward.output();
    assert!(!log.contains("deadline"), "{log}");
}

#[tokio::test]
async fn the_upstream_of_the_example_reports_the_identity_it_received() {
    let manifests = Tried::new().render();
    let deployment = manifests.one("Deployment", "upstream");
    let pod = Pod::lay_out(&manifests, deployment, &BTreeMap::new());
    let (container, port) = (pod.container("upstream"), Port::reserve());
    container.edit("/etc/envoy/envoy.yaml", |text| {
        text.replace(
            "port_value: 8080",
            &format!("port_value: {}", port.number()),
        )
    });
    let upstream = Process::start(
        Command::new(envoy::binary())
            .args(container.arguments())
            .args(["--log-level", "warn"]),
    );
    wait::until("it listens", async || {
        status(port.address(), "/").await.is_some()
    })
    .await;
    let ask = Ask::get("/v1/invoices").header("x-keyward-key-id", "me");
    let reply = http1::send(port.address(), &ask.header("x-keyward-client", "acme")).await;
    assert_eq!(reply.status, 200, "{}", upstream.output());
    assert_eq!(reply.all("x-seen-key-id"), ["me"]);
    assert_eq!(reply.all("x-seen-client"), ["acme"]);
    assert_eq!(reply.all("x-seen-secret"), [""; 0]);
}
