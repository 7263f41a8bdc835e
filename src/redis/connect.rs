//! How a connection is made: to one server, to a cluster, or to the master that sentinels know.
//!
//! Takes the settings and the credentials that are in the files now, and gives an authenticated
//! connection, or the cause why there is none. Each step has a timeout of its own, so that an
//! attempt ends whether or not a caller waits for it. Commands are sent with RESP2, which all
//! servers speak; pushes need RESP3.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::SendError;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, RedisResult, Value,
};

use super::credentials::{CredentialFiles, Credentials};
use super::error_text::{Cause, PushError, describe, is_unknown_command};
use super::role::Heartbeat;
use super::settings::{RedisServers, RedisSettings};

mod address;
mod connection;
pub(crate) mod topology;

pub(crate) use address::ServerAddress;
pub(crate) use connection::Connection;

/// How long it may take to connect to a server and authenticate: a few round trips, TLS and a lost
/// packet (RFC 6298 section 2.1).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an idle connection is asked by TCP whether it lives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long bytes or probes may stay unacknowledged before the connection counts as broken. For
/// connections that have no heartbeat.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a cluster's connection retries a command, redirections included.
const CLUSTER_RETRIES: u32 = 5;

/// How long it waits in between, in milliseconds, at least and at most.
const CLUSTER_RETRY_WAIT_MS: (u64, u64) = (10, 100);

/// Lookups work without pushes, so that this does not fail the source.
const NO_RESP3: &str = "the server refuses RESP3, which pushes need and Redis has since version 6";

/// Connects as the settings say.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: RedisSettings,
    files: CredentialFiles,
    role_is_refused: AtomicBool,
}

pub(crate) struct Connected {
    pub(crate) commands: CommandConnection,
    /// The one server that it is to, and its heartbeat; `None` for a cluster's.
    pub(crate) server: Option<(ServerAddress, Heartbeat)>,
}

/// What commands are sent with; clones share it.
#[derive(Clone)]
pub(crate) enum CommandConnection {
    One(Connection),
    Cluster(ClusterConnection),
}

/// How a new connection begins.
enum Handshake {
    /// Without authentication.
    Anonymous,
    /// Authenticates, and selects the database.
    Authenticate,
    /// Authenticates with RESP3; the function gets the pushes.
    Pushes(Box<dyn Fn(PushInfo) + Send + Sync>),
}

// === impl CommandConnection ===

impl CommandConnection {
    /// The answer to a command; an error that the server answers with is an error.
    pub(crate) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Whether that error means that another connection is needed. A cluster's connection recovers
    /// by itself while one node answers.
    pub(crate) fn is_broken_by(&self, error: &RedisError) -> bool {
        let kind = error.kind();
        match self {
            Self::One(_) => kind == ErrorKind::Io || error.is_unrecoverable_error(),
            Self::Cluster(_) => error.is_unrecoverable_error() && kind != ErrorKind::Io,
        }
    }

