//! A server that is connected to: one that a URL names, or one that such a server tells of.
//!
//! A server tells host and port of another one; whether TLS is spoken there, and which database is chosen, is as at the one that was
//! asked.

use std::fmt;

use redis::ConnectionAddr;

use super::super::settings::RedisUrl;

/// A server that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Target {
    pub(super) addr: ConnectionAddr,
    pub(super) db: i64,
}

impl Target {
    /// The server of that URL.
    pub(super) fn of(url: &RedisUrl) -> Self {
        Self {
            addr: url.info().addr().clone(),
            db: url.info().redis_settings().db(),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.addr, ConnectionAddr::TcpTls { .. })
    }

    /// A server that this one told of, reached in the same way. An empty host is this one's.
    pub(super) fn beside(&self, host: &str, port: u16) -> Self {
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

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}
