//! Keywards that have every series of the rules and panels, and a Prometheus that has scraped them:
//! one whose key file became invalid, one whose Redis stopped, one whose Redis never existed, one
//! in observe mode whose certificate expires soon, and a target without a listener. Another job has
//! a program with process and gRPC metrics of its own, and one that is down.

use std::fs;
use std::net::SocketAddr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair};
use redis::cmd;
use serde_json::json;
use serde_yaml::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{path, yaml};
use crate::support::check;
use crate::support::http1::Wire;
use crate::support::keyfile::{KeyFile, digest, replace_by_rename};
use crate::support::keyward::{Home, Keyward, lay_over};
use crate::support::metrics::sample;
use crate::support::port::Port;
use crate::support::prometheus::Prometheus;
use crate::support::redis::{Kind, Server, index, url};
use crate::support::wait;

pub struct Scene {
    pub of_file: Keyward,
    pub of_redis: Keyward,
    pub of_missing: Keyward,
    /// With a certificate, and without requests.
    pub observing: Keyward,
    pub prometheus: Prometheus,
    pub foreign: OtherProgram,
    /// Ports without a listener.
    _closed: [Port; 2],
}

/// A target of another program.
pub struct OtherProgram {
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl OtherProgram {
    async fn start() -> Self {
        const METRICS: &str = "process_resident_memory_bytes 9e9\nprocess_cpu_seconds_total 1000\n\
            process_open_fds 900\nprocess_max_fds 1000\nprocess_start_time_seconds 1\n\
            grpc_server_handled_total{grpc_code=\"OK\"} 5\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut wire = Wire::new(stream);
                while wire.head().await.is_some() {
                    let length = METRICS.len();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n";
                    let answer = format!("{head}content-length: {length}\r\n\r\n{METRICS}");
                    let _ = wire.stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { address, server }
    }
}

impl Drop for OtherProgram {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The shipped configuration with these targets, shorter intervals, and an operator's additions.
fn config(targets: &[String], others: &[String]) -> String {
    let mut config = yaml("prometheus/prometheus.yaml");
    let rules = path("prometheus/rules.yaml");
    let (targets, others) = (targets.join(","), others.join(","));
    let over = format!(
        "{{global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}, rule_files: [{}]}}",
        rules.display()
    );
    lay_over(&mut config, serde_yaml::from_str(&over).unwrap());
    let target = format!("{{targets: [{targets}], labels: {{namespace: edge}}}}");
    let scrape = &mut config["scrape_configs"][0];
    assert_eq!(scrape["static_configs"].as_sequence().unwrap().len(), 1);
    scrape["static_configs"][0] = serde_yaml::from_str::<Value>(&target).unwrap();
    let others = format!(
        "{{job_name: others, static_configs: [{{targets: [{others}], labels: {{namespace: edge}}}}]}}"
    );
    let scrapes = config["scrape_configs"].as_sequence_mut().unwrap();
    scrapes.push(serde_yaml::from_str(&others).unwrap());
    serde_yaml::to_string(&config).unwrap()
}

/// Sends a check with a secret, or without; the reason.
async fn ask(keyward: &Keyward, secret: &str) -> String {
    let channel = check::channel(&keyward.grpc).await;
    let request = if secret.is_empty() {
        check::request("GET", "/v1/orders", &[])
    } else {
        check::with_key(secret)
    };
    check::check(&channel, request).await.unwrap().outcome()
}

async fn becomes(keyward: &Keyward, secret: &str, code: &str) {
    let what = format!("{secret} becomes {code}");
    wait::until(&what, async || ask(keyward, secret).await == code).await;
}

fn in_three_days() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(72)
}

fn keys() -> KeyFile {
    let soon = in_three_days();
    KeyFile::new()
        .secrets(
            "lasting",
            &[&format!("id: first, digest: {}", digest("lasting"))],
            &["client: acme"],
        )
        .key("soon", "soon", &[&format!("expires_at: {soon}")])
        .key("past", "past", &["expires_at: 2020-01-01T00:00:00Z"])
}

async fn observing() -> Keyward {
    let config = "mode: observe\nserver: {grpc: {tls: {cert_file: tls.crt, key_file: tls.key}}}";
    let home = Home::new(config, &keys());
    // The certificate expires in three days at most.
    let end = in_three_days().to_zoned(TimeZone::UTC);
    let (month, day) = (u8::try_from(end.month()), u8::try_from(end.day()));
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(end.year().into(), month.unwrap(), day.unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(home.path("tls.crt"), certificate.pem()).unwrap();
    fs::write(home.path("tls.key"), key.serialize_pem()).unwrap();
    home.start().await
}

impl Scene {
    pub fn keywards(&self) -> [&Keyward; 4] {
        let Self {
            of_file,
            of_redis,
            of_missing,
            observing,
            ..
        } = self;
        [of_file, of_redis, of_missing, observing]
    }

    pub async fn set() -> Self {
        let mut redis = Server::start(Kind::Redis).await;
        // Written before keyward subscribes: it would not serve a key stale after a change of it.
        let expires = in_three_days().to_string();
        for id in ["one", "two"] {
            redis.put(id, id, json!({"expires_at": expires})).await;
        }
        let of_file = Keyward::start("{}", &keys()).await;
        // Only one key has series of its own, the others are `_other`.
        let config_of_redis = format!(
            "source: {{redis: {{url: \"{}\", timeout: 5s}}}}\nmetrics: {{max_keys: 1}}\n\
             cache: {{ttl: 1h, negative_ttl: 1h, stale_if_error: 1h}}\n",
            redis.url()
        );
        let of_redis = Home::new(&config_of_redis, &KeyFile::new()).start().await;
        let closed_port = Port::reserve();
        let config_of_missing = format!(
            "source: {{redis: {{url: \"{}\"}}}}",
            url(closed_port.address())
        );
        let of_missing = Keyward::start(&config_of_missing, &KeyFile::new()).await;
        // The first lookup detects it, so it is down from the first scrape on.
        becomes(&of_missing, "made-up", "source_unavailable").await;
        let metrics = of_missing.fetch("/metrics").await;
        assert_eq!(sample(&metrics, "keyward_source_up", &[]), Some(0.0));
        let observing = observing().await;
        let keywards = [&of_file, &of_redis, &of_missing, &observing];
        let mut targets: Vec<String> = keywards.map(|k| k.admin.to_string()).into();
        targets.push(closed_port.address().to_string());
        let (foreign, gone) = (OtherProgram::start().await, Port::reserve());
        let others = [foreign.address, gone.address()].map(|address| address.to_string());
        let prometheus = Prometheus::start(&config(&targets, &others)).await;
        let scene = Self {
            of_file,
            of_redis,
            of_missing,
            observing,
            prometheus,
            foreign,
            _closed: [closed_port, gone],
        };
        // Counters grow between two scrapes, and series of keys exist from a first use on: so one
        // scrape before, and two rounds.
        scene.prometheus.comes_to("sum(up) == 5").await;
        for round in 1..=2 {
            scene.serve(&redis, round).await;
        }
        scene.fail(&mut redis).await;
        scene
    }

    async fn serve(&self, redis: &Server, round: u32) {
        let Self {
            of_file, of_redis, ..
        } = self;
        for (secret, expected) in [
            ("lasting", "allowed"),
            ("soon", "allowed"),
            ("past", "key_expired"),
            ("", "missing_key"),
            ("made-up", "unknown_key"),
        ] {
            assert_eq!(ask(of_file, secret).await, expected);
        }
        for id in ["one", "two"] {
            becomes(of_redis, id, "allowed").await;
        }
        redis.put_text("odd", "odd", "{}").await;
        becomes(of_redis, "odd", "invalid_record").await;
        redis.execute(cmd("DEL").arg(index("odd"))).await;
        becomes(of_redis, "odd", "unknown_key").await;
        of_file.reload(&keys()).await;
        // Scraped: the next round is an increase.
        for (instance, reason) in [(of_file, "missing_key"), (of_redis, "invalid_record")] {
            let seen = format!(
                "keyward_checks_total{{instance=\"{}\",reason=\"{reason}\"}} >= {round}",
                instance.admin
            );
            self.prometheus.comes_to(&seen).await;
        }
        let name = "keyward_key_requests_total";
        for key in ["soon", "past", "one", "_other"] {
            let seen = format!("{name}{{key_id=\"{key}\"}} >= {round}");
            self.prometheus.comes_to(&seen).await;
        }
    }

    async fn fail(&self, redis: &mut Server) {
        let Self {
            of_file,
            of_redis,
            prometheus,
            ..
        } = self;
        redis.kill().await;
        becomes(of_redis, "never-seen", "source_unavailable").await;
        assert_eq!(ask(of_redis, "one").await, "allowed", "stale");
        for file in [of_file.home.keys(), of_file.home.config()] {
            replace_by_rename(&file, "nonsense: true\n");
        }
        for seen in [
            "keyward_cache_lookups_total{result=\"stale\"} > 0",
            "keyward_checks_total{reason=\"source_unavailable\"} > 0",
            "keyward_source_up{source=\"redis\"} == 0",
            "keyward_source_up{source=\"file\"} == 0",
            "keyward_reloads_total{what=\"config\",result=\"failure\"} > 0",
            "keyward_reloads_total{what=\"keys\",result=\"failure\"} > 0",
        ] {
            prometheus.comes_to(seen).await;
        }
    }
}
