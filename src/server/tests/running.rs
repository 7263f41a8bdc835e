//! A server in this process, and clients of it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, attribute_context,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::authz::key::tests::digest_of;
use crate::clock::SystemClock;
use crate::observe::log::{Console, Flush, Log};
use crate::server::build::{Bound, Launch};
use crate::server::config_file::WatchedConfig;
use crate::server::error::ServeError;
use crate::server::signals::{Signal, Signals};

/// When a wait gives up: far longer than anything takes, on a machine that is busy with other
/// things.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a configuration and keys.
pub(super) struct Home(pub(super) TempDir);

impl Home {
    pub(super) fn new(config: &str, ids: &[&str]) -> Self {
        let home = Self(TempDir::new().unwrap());
        home.configure(config);
        fs::write(home.path("keys.yaml"), keys(ids)).unwrap();
        home
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in place by rename.
    pub(super) fn place(&self, name: &str, content: &str) {
        let draft = self.path(".draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    /// Puts a configuration in place; the listeners are on any port unless it says otherwise.
    pub(super) fn configure(&self, config: &str) {
        let server =
            "server: {grpc: {address: \"127.0.0.1:0\"}, admin: {address: \"127.0.0.1:0\"}}\n";
        let server = if config.contains("server:") {
            ""
        } else {
            server
        };
        self.place("keyward.yaml", &format!("{server}{config}\n"));
    }

    pub(super) async fn bind(&self) -> Result<(Bound, Flush), ServeError> {
        let path = self.path("keyward.yaml");
        let clock = Arc::new(SystemClock::new());
        let mut config_file = WatchedConfig::new(&path, |_| None);
        let config = config_file.load(&*clock)?;
        let (log, flush) = Log::start(
            config.log,
            Console::default(),
            clock.clone(),
            std::io::sink(),
        );
        let bound = Bound::new(Launch {
            config,
            config_file,
            log,
            clock,
        })
        .await?;
        Ok((bound, flush))
    }

    /// Starts a server and waits until it is ready.
    pub(super) async fn start(self) -> Running {
        let (bound, flush) = self.bind().await.unwrap();
        let (grpc, admin) = bound.addresses();
        let (signals, received) = mpsc::channel(4);
        let mut served = JoinSet::new();
        served.spawn(async move {
            let _flush = flush;
            bound.serve(Signals::Channel(received)).await
        });
        let mut running = Running {
            home: self,
            grpc,
            admin,
            signals,
            served,
        };
        while !running.get("/readyz").await.starts_with("HTTP/1.1 200") {
            assert!(running.served.try_join_next().is_none(), "it has ended");
            sleep(Duration::from_millis(5)).await;
        }
        running
    }
}

/// A server that runs.
pub(super) struct Running {
    pub(super) home: Home,
    pub(super) grpc: String,
    pub(super) admin: String,
    pub(super) signals: mpsc::Sender<Signal>,
    served: JoinSet<Result<(), ServeError>>,
}

impl Running {
    pub(super) async fn send(&self, signal: Signal) {
        self.signals.send(signal).await.unwrap();
    }

    /// How the server ended.
    pub(super) async fn ended(&mut self) -> Result<(), ServeError> {
        timeout(PATIENCE, self.served.join_next())
            .await
            .expect("an end")
            .unwrap()
            .unwrap()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.served.try_join_next().is_some()
    }

    /// What the admin listener answers; nothing where it is closed.
    pub(super) async fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.admin).await else {
            return String::new();
        };
        let mut answer = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_ok() {
            _ = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    /// A sample of `/metrics`, by its whole name.
    pub(super) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await;
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("{series} in {text}"))
    }

    /// A connection as Envoy makes it.
    pub(super) async fn connect(&self) -> Channel {
        let uri = if self.grpc.starts_with("unix:") {
            self.grpc.clone()
        } else {
            format!("http://{}", self.grpc)
        };
        Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
    }
}

/// A keys file of these keys, each with its id for a secret.
pub(super) fn keys(ids: &[&str]) -> String {
    let key = |id: &&str| {
        format!(
            "  - {{id: {id}, secrets: [{{digest: \"{}\"}}]}}\n",
            digest_of(id)
        )
    };
    let list = if ids.is_empty() {
        "keys: []\n"
    } else {
        "keys:\n"
    };
    format!("{list}{}", ids.iter().map(key).collect::<String>())
}

/// The code of Envoy's status for a request with that secret: 0 is an allow.
pub(super) async fn check(channel: &Channel, secret: &str) -> Result<i32, Status> {
    let http = attribute_context::HttpRequest {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        headers: HashMap::from([("x-api-key".to_owned(), secret.to_owned())]),
        ..attribute_context::HttpRequest::default()
    };
    let request = attribute_context::Request {
        http: Some(http),
        time: None,
    };
    let attributes = AttributeContext {
        request: Some(request),
        ..AttributeContext::default()
    };
    let request = CheckRequest {
        attributes: Some(attributes),
    };
    let response = AuthorizationClient::new(channel.clone())
        .check(request)
        .await?
        .into_inner();
    Ok(response.status.unwrap_or_default().code)
}

pub(super) async fn allows(channel: &Channel, secret: &str) -> bool {
    let code = check(channel, secret).await.unwrap();
    assert!(
        code == 0 || code == i32::from(Code::Unauthenticated),
        "{code}"
    );
    code == 0
}

/// The health that gRPC tells, of all and of the service that Envoy calls, which agree.
pub(super) async fn serving(channel: &Channel) -> bool {
    let mut statuses = Vec::new();
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        statuses.push(
            HealthClient::new(channel.clone())
                .check(request)
                .await
                .unwrap()
                .into_inner()
                .status,
        );
    }
    assert_eq!(statuses[0], statuses[1]);
    statuses[0] == 1
}

/// Waits until it is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let so = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, so)
        .await
        .unwrap_or_else(|_| panic!("gave up waiting: {what}"));
}
