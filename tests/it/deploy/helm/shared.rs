//! A gateway and the shared keyward as the chart configures it, with certificates on both sides: a
//! real Envoy with the shipped bootstrap and the cluster shipped beside the chart.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{CHART, render, secrets};
use crate::deploy::kubernetes::running::status;
use crate::support::bootstrap::yaml;
use crate::support::certs::Authority;
use crate::support::envoy;
use crate::support::http1;
use crate::support::keyfile::KeyFile;
use crate::support::kubernetes::{read, run, shipped};
use crate::support::message::Ask;
use crate::support::pod::{Files, Pod};
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::upstream::Upstream;
use crate::support::wait;

/// deploy/envoy/envoy.yaml with the cluster of deploy/helm/gateway-cluster.yaml in it.
fn bootstrap() -> String {
    let mut whole = yaml(&read(shipped("deploy/envoy/envoy.yaml")));
    let clusters = whole["static_resources"]["clusters"]
        .as_sequence_mut()
        .unwrap();
    let ours = clusters
        .iter_mut()
        .find(|cluster| cluster["name"] == "keyward")
        .unwrap();
    *ours = yaml(&read(shipped("deploy/helm/gateway-cluster.yaml")));
    serde_yaml::to_string(&whole).unwrap()
}

/// Writes the certificate of a gateway to where the cluster looks for it.
fn certificates(dir: &Path, trusts: &Authority, issuer: &Authority) {
    issuer.issue("envoy").put(dir);
    fs::write(dir.join("ca.crt"), trusts.pem()).unwrap();
}

#[test]
fn envoy_accepts_the_cluster() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new();
    certificates(dir.path(), &authority, &authority);
    let file = dir.path().join("envoy.yaml");
    let text = bootstrap().replace("/etc/envoy/keyward-tls", dir.path().to_str().unwrap());
    fs::write(&file, text).unwrap();
    let mut envoy = Command::new(envoy::binary());
    envoy.args(["--mode", "validate", "--log-level", "error", "-c"]);
    run(envoy.arg(file)).unwrap();
}

/// The cluster differs from the sidecar's only in how it reaches keyward.
#[test]
fn the_cluster_has_the_same_protection_as_the_sidecars() {
    let sidecar = yaml(&read(shipped("deploy/envoy/envoy.yaml")));
    let clusters = sidecar["static_resources"]["clusters"]
        .as_sequence()
        .unwrap();
    let sidecar = clusters
        .iter()
        .find(|cluster| cluster["name"] == "keyward")
        .unwrap();
    let shared = yaml(&read(shipped("deploy/helm/gateway-cluster.yaml")));
    for same in [
        "connect_timeout",
        "typed_extension_protocol_options",
        "health_checks",
        "common_lb_config",
        "circuit_breakers",
    ] {
        assert!(
            sidecar[same].is_mapping() || sidecar[same].is_sequence() || sidecar[same].is_string()
        );
        assert_eq!(shared[same], sidecar[same], "{same}");
    }
}

struct Gateway {
    process: Process,
    at: Port,
    _dir: TempDir,
}

/// The name in keyward's certificate.
pub(super) const NAME: &str = "keyward.keyward.svc.cluster.local";

/// An Envoy in front of `upstream` that asks keyward at `grpc`, and expects this name in its
/// certificate.
async fn gateway(
    (trusts, issuer): (&Authority, &Authority),
    expects: &str,
    grpc: &Port,
    upstream: SocketAddr,
) -> Gateway {
    let (dir, at, admin) = (TempDir::new().unwrap(), Port::reserve(), Port::reserve());
    certificates(dir.path(), trusts, issuer);
    let mut text = bootstrap();
    for (shipped, ours) in [
        ("/etc/envoy/keyward-tls", dir.path().display().to_string()),
        (
            "exact: keyward.keyward.svc.cluster.local",
            format!("exact: {expects}"),
        ),
        (
            "address: keyward.keyward.svc.cluster.local\n",
            "address: 127.0.0.1\n".into(),
        ),
        ("port_value: 9191", format!("port_value: {}", grpc.number())),
        ("port_value: 10000", format!("port_value: {}", at.number())),
        (
            "port_value: 9901",
            format!("port_value: {}", admin.number()),
        ),
        (
            "port_value: 8080",
            format!("port_value: {}", upstream.port()),
        ),
    ] {
        assert!(text.contains(shipped), "{shipped}");
        text = text.replace(shipped, &ours);
    }
    let file = dir.path().join("envoy.yaml");
    fs::write(&file, text).unwrap();
    let mut process = Process::start(
        Command::new(envoy::binary())
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warn",
                "-c",
            ])
            .arg(file),
    );
    wait::until("Envoy listens", async || {
        assert!(
            process.exited().is_none(),
            "Envoy has ended: {}",
            process.output()
        );
        TcpStream::connect(at.address()).await.is_ok()
    })
    .await;
    Gateway {
        process,
        at,
        _dir: dir,
    }
}

#[tokio::test]
async fn gateways_with_a_certificate_ask_over_tls_and_others_get_no_answer() {
    let (authority, untrusted) = (Authority::new(), Authority::new());
    let mut given: BTreeMap<_, Files> = secrets(&authority);
    let keys = KeyFile::new().key("me", "my-secret", &["client: acme"]);
    given.insert(
        "keyward-keys",
        [("keys.yaml".to_owned(), keys.text().into())].into(),
    );
    let manifests = render(&read(shipped(CHART).join("ci/tls-values.yaml")));
    let pod = Pod::lay_out(&manifests, manifests.all("Deployment")[0], &given);
    let container = pod.container("keyward");
    let (grpc, admin) = (Port::reserve(), Port::reserve());
    container.edit("/etc/keyward/keyward.yaml", |text| {
        text.replace("0.0.0.0:9191", &grpc.address().to_string())
            .replace("0.0.0.0:9192", &admin.address().to_string())
    });
    let mut keyward =
        Process::start(Command::new(env!("CARGO_BIN_EXE_keyward")).args(container.arguments()));
    wait::until("keyward is ready", async || {
        assert!(keyward.exited().is_none(), "{}", keyward.output());
        status(admin.address(), "/readyz").await == Some(200)
    })
    .await;
    assert!(
        !keyward.output().contains("without TLS"),
        "{}",
        keyward.output()
    );

    let upstream = Upstream::start().await;
    let ask = Ask::get("/v1/orders").key("my-secret");
    let trusted = gateway((&authority, &authority), NAME, &grpc, upstream.address).await;
    let passed = http1::send(trusted.at.address(), &ask).await;
    assert_eq!(
        passed.status,
        200,
        "{passed:?} {}",
        trusted.process.output()
    );
    assert_eq!(upstream.take_one().all("x-keyward-client"), ["acme"]);
    let refused = http1::send(trusted.at.address(), &Ask::get("/v1/orders")).await;
    assert_eq!(
        (refused.status, &refused.problem()["code"]),
        (401, &"missing_key".into())
    );

    // A certificate by another CA, a gateway that does not trust keyward's, a gateway that expects
    // another name: no response, and nobody passes.
    for (authorities, expects) in [
        ((&authority, &untrusted), NAME),
        ((&untrusted, &authority), NAME),
        ((&authority, &authority), "somebody.else"),
    ] {
        let gateway = gateway(authorities, expects, &grpc, upstream.address).await;
        assert_eq!(http1::send(gateway.at.address(), &ask).await.status, 503);
    }
    assert!(upstream.take().is_empty());
}
