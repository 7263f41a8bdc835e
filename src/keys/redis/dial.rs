//! How a connection is made: to one server, to a cluster, or to the master that sentinels know.
//!
//! Takes the settings and what is in the files at the moment, and gives a connection that has introduced itself, or why there is
//! none. Every step has a time of its own, so that an attempt ends whoever waits for it. Commands are sent with RESP2, which all
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

use super::fault::{NoPushes, Reason, is_unknown_command, told};
use super::files::{Files, Material};
use super::role::Heartbeat;
use super::settings::{RedisServers, RedisSettings};

mod connection;
mod target;
pub(super) mod topology;

pub(super) use connection::Connection;
pub(super) use target::Target;

/// How long it may take to connect to a server and be let in: a few round trips, TLS and a lost packet (RFC 6298 section 2.1).
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an idle connection is asked by TCP whether it lives.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long bytes or probes may stay without acknowledgement before the connection counts as broken, for what no ping watches.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a cluster's connection tries a command again, on the way of redirections among others.
const CLUSTER_RETRIES: u32 = 5;

/// How long it waits in between, in milliseconds, at least and at most.
const CLUSTER_RETRY_WAIT_MS: (u64, u64) = (10, 100);

/// Lookups work without pushes, so that this is not a reason to give the source up.
const NO_RESP3: &str = "the server refuses RESP3, which pushes need and Redis has since version 6";

/// Connects as the settings say.
#[derive(Debug)]
pub(super) struct Dialer {
    settings: RedisSettings,
    files: Files,
    /// Whether a server refused to tell its role.
    role_is_refused: AtomicBool,
}

/// A connection for commands.
pub(super) struct Dialed {
    pub(super) wire: Wire,
    /// The one server that it is to, and what that is asked every second; `None` for a cluster's.
    pub(super) server: Option<(Target, Heartbeat)>,
}

/// What commands are sent with; clones share it.
#[derive(Clone)]
pub(super) enum Wire {
    /// To one server.
    One(Connection),
    /// To all servers of a cluster.
    Cluster(ClusterConnection),
}

/// What a new connection says first.
enum Greeting {
    /// Nothing.
    Nothing,
    /// Who we are, and which database.
    Login,
    /// Who we are, in RESP3; pushes go there.
    Pushes(Box<dyn Fn(PushInfo) + Send + Sync>),
}

// === impl Wire ===

impl Wire {
    /// The answer to a command; an error that the server answers with is an error.
    pub(super) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Whether that error means that another connection is needed. A cluster's mends itself while it has a node to ask.
    pub(super) fn is_broken_by(&self, error: &RedisError) -> bool {
        let kind = error.kind();
        match self {
            Self::One(_) => kind == ErrorKind::Io || error.is_unrecoverable_error(),
            Self::Cluster(_) => error.is_unrecoverable_error() && kind != ErrorKind::Io,
        }
    }

    /// Whether it is to one server, so that silence says something of the connection.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

// === impl Dialer ===

impl Dialer {
    pub(super) fn new(settings: RedisSettings, files: Files) -> Self {
        Self {
            settings,
            files,
            role_is_refused: AtomicBool::new(false),
        }
    }

    /// Notes that a server does not tell its role; whether it is the first.
    pub(super) fn note_refused_role(&self) -> bool {
        !self.role_is_refused.swap(true, Ordering::Relaxed)
    }

    /// Whether a server refused to tell its role.
    pub(super) fn is_role_refused(&self) -> bool {
        self.role_is_refused.load(Ordering::Relaxed)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Whether there are sentinels, whose master must remain one.
    pub(super) fn has_sentinels(&self) -> bool {
        matches!(self.settings.servers, RedisServers::Sentinel { .. })
    }

    /// Whether there is a cluster, whose masters may become other ones.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.settings.servers, RedisServers::Cluster(_))
    }

    /// A connection for commands, to a server that may be believed.
    pub(super) async fn commands(&self, material: &Material) -> Result<Dialed, Reason> {
        match &self.settings.servers {
            RedisServers::One(url) => self.believed(Target::of(url), material).await,
            RedisServers::Sentinel { .. } => {
                let master = self.named_master(material).await?;
                self.believed(master, material).await
            }
            RedisServers::Cluster(nodes) => {
                // The client of clusters hides why it cannot connect, and waits long for nodes that are gone: it begins with masters
                // that a node has just told of.
                let masters = self.slots(nodes, material).await?;
                let wire = Wire::Cluster(self.cluster(&masters, material).await?);
                Ok(Dialed { wire, server: None })
            }
        }
    }

    /// A connection to one server.
    async fn believed(&self, target: Target, material: &Material) -> Result<Dialed, Reason> {
        let mut connection = self.login(&target, material).await?;
        let heartbeat = self.check_role(&mut connection, &target).await?;
        Ok(Dialed {
            wire: Wire::One(connection),
            server: Some((target, heartbeat)),
        })
    }

    async fn cluster(
        &self,
        nodes: &[Target],
        material: &Material,
    ) -> Result<ClusterConnection, Reason> {
        let reason = |error: &RedisError| Reason::from(format!("the cluster: {}", told(error)));
        let (min_wait, max_wait) = CLUSTER_RETRY_WAIT_MS;
        let infos = nodes
            .iter()
            .map(|node| node.addr.clone().into_connection_info());
        let infos: Vec<_> = infos
            .collect::<Result<_, _>>()
            .map_err(|error| reason(&error))?;
        let mut builder = ClusterClient::builder(infos)
            .use_protocol(ProtocolVersion::RESP2)
            .tcp_settings(tcp())
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(CONNECT_TIMEOUT)
            .overall_response_timeout(None)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(min_wait)
            .max_retry_wait(max_wait);
        if let Some(password) = &material.password {
            builder = builder.password(password.as_str());
            if let Some(user) = self.user() {
                builder = builder.username(user);
            }
        }
        if nodes.iter().any(Target::is_tls) {
            builder = builder.certs(material.certs.clone());
        }
        let client = builder.build().map_err(|error| reason(&error))?;
        let connecting = client.get_async_connection();
        // It connects to the nodes that it is given, then to those that they tell of, and waits for the last of them each time.
        let connected = tokio::time::timeout(3 * CONNECT_TIMEOUT, connecting).await;
        connected
            .map_err(|_| Reason::from("the cluster: connecting takes too long"))?
            .map_err(|error| reason(&error))
    }

