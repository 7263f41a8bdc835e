//! The YAML shape of the listeners.
//!
//! Addresses and modes are text here, as an operator writes them; `config::server` has the checked
//! form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::units::{DurationSpec, SizeSpec};

/// The listeners, and the drain.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSpec {
    /// The listener for Envoy.
    pub grpc: GrpcSpec,
    /// The listener for metrics and probes.
    pub admin: AdminSpec,
    /// How long keyward answers as `NOT_SERVING` after SIGTERM, less if no connection is open; then
    /// listeners close.
    pub drain: DurationSpec,
    /// The time from SIGTERM after which everything is cut off. Longer than `drain`.
    pub deadline: DurationSpec,
    /// The number of serving threads; null lets keyward choose, and a number is not supported yet.
    pub workers: Option<usize>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            grpc: GrpcSpec::default(),
            admin: AdminSpec::default(),
            drain: defaults::DRAIN,
            deadline: defaults::DEADLINE,
            workers: None,
        }
    }
}

/// The listener for Envoy.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"address": "127.0.0.1:9191"}]))]
pub struct GrpcSpec {
    /// An IP address and port, or `unix:` and a path.
    pub address: String,
    /// Permissions of the Unix socket, in octal.
    pub socket_mode: String,
    /// The maximum size of a check, including the body that Envoy sends; 32MiB at most. A larger
    /// one is denied.
    pub max_message: SizeSpec,
    /// TLS; null for none.
    pub tls: Option<TlsServerSpec>,
}

impl Default for GrpcSpec {
    fn default() -> Self {
        Self {
            address: defaults::GRPC_ADDRESS.to_owned(),
            socket_mode: defaults::SOCKET_MODE.to_owned(),
            max_message: defaults::MAX_MESSAGE,
            tls: None,
        }
    }
}

/// The certificate of a listener, and whether clients need one too.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"cert_file": "tls.crt", "key_file": "tls.key"}]))]
pub struct TlsServerSpec {
    /// The certificate chain, PEM.
    pub cert_file: String,
    /// Its private key, PEM.
    pub key_file: String,
    /// Requires a client certificate signed by one of these CAs.
    pub client_ca_file: Option<String>,
}

/// The listener for metrics and probes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"address": "127.0.0.1:9192"}]))]
pub struct AdminSpec {
    /// An IP address and port.
    pub address: String,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self {
            address: defaults::ADMIN_ADDRESS.to_owned(),
        }
    }
}