    /// Whether it is to one server, so that silence means a broken connection.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(settings: RedisSettings, files: CredentialFiles) -> Self {
        Self {
            settings,
            files,
            role_is_refused: AtomicBool::new(false),
        }
    }

    /// Notes that a server refused `ROLE`; whether it is the first refusal.
    pub(crate) fn note_refused_role(&self) -> bool {
        !self.role_is_refused.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_role_refused(&self) -> bool {
        self.role_is_refused.load(Ordering::Relaxed)
    }

    pub(crate) fn files(&self) -> &CredentialFiles {
        &self.files
    }

    /// Whether there are sentinels, whose master must remain one.
    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(self.settings.servers, RedisServers::Sentinel { .. })
    }

    /// Whether there is a cluster, whose masters may become other ones.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.settings.servers, RedisServers::Cluster(_))
    }

    /// A connection for commands, to a server that is usable.
    pub(crate) async fn commands(&self, credentials: &Credentials) -> Result<Connected, Cause> {
        match &self.settings.servers {
            RedisServers::One(url) => {
                self.usable_connection(ServerAddress::of(url), credentials)
                    .await
            }
            RedisServers::Sentinel { .. } => {
                let master = self.named_master(credentials).await?;
                self.usable_connection(master, credentials).await
            }
            RedisServers::Cluster(nodes) => {
                // redis-rs' cluster client hides why it cannot connect, and waits long for nodes
                // that are gone. So it is given the masters that a node has just named.
                let masters = self.slots(nodes, credentials).await?;
                let commands =
                    CommandConnection::Cluster(self.cluster(&masters, credentials).await?);
                Ok(Connected {
                    commands,
                    server: None,
                })
            }
        }
    }

    async fn usable_connection(
        &self,
        target: ServerAddress,
        credentials: &Credentials,
    ) -> Result<Connected, Cause> {
        let mut connection = self.login(&target, credentials).await?;
        let heartbeat = self.check_role(&mut connection, &target).await?;
        Ok(Connected {
            commands: CommandConnection::One(connection),
            server: Some((target, heartbeat)),
        })
    }

    async fn cluster(
        &self,
        nodes: &[ServerAddress],
        credentials: &Credentials,
    ) -> Result<ClusterConnection, Cause> {
        let cause = |error: &RedisError| Cause::from(format!("the cluster: {}", describe(error)));
        let (min_wait, max_wait) = CLUSTER_RETRY_WAIT_MS;
        let infos = nodes
            .iter()
            .map(|node| node.addr.clone().into_connection_info());
        let infos: Vec<_> = infos
            .collect::<Result<_, _>>()
            .map_err(|error| cause(&error))?;
        let mut builder = ClusterClient::builder(infos)
            .use_protocol(ProtocolVersion::RESP2)
            .tcp_settings(tcp())
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(CONNECT_TIMEOUT)
            .overall_response_timeout(None)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(min_wait)
            .max_retry_wait(max_wait);
        if let Some(password) = &credentials.password {
            builder = builder.password(password.as_str());
            if let Some(user) = self.user() {
                builder = builder.username(user);
            }
        }
        if nodes.iter().any(ServerAddress::is_tls) {
            builder = builder.certs(credentials.certs.clone());
        }
        let client = builder.build().map_err(|error| cause(&error))?;
        let connecting = client.get_async_connection();
        // It connects to the nodes that it is given, then to those that they name, and waits for
        // the slowest of them each time.
        let connected = tokio::time::timeout(3 * CONNECT_TIMEOUT, connecting).await;
        connected
            .map_err(|_| Cause::from("the cluster: connecting takes too long"))?
            .map_err(|error| cause(&error))
    }

    /// An authenticated connection to one server.
    pub(crate) async fn login(
        &self,
        target: &ServerAddress,
        credentials: &Credentials,
    ) -> Result<Connection, Cause> {
        let opened = self
            .open(target, credentials, Handshake::Authenticate)
            .await;
        opened.map_err(PushError::into_cause)
    }

    /// A connection whose pushes `on_push` gets, the last of which is its end.
    pub(crate) async fn pushes(
        &self,
        target: &ServerAddress,
        credentials: &Credentials,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection, PushError> {
        let handshake = Handshake::Pushes(Box::new(on_push));
        self.open(target, credentials, handshake).await
    }

    async fn open(
        &self,
        target: &ServerAddress,
        credentials: &Credentials,
        handshake: Handshake,
    ) -> Result<Connection, PushError> {
        let opening = self.try_open(target, credentials, handshake);
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
        opened.unwrap_or_else(|_| {
            let why = format!("{target}: connecting takes too long");
            Err(PushError::Failed(why.into()))
        })
    }

    async fn try_open(
        &self,
        target: &ServerAddress,
        credentials: &Credentials,
        handshake: Handshake,
    ) -> Result<Connection, PushError> {
        let cause = |error: RedisError| Cause::from(format!("{target}: {}", describe(&error)));
        let is_pushing = matches!(handshake, Handshake::Pushes(_));
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut hello = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut authenticates = false;
        match handshake {
            // redis-rs' own login would report errors without the server's code.
            Handshake::Anonymous => {}
            Handshake::Authenticate => authenticates = true,
            Handshake::Pushes(on_push) => {
                // Pushes come whatever the database, so that none is selected.
                hello = hello.set_protocol(ProtocolVersion::RESP3);
                if let Some(password) = &credentials.password {
                    hello = hello.set_password(password.as_str());
                    if let Some(user) = self.user() {
                        hello = hello.set_username(user);
                    }
                }
                config = config.set_push_sender(move |push| {
                    on_push(push);
                    Ok::<_, SendError>(())
                });
            }
        }
        let opening = open(&target.addr, credentials, hello, config).await;
        let mut connection = opening.map_err(|error| {
            if is_pushing && is_resp3_refused(&error) {
                PushError::Refused(format!("{target}: {NO_RESP3}").into())
            } else {
                PushError::Failed(cause(error))
            }
        })?;
        if authenticates {
            self.log_in(&mut connection, credentials)
                .await
                .map_err(cause)?;
            if target.db != 0 {
                let select = redis::cmd("SELECT").arg(target.db).to_owned();
                let selected = select.query_async::<()>(&mut connection).await;
                selected.map_err(|error| {
                    Cause::from(format!(
                        "{target}: database {}: {}",
                        target.db,
                        describe(&error)
                    ))
                })?;
            }
        }
        Ok(connection)
    }

    /// Authenticates, if there is a password. Waits for the server's first answer, since with TLS a
    /// refused client certificate shows only then.
    async fn log_in(
        &self,
        connection: &mut Connection,
        credentials: &Credentials,
    ) -> RedisResult<()> {
        let Some(password) = &credentials.password else {
            let ping = redis::cmd("PING");
            let answer = ping.query_async::<Value>(connection).await;
            return match answer {
                // A user without `+ping` is connected anyway.
                Err(error) if error.code() != Some("NOPERM") => Err(error),
                _ => Ok(()),
            };
        };
        let mut auth = redis::cmd("AUTH");
        auth.arg(self.user()).arg(password.as_str());
        auth.query_async(connection).await
    }

    /// The user, if not the default one; only with a password.
    fn user(&self) -> Option<&str> {
        self.settings.username.as_deref()
    }
}

