//! Where Redis is and who connects to it, checked.
//!
//! URLs are checked when they are parsed. Errors repeat nothing of a URL, since it may hold a
//! password.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::tls::ClientTlsFiles;
use crate::tls::loopback::is_this_machine;
use crate::watch::named_file::NamedFile;

/// How connections to Redis are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where it is.
    pub servers: RedisServers,
    /// The ACL user; `default` where absent.
    pub username: Option<String>,
    /// A file that holds the user's password; one final newline is not part of it.
    pub password_file: Option<NamedFile>,
    /// Certificates, for rediss.
    pub tls: ClientTlsFiles,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    One(RedisUrl),
    /// A cluster, by some of its nodes; at least one.
    Cluster(Vec<RedisUrl>),
    /// A master that sentinels name; at least one sentinel. TLS with the master, and its database,
    /// follow from the sentinels' URLs. Only a sentinel that wants a password gets the user and
    /// password.
    Sentinel {
        /// The master's name.
        master: String,
        /// Some sentinels.
        nodes: Vec<RedisUrl>,
    },
}

impl RedisServers {
    /// All the URLs.
    pub fn urls(&self) -> &[RedisUrl] {
        match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Cluster(nodes) | Self::Sentinel { nodes, .. } => nodes,
        }
    }
}

/// The URLs, with commas between.
impl fmt::Display for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, url) in self.urls().iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{url}")?;
        }
        Ok(())
    }
}

/// A server's URL: `redis://`, `rediss://` or `redis+unix://`, without user or password.
#[derive(Clone)]
pub struct RedisUrl {
    text: Box<str>,
    info: Box<ConnectionInfo>,
}

/// Why a text is not the URL of a Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedisUrl {
    /// Not such a URL.
    #[error("not a URL of redis, rediss or redis+unix")]
    Syntax,
    /// It has a user or a password.
    #[error("a user or password in a URL is shown in many places")]
    Userinfo,
    /// It asks for something behind `#` or `?`.
    #[error("a URL ends with the database's number, or with the socket's path")]
    Options,
}

impl RedisUrl {
    /// What to connect to; its Redis settings name the database alone.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Whether it is of TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Whether others can read on the way what is sent: there is no TLS, and it is another machine.
    pub fn is_in_clear(&self) -> bool {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) => !is_this_machine(host),
            // TLS and sockets, and variants added later.
            ConnectionAddr::TcpTls { .. } | ConnectionAddr::Unix(_) | _ => false,
        }
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::Unix(_))
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let url = redis::parse_redis_url(text).ok_or(InvalidRedisUrl::Syntax)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidRedisUrl::Userinfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidRedisUrl::Options);
        }
        let info = text
            .into_connection_info()
            .map_err(|_| InvalidRedisUrl::Syntax)?;
        Ok(Self {
            text: text.into(),
            info: Box::new(info),
        })
    }
}

/// Equal where they name the same database of the same server, in whatever words.
impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|url| url.info.addr().to_string());
        let is_same_server = if self.is_unix() {
            one == two
        } else {
            one.eq_ignore_ascii_case(&two)
        };
        let kind = |url: &Self| (url.is_unix(), url.is_tls(), url.info.redis_settings().db());
        is_same_server && kind(self) == kind(other)
    }
}

impl Eq for RedisUrl {}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_nobody() {
        for (text, want) in [
            ("redis://127.0.0.1:6379/0", Ok(())),
            ("rediss://cache.internal:6380", Ok(())),
            ("redis+unix:///run/redis.sock", Ok(())),
            ("redis://:canary@h", Err(InvalidRedisUrl::Userinfo)),
            ("redis://user@h", Err(InvalidRedisUrl::Userinfo)),
            ("rediss://h/#insecure", Err(InvalidRedisUrl::Options)),
            ("redis+unix:///s?pass=canary", Err(InvalidRedisUrl::Options)),
            ("http://h", Err(InvalidRedisUrl::Syntax)),
            ("h:6379", Err(InvalidRedisUrl::Syntax)),
        ] {
            assert_eq!(text.parse::<RedisUrl>().map(drop), want, "{text}");
        }
    }

    #[test]
    fn urls_are_equal_that_name_the_same_database_of_the_same_server() {
        let url = |text: &str| text.parse::<RedisUrl>().unwrap();
        for (one, other, want) in [
            ("redis://h", "redis://h:6379/0", true),
            ("redis://h/", "redis://H:6379", true),
            ("redis://h/1", "redis://h/0", false),
            ("redis://h", "rediss://h", false),
            ("redis://h", "redis://h:6380", false),
            ("redis://h", "redis://g", false),
            ("redis+unix:///s", "redis+unix:///s", true),
            ("redis+unix:///s", "redis+unix:///S", false),
        ] {
            assert_eq!(url(one) == url(other), want, "{one} {other}");
        }
    }
}
