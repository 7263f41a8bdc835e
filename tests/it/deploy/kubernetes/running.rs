//! The containers of a pod as processes on this machine, with their own arguments and files; only
//! ports and paths differ.

use std::net::SocketAddr;
use std::process::Command;

use tokio::net::TcpStream;

use crate::support::envoy;
use crate::support::http1;
use crate::support::pod::Pod;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::wait;

/// The listeners of the pod on this machine.
pub struct Ports {
    pub http: Port,
    pub envoy_admin: Port,
    pub keyward_admin: Port,
}

impl Ports {
    pub fn reserve() -> Self {
        Self {
            http: Port::reserve(),
            envoy_admin: Port::reserve(),
            keyward_admin: Port::reserve(),
        }
    }

    /// Replaces the pod's ports in a text by these.
    pub fn in_place_of_the_pods(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pods, ours) in [
            ("10000", &self.http),
            ("9901", &self.envoy_admin),
            ("9192", &self.keyward_admin),
        ] {
            for before in ["port_value: ", "127.0.0.1/", "0.0.0.0:"] {
                text = text.replace(
                    &format!("{before}{pods}"),
                    &format!("{before}{}", ours.number()),
                );
            }
        }
        text
    }
}

/// The status of a response; `None` if nothing listens.
pub async fn status(at: SocketAddr, path: &str) -> Option<u16> {
    TcpStream::connect(at).await.ok()?;
    Some(http1::fetch(at, path).await.status)
}

/// Starts keyward, and returns when the kubelet would start the next container.
pub async fn keyward(pod: &Pod, container: &str, ports: &Ports) -> Process {
    let container = pod.container(container);
    let mut process =
        Process::start(Command::new(env!("CARGO_BIN_EXE_keyward")).args(container.arguments()));
    let probe = &container.manifest["startupProbe"]["httpGet"]["path"];
    wait::until("keyward passes its startup probe", async || {
        assert!(
            process.exited().is_none(),
            "keyward has ended: {}",
            process.output()
        );
        status(ports.keyward_admin.address(), probe.as_str().unwrap()).await == Some(200)
    })
    .await;
    process
}

/// Starts Envoy, and returns when its readiness probe would pass.
pub async fn envoy(pod: &Pod, ports: &Ports) -> Process {
    let mut process = Process::start(
        Command::new(envoy::binary())
            .args(pod.container("envoy").arguments())
            .args(["--log-level", "warn"]),
    );
    wait::until("Envoy listens", async || {
        assert!(
            process.exited().is_none(),
            "Envoy has ended: {}",
            process.output()
        );
        TcpStream::connect(ports.http.address()).await.is_ok()
    })
    .await;
    process
}
