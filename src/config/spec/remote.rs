//! The YAML shape of remote sources.
//!
//! URLs are texts here; the checks parse them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::keys::redis::PushMode;
use crate::units::DurationSpec;

/// Keys from an HTTP service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"url": "https://keys.internal/v1/keys/{digest}"}]))]
pub struct HttpSpec {
    /// The URL of a key, with `{digest}` and `{kind}`.
    pub url: String,
    /// The timeout of a lookup.
    #[serde(default = "http_timeout")]
    pub timeout: DurationSpec,
    /// A file with a bearer token.
    pub bearer_token_file: Option<String>,
    /// Certificates.
    pub tls: Option<TlsClientSpec>,
    /// The maximum number of concurrent lookups.
    #[serde(default = "http_max_in_flight")]
    pub max_in_flight: usize,
    /// The URL of invalidations, sent as server-sent events.
    pub events_url: Option<String>,
}

const fn http_timeout() -> DurationSpec {
    defaults::HTTP_TIMEOUT
}

const fn http_max_in_flight() -> usize {
    defaults::HTTP_MAX_IN_FLIGHT
}

/// Keys from Redis or Valkey: exactly one of `url`, `cluster`, `sentinel`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"url": "redis://127.0.0.1:6379/0"}]))]
pub struct RedisSpec {
    /// One server.
    pub url: Option<String>,
    /// Some nodes of a cluster.
    pub cluster: Option<Vec<String>>,
    /// Sentinels that know the master.
    pub sentinel: Option<SentinelSpec>,
    /// The user.
    pub username: Option<String>,
    /// A file with the user's password.
    pub password_file: Option<String>,
    /// Certificates.
    pub tls: Option<TlsClientSpec>,
    /// The prefix of every Redis key.
    pub prefix: String,
    /// The timeout of a lookup.
    pub timeout: DurationSpec,
    /// Whether pushes of changes are used or required.
    pub push: PushMode,
}

impl Default for RedisSpec {
    fn default() -> Self {
        Self {
            url: None,
            cluster: None,
            sentinel: None,
            username: None,
            password_file: None,
            tls: None,
            prefix: defaults::REDIS_PREFIX.to_owned(),
            timeout: defaults::REDIS_TIMEOUT,
            push: PushMode::default(),
        }
    }
}

/// Sentinels that know the master.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"master": "main", "nodes": ["redis://127.0.0.1:26379"]}]))]
pub struct SentinelSpec {
    /// The master's name.
    pub master: String,
    /// Some sentinels.
    pub nodes: Vec<String>,
}

/// Certificates for a connection to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"ca_file": "ca.pem"}]))]
pub struct TlsClientSpec {
    /// The CA that must have signed the server's certificate.
    pub ca_file: Option<String>,
    /// keyward's client certificate.
    pub cert_file: Option<String>,
    /// Its private key.
    pub key_file: Option<String>,
}
