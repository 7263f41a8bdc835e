//! The real keyward binary with a directory of its own: started on ports chosen by the system,
//! which it reports on stderr, and observed through its log, its metrics and its exit code.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_yaml::{Mapping, Value};
use tempfile::TempDir;

use super::http1;
use super::keyfile::{self, KeyFile};
use super::message::Reply;
use super::process::Process;
use super::wait;

/// Every test's base configuration.
const BASE: &str = r#"
server:
  grpc: {address: "127.0.0.1:0"}
  admin: {address: "127.0.0.1:0"}
source: {file: {path: keys.yaml}}
log: {format: json, decisions: all}
"#;

/// Where keyward's gRPC listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A directory with `keyward.yaml` and `keys.yaml`, before a process is started on it.
pub struct Home {
    pub dir: TempDir,
}

impl Home {
    /// Merges `config` into the tests' base configuration, member by member.
    pub fn new(config: &str, keys: &KeyFile) -> Self {
        let dir = TempDir::new().unwrap();
        let home = Self { dir };
        home.configure(config);
        fs::write(home.keys(), keys.text()).unwrap();
        home
    }

    /// Lets other users read it, such as the image's.
    pub fn open_to_all(&self) {
        fs::set_permissions(self.dir.path(), Permissions::from_mode(0o755)).unwrap();
    }

    pub fn configure(&self, config: &str) {
        let mut whole: Value = serde_yaml::from_str(BASE).unwrap();
        let over: Value = serde_yaml::from_str(config).unwrap();
        if over["source"].is_mapping() {
            // There is exactly one source: the given one.
            whole["source"] = Mapping::new().into();
        }
        lay_over(&mut whole, over);
        keyfile::replace_by_rename(&self.config(), serde_yaml::to_string(&whole).unwrap());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("keyward.yaml")
    }

    pub fn keys(&self) -> PathBuf {
        self.path("keys.yaml")
    }

    /// `keyward serve` on this directory, without waiting for anything.
    pub fn launch(&self) -> Process {
        Process::start(
            Command::new(env!("CARGO_BIN_EXE_keyward"))
                .args(["serve", "-c"])
                .arg(self.config())
                .current_dir(self.dir.path()),
        )
    }

    pub async fn start(self) -> Keyward {
        let process = self.launch();
        self.watch(process).await
    }

    /// Waits until the keyward that `process` is, or has started, is ready.
    pub async fn watch(self, mut process: Process) -> Keyward {
        let listening = wait::until_some("keyward is ready", async || {
            assert!(
                process.exited().is_none(),
                "keyward has ended: {}",
                process.output()
            );
            let log = log(&process);
            log.iter().find(|line| line["msg"] == "ready")?;
            log.into_iter().find(|line| line["msg"] == "listening")
        })
        .await;
        let text = |name: &str| listening[name].as_str().unwrap_or_default().to_owned();
        let grpc = text("grpc");
        let grpc = match grpc.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(grpc.parse().expect("the address in the listening line")),
        };
        let admin = text("admin");
        let admin = admin
            .parse()
            .expect("the admin address in the listening line");
        Keyward {
            home: self,
            process,
            grpc,
            admin,
        }
    }
}

pub struct Keyward {
    pub home: Home,
    pub process: Process,
    pub grpc: Address,
    pub admin: SocketAddr,
}

impl Keyward {
    pub async fn start(config: &str, keys: &KeyFile) -> Self {
        Home::new(config, keys).start().await
    }

    pub async fn fetch(&self, path: &str) -> Reply {
        http1::fetch(self.admin, path).await
    }

    pub async fn reloads(&self, what: &str, result: &str) -> f64 {
        // The order of labels is up to the exporter.
        let text = self.fetch("/metrics").await.text();
        let of_interest = text.lines().filter(|line| {
            line.starts_with("keyward_reloads_total{")
                && line.contains(&format!("what=\"{what}\""))
                && line.contains(&format!("result=\"{result}\""))
        });
        of_interest
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Puts a key file in place by rename and waits until it is active.
    pub async fn reload(&self, keys: &KeyFile) {
        let before = self.reloads("keys", "success").await;
        keyfile::replace_by_rename(&self.home.keys(), keys.text());
        wait::until("the keys are reloaded", async || {
            self.reloads("keys", "success").await > before
        })
        .await;
    }

    /// The log so far, one JSON object per line.
    pub fn log(&self) -> Vec<serde_json::Value> {
        log(&self.process)
    }

    pub fn decisions(&self) -> Vec<serde_json::Value> {
        let mut log = self.log();
        log.retain(|line| line["msg"] == "decision");
        log
    }

    /// The decision on the request with this id. Envoy may ask twice: the last response is the one
    /// that counted.
    pub async fn decision_of(&self, request_id: &str) -> serde_json::Value {
        wait::until_some(
            &format!("the decision on {request_id} is logged"),
            async || {
                let mut decisions = self.decisions().into_iter();
                decisions.rfind(|decision| decision["request_id"] == request_id)
            },
        )
        .await
    }
}

fn log(process: &Process) -> Vec<serde_json::Value> {
    let text = process.stderr.text();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("not a JSON line ({e}): {line}"))
        })
        .collect()
}

/// Merges `over` into `under`: mappings member by member, everything else by replacement.
pub fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Mapping(under), Value::Mapping(over)) => {
            for (name, value) in over {
                let place = under.entry(name).or_insert(Value::Mapping(Mapping::new()));
                lay_over(place, value);
            }
        }
        (_, Value::Null) => {}
        (under, over) => *under = over,
    }
}
