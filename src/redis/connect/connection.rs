//! A connection to one server, and how one over TLS is opened.
//!
//! For each connection over TLS, redis-rs reads the system's certificate authorities again, on the
//! thread that serves, and fails on any flaw in them even where it is given others. So the stream
//! is opened here, with the configuration that was checked before, and redis-rs speaks its protocol
//! over it. It opens connections without TLS itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::select_ok;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::SockRef;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to one server; clones share it, and it ends with the last of them.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: MultiplexedConnection,
    /// The task that moves the bytes of a stream of our own. It stops when it is dropped, as
    /// redis-rs does with its own: else it would first send commands whose callers are gone, to a
    /// server that may never read them.
    _driver: Option<Arc<JoinSet<()>>>,
}

impl Connection {
    /// Connects to a server over TLS, and sends `hello`.
    pub(crate) async fn over_tls(
        (host, port): (&str, u16),
        tls: Arc<ClientConfig>,
        tcp: &TcpSettings,
        hello: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let name = ServerName::try_from(host.to_owned())?;
        let connector = TlsConnector::from(tls);
        let addresses = tokio::net::lookup_host((host, port)).await?;
        let connecting: Vec<_> = addresses
            .map(|address| Box::pin(handshake(address, tcp, &connector, &name)))
            .collect();
        if connecting.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
        }
        // All at once, as redis-rs does it: one of two addresses may be unreachable.
        let (stream, _) = select_ok(connecting).await?;
        let (inner, driver) =
            MultiplexedConnection::new_with_config(hello, Box::new(stream), config).await?;
        let mut task = JoinSet::new();
        task.spawn(driver);
        Ok(Self {
            inner,
            _driver: Some(Arc::new(task)),
        })
    }
}

async fn handshake(
    address: SocketAddr,
    tcp: &TcpSettings,
    connector: &TlsConnector,
    name: &ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    apply_tcp_settings(&stream, tcp)?;
    connector.connect(name.clone(), stream).await
}

/// Gives a stream the TCP settings of those that redis-rs opens.
fn apply_tcp_settings(stream: &TcpStream, tcp: &TcpSettings) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(tcp.nodelay())?;
    if let Some(keepalive) = tcp.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    socket.set_tcp_user_timeout(tcp.user_timeout())
}

impl From<MultiplexedConnection> for Connection {
    fn from(inner: MultiplexedConnection) -> Self {
        Self {
            inner,
            _driver: None,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.inner.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_stream_of_ours_is_as_its_settings_say() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let settings = super::super::tcp();
        apply_tcp_settings(&stream, &settings).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, settings.user_timeout());
        assert!(timeout > Some(Duration::ZERO));
    }
}
