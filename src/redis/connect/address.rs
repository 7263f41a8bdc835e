//! The address of a server: one that a URL names, or one that such a server names.
//!
//! A server names host and port of another one; TLS and database are those of the server that was
//! asked.

use std::fmt;

use redis::ConnectionAddr;

use super::super::settings::RedisUrl;

/// The address of a server, and the database to select there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) addr: ConnectionAddr,
    pub(crate) db: i64,
}

impl ServerAddress {
    pub(crate) fn of(url: &RedisUrl) -> Self {
        Self {
            addr: url.info().addr().clone(),
            db: url.info().redis_settings().db(),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.addr, ConnectionAddr::TcpTls { .. })
    }

    /// A server that this one named, reached in the same way. An empty host is this one's.
    pub(crate) fn with_host(&self, host: &str, port: u16) -> Self {
        if let ConnectionAddr::TcpTls { host: own, .. } = &self.addr {
            let addr = ConnectionAddr::TcpTls {
                host: if host.is_empty() { own } else { host }.to_owned(),
                port,
                insecure: false,
                tls_params: None,
            };
            return Self { addr, db: self.db };
        }
        let own = if let ConnectionAddr::Tcp(own, _) = &self.addr {
            own
        } else {
            ""
        };
        let host = if host.is_empty() { own } else { host }.to_owned();
        let addr = ConnectionAddr::Tcp(host, port);
        Self { addr, db: self.db }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}
