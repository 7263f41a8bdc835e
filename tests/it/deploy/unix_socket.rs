//! `deploy/envoy/envoy.yaml` over a Unix socket, changed by the command in
//! `deploy/envoy/README.md`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::envoy;
use crate::support::http1;
use crate::support::keyward::{Address, Home};
use crate::support::message::Ask;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::scene::{keys_without_plans, secret};
use crate::support::upstream::Upstream;
use crate::support::wait;

use super::path;

const SOCKET: &str = "/run/keyward/keyward.sock";

/// Runs the README's command: it reads `envoy.yaml` and writes `envoy-unix.yaml`.
fn apply_the_readmes_command(dir: &Path) -> String {
    let readme = fs::read_to_string(path("envoy/README.md")).unwrap();
    let command = readme.lines().find(|line| line.starts_with("sed "));
    let command = command.expect("a line in deploy/envoy/README.md that begins with `sed `");
    fs::copy(path("envoy/envoy.yaml"), dir.join("envoy.yaml")).unwrap();
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", command]).current_dir(dir).status();
    assert!(status.unwrap().success(), "{command}");
    fs::read_to_string(dir.join("envoy-unix.yaml")).unwrap()
}

#[test]
fn the_command_changes_the_one_line_that_names_keyward() {
    let dir = TempDir::new().unwrap();
    let changed = apply_the_readmes_command(dir.path());
    let shipped = fs::read_to_string(path("envoy/envoy.yaml")).unwrap();
    let differences = shipped.lines().zip(changed.lines()).filter(|(a, b)| a != b);
    let differences: Vec<(&str, &str)> = differences.collect();
    let [(from, to)] = differences[..] else {
        panic!("one line: {differences:#?}");
    };
    assert!(from.contains("port_value: 9191"), "{from}");
    assert!(to.contains(SOCKET), "{to}");
    assert_eq!(shipped.lines().count(), changed.lines().count());
}

#[tokio::test]
async fn envoy_asks_keyward_over_the_socket() {
    let dir = TempDir::new().unwrap();
    let changed = apply_the_readmes_command(dir.path());
    let socket = dir.path().join("keyward.sock");
    let home = Home::new("{}", &keys_without_plans());
    home.configure(&format!(
        "{{server: {{grpc: {{address: \"unix:{}\"}}}}}}",
        socket.display()
    ));
    let keyward = home.start().await;
    assert_eq!(keyward.grpc, Address::Unix(socket.clone()));
    let upstream = Upstream::start().await;
    // Only the addresses, as the header of envoy.yaml says.
    let ports = (Port::reserve(), Port::reserve());
    let (ingress, admin) = (ports.0.address(), ports.1.address());
    let mut text = changed.replace(SOCKET, socket.to_str().unwrap());
    for (port, address) in [(10000, ingress), (9901, admin), (8080, upstream.address)] {
        let port_line = format!("port_value: {port}");
        assert_eq!(text.matches(&port_line).count(), 1, "{port_line}");
        text = text.replace(&port_line, &format!("port_value: {}", address.port()));
    }
    let config = dir.path().join("envoy.yaml");
    fs::write(&config, text).unwrap();
    let mut envoy = Process::start(
        Command::new(envoy::binary())
            .args(["--concurrency", "1", "--use-dynamic-base-id"])
            .args(["--log-level", "warn", "-c"])
            .arg(&config),
    );
    // The line that the README mentions, and proof that it comes from a health check.
    let healthy = format!("keyward::{}::health_flags::healthy", socket.display());
    wait::until("keyward is healthy to Envoy", async || {
        let ended = envoy.exited();
        assert!(ended.is_none(), "{}", envoy.output());
        if tokio::net::TcpStream::connect(admin).await.is_err() {
            return false;
        }
        let stat = "cluster.keyward.health_check.success";
        let stats = http1::fetch(admin, &format!("/stats?filter={stat}")).await;
        let clusters = http1::fetch(admin, "/clusters").await.text();
        clusters.contains(&healthy) && !stats.text().contains(&format!("{stat}: 0"))
    })
    .await;
    let ask = Ask::get("/v1/orders");
    let reply = http1::send(ingress, &ask).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.problem()["code"], "missing_key");
    assert!(upstream.take().is_empty());
    let reply = http1::send(ingress, &ask.key(&secret("bare"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let received = upstream.take_one();
    assert_eq!(received.all("x-keyward-client"), ["bare"]);
}
