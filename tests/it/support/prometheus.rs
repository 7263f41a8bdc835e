//! A real Prometheus, from Debian's package of that name, and `promtool`: a separate process on a
//! loopback port with its own directory, queried over its HTTP API.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::http1;
use super::port::Port;
use super::process::Process;
use super::wait;

pub struct Prometheus {
    port: Port,
    process: Process,
    _dir: TempDir,
}

/// The labels of a series, and its value.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Prometheus {
    pub async fn start(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("prometheus.yaml");
        fs::write(&file, config).unwrap();
        let port = Port::reserve();
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let process = Process::start(
            Command::new("prometheus")
                .arg(flag("config.file", &file))
                .arg(flag("storage.tsdb.path", &dir.path().join("data")))
                .arg(format!("--web.listen-address={}", port.address())),
        );
        let mut prometheus = Self {
            port,
            process,
            _dir: dir,
        };
        wait::until("Prometheus is ready", async || {
            let ended = prometheus.process.exited();
            assert!(ended.is_none(), "{}", prometheus.process.output());
            let listens = std::net::TcpStream::connect(prometheus.port.address()).is_ok();
            listens && prometheus.get("/-/ready").await.0 == 200
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let reply = http1::fetch(self.port.address(), path).await;
        (reply.status, reply.text())
    }

    /// `data` of an API response.
    ///
    /// # Errors
    /// Prometheus' error message.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let parameters: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let (status, body) = self
            .get(&format!("/api/v1/{path}?{}", parameters.join("&")))
            .await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        if status == 200 {
            Ok(answer["data"].clone())
        } else {
            Err(answer["error"].to_string())
        }
    }

    /// The current value of an expression; a scalar is one sample without labels.
    ///
    /// # Errors
    /// Prometheus' error message.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        self.query_at(expression, Timestamp::now().as_millisecond())
            .await
    }

    /// The value at a time in milliseconds since 1970.
    ///
    /// # Errors
    /// Prometheus' error message.
    pub async fn query_at(&self, expression: &str, time: i64) -> Result<Vec<Sample>, String> {
        let time = format!("{}.{:03}", time / 1000, time % 1000);
        let data = self
            .api("query", &[("query", expression), ("time", &time)])
            .await?;
        let value = |pair: &Value| pair[1].as_str().unwrap().parse().unwrap();
        if data["resultType"] == "scalar" {
            return Ok(vec![Sample {
                labels: BTreeMap::new(),
                value: value(&data["result"]),
            }]);
        }
        let series = data["result"].as_array().unwrap();
        let sample = |one: &Value| Sample {
            labels: serde_json::from_value(one["metric"].clone()).unwrap(),
            value: value(&one["value"]),
        };
        Ok(series.iter().map(sample).collect())
    }

    /// Whether there are such series now.
    pub async fn has(&self, selector: &str) -> bool {
        !self.query(selector).await.unwrap().is_empty()
    }

    /// Waits until an expression returns something.
    pub async fn comes_to(&self, expression: &str) {
        let what = format!("Prometheus has `{expression}`");
        wait::until(&what, async || self.has(expression).await).await;
    }
}

/// Encodes a text for the query part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

/// Runs promtool; whether it succeeded, and its output.
pub fn promtool(arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(input).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// promtool has no complaints about a scrape.
pub fn is_silent_about(metrics: &[u8]) {
    let (success, output) = promtool(&["check", "metrics"], metrics);
    assert!(success && output.is_empty(), "{output}");
}