/// Whether a server answers so to `HELLO 3` that does not speak RESP3, or does not allow it to this
/// user.
fn is_resp3_refused(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    let is_of_protocol = error.code() == Some("ERR") && detail.contains("protocol version");
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || is_unknown_command(error)
        || is_of_protocol
}

/// The answer to a command, within [`CONNECT_TIMEOUT`].
pub(crate) async fn with_timeout(command: &Cmd, connection: &mut Connection) -> RedisResult<Value> {
    let asking = command.query_async(connection);
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, asking).await;
    asked.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// A connection that has sent `hello`.
async fn open(
    addr: &ConnectionAddr,
    credentials: &Credentials,
    hello: RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> RedisResult<Connection> {
    if let ConnectionAddr::TcpTls { host, port, .. } = addr {
        let tls = Arc::clone(&credentials.tls);
        return Connection::over_tls((host, *port), tls, &tcp(), &hello, config).await;
    }
    let info = addr.clone().into_connection_info()?;
    let info = info.set_tcp_settings(tcp()).set_redis_settings(hello);
    let connecting = Client::open(info)?;
    let connecting = connecting.get_multiplexed_async_connection_with_config(&config);
    connecting.await.map(Connection::from)
}

fn tcp() -> TcpSettings {
    // Otherwise a lookup would be the first to notice that a firewall has forgotten the connection.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_INTERVAL)
        .with_interval(KEEPALIVE_INTERVAL);
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(TCP_USER_TIMEOUT)
}
