//! The default of each member of the configuration.
//!
//! Each is a constant with its unit and its reason, and appears nowhere else.

use std::time::Duration;

use crate::units::{DurationSpec, SizeSpec};

/// gRPC address: Envoy is in the same pod, and nobody else need reach us.
pub const GRPC_ADDRESS: &str = "127.0.0.1:9191";

/// Permissions of a Unix socket: Envoy usually runs as another user of the same group.
pub const SOCKET_MODE: &str = "0660";

/// Bytes of one check: more than Envoy sends by default, which is 60 KiB of headers and the path
/// twice; a body that Envoy is to send along may need more.
pub const MAX_MESSAGE: SizeSpec = SizeSpec(4 * 1024 * 1024);

/// Admin address: loopback until the operator opens it to Prometheus and the kubelet.
pub const ADMIN_ADDRESS: &str = "127.0.0.1:9192";

/// How long to say `NOT_SERVING` before listeners close: long enough for a health check every few
/// seconds to see it.
pub const DRAIN: DurationSpec = DurationSpec(Duration::from_secs(5));

/// From the signal to the end, whatever still runs: within Kubernetes' grace period of 30 s.
pub const DEADLINE: DurationSpec = DurationSpec(Duration::from_secs(20));

/// The realm of challenges.
pub const REALM: &str = "keyward";

/// The key file, beside the configuration.
pub const KEYS_FILE: &str = "keys.yaml";

/// Known keys kept prepared, a number: all keys of most deployments, and still tens of MiB.
pub const CACHE_CAPACITY: usize = 100_000;

/// The longest a change at the source can go unseen when no push arrives: what polling sources
/// commonly promise.
pub const CACHE_TTL: DurationSpec = DurationSpec(Duration::from_mins(1));

/// Unknown digests remembered, a number: in a cache of their own, so that a flood of them costs no
/// real key its place.
pub const CACHE_NEGATIVE_CAPACITY: usize = 100_000;

/// How long an unknown digest is remembered: short, so that a new key works at once for people.
pub const CACHE_NEGATIVE_TTL: DurationSpec = DurationSpec(Duration::from_secs(5));

/// How long past its ttl a key serves while the source fails: not at all, unless the operator
/// trades safety for it.
pub const CACHE_STALE_IF_ERROR: DurationSpec = DurationSpec(Duration::ZERO);

/// Keys with series of their own, a number: some ten series each stay within what one Prometheus
/// target should have.
pub const METRICS_MAX_KEYS: usize = 10_000;

/// What new secrets begin with.
pub const KEY_PREFIX: &str = crate::secret_format::PREFIX;

/// The HTTP status of a refused JSON-RPC request: clients lose their session at 4xx.
pub const MCP_DENIAL_STATUS: u16 = 200;

/// The zone in which days, weeks and months of quotas begin.
pub const LIMITS_TIME_ZONE: &str = "UTC";

/// Denied decisions logged a second for each reason, a number: enough to see who is denied and why,
/// and 20 KiB a second.
pub const LOG_MAX_DENIED: u32 = 100;

/// A header credential that most API gateways know.
pub const KEY_HEADER: &str = "x-api-key";

/// The identity headers, each with what it carries.
pub const IDENTITY_HEADERS: [(&str, &str); 4] = [
    ("x-keyward-key-id", "key.id"),
    ("x-keyward-client", "key.client"),
    ("x-keyward-scopes", "key.scopes"),
    ("x-keyward-plan", "key.plan"),
];

/// How long one lookup over HTTP may take: a few round trips within a data centre.
pub const HTTP_TIMEOUT: DurationSpec = DurationSpec(Duration::from_millis(150));

/// Lookups over HTTP at once, a number: what waits beyond it would only wait longer.
pub const HTTP_MAX_IN_FLIGHT: usize = 256;

/// What Redis keys begin with.
pub const REDIS_PREFIX: &str = "keyward:";

/// How long one lookup in Redis may take: many times what it does take.
pub const REDIS_TIMEOUT: DurationSpec = DurationSpec(Duration::from_millis(100));

/// Lookups in Redis at once, a number: one connection takes as many, and what waits beyond it would
/// only wait longer.
pub const REDIS_MAX_IN_FLIGHT: usize = 1024;