    /// A connection that commands can be sent over at once.
    pub(super) async fn login(
        &self,
        target: &Target,
        material: &Material,
    ) -> Result<Connection, Reason> {
        let opened = self.open(target, material, Greeting::Login).await;
        opened.map_err(NoPushes::into_reason)
    }

    /// A connection that `heard` is given pushes of, the last of which is that it is gone.
    pub(super) async fn pushes(
        &self,
        target: &Target,
        material: &Material,
        heard: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection, NoPushes> {
        let greeting = Greeting::Pushes(Box::new(heard));
        self.open(target, material, greeting).await
    }

    async fn open(
        &self,
        target: &Target,
        material: &Material,
        greeting: Greeting,
    ) -> Result<Connection, NoPushes> {
        let opening = self.try_open(target, material, greeting);
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
        opened.unwrap_or_else(|_| {
            let why = format!("{target}: connecting takes too long");
            Err(NoPushes::Failed(why.into()))
        })
    }

    async fn try_open(
        &self,
        target: &Target,
        material: &Material,
        greeting: Greeting,
    ) -> Result<Connection, NoPushes> {
        let reason = |error: RedisError| Reason::from(format!("{target}: {}", told(&error)));
        let is_pushing = matches!(greeting, Greeting::Pushes(_));
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut hello = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut is_login = false;
        match greeting {
            // Left to the client, a login would be told without the server's code.
            Greeting::Nothing => {}
            Greeting::Login => is_login = true,
            Greeting::Pushes(heard) => {
                // Changes are heard of whatever the database, so that none is chosen.
                hello = hello.set_protocol(ProtocolVersion::RESP3);
                if let Some(password) = &material.password {
                    hello = hello.set_password(password.as_str());
                    if let Some(user) = self.user() {
                        hello = hello.set_username(user);
                    }
                }
                config = config.set_push_sender(move |push| {
                    heard(push);
                    Ok::<_, SendError>(())
                });
            }
        }
        let opening = open(&target.addr, material, hello, config).await;
        let mut connection = opening.map_err(|error| {
            if is_pushing && is_resp3_refused(&error) {
                NoPushes::Refused(format!("{target}: {NO_RESP3}").into())
            } else {
                NoPushes::Failed(reason(error))
            }
        })?;
        if is_login {
            self.log_in(&mut connection, material)
                .await
                .map_err(reason)?;
            if target.db != 0 {
                let select = redis::cmd("SELECT").arg(target.db).to_owned();
                let selected = select.query_async::<()>(&mut connection).await;
                selected.map_err(|error| {
                    Reason::from(format!(
                        "{target}: database {}: {}",
                        target.db,
                        told(&error)
                    ))
                })?;
            }
        }
        Ok(connection)
    }

    /// Tells the server who we are, if anyone. Comes back when it has let us in, which TLS does only with the first answer.
    async fn log_in(&self, connection: &mut Connection, material: &Material) -> RedisResult<()> {
        let Some(password) = &material.password else {
            let ping = redis::cmd("PING");
            let answer = ping.query_async::<Value>(connection).await;
            return match answer {
                // A user that may not ping is let in all the same.
                Err(error) if error.code() != Some("NOPERM") => Err(error),
                _ => Ok(()),
            };
        };
        let mut auth = redis::cmd("AUTH");
        auth.arg(self.user()).arg(password.as_str());
        auth.query_async(connection).await
    }

    /// The user, if not the default one; there is a password where there is one.
    fn user(&self) -> Option<&str> {
        self.settings.username.as_deref()
    }
}

/// Whether that is what a server answers to `HELLO 3` that does not speak RESP3, or not with this user.
fn is_resp3_refused(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    let is_of_protocol = error.code() == Some("ERR") && detail.contains("protocol version");
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || is_unknown_command(error)
        || is_of_protocol
}

/// The answer to a command within the time that connecting may take.
pub(super) async fn in_time(command: &Cmd, connection: &mut Connection) -> RedisResult<Value> {
    let asking = command.query_async(connection);
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, asking).await;
    asked.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// A connection that has said `hello`.
async fn open(
    addr: &ConnectionAddr,
    material: &Material,
    hello: RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> RedisResult<Connection> {
    if let ConnectionAddr::TcpTls { host, port, .. } = addr {
        let tls = Arc::clone(&material.tls);
        return Connection::over_tls((host, *port), tls, &tcp(), &hello, config).await;
    }
    let info = addr.clone().into_connection_info()?;
    let info = info.set_tcp_settings(tcp()).set_redis_settings(hello);
    let connecting = Client::open(info)?;
    let connecting = connecting.get_multiplexed_async_connection_with_config(&config);
    connecting.await.map(Connection::from)
}

fn tcp() -> TcpSettings {
    // Or a connection that a firewall has forgotten would be found by a lookup.
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_EVERY)
        .with_interval(PROBE_EVERY);
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(TCP_USER_TIMEOUT)
}
