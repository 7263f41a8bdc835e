//! The YAML shape of a configuration, member by member.
//!
//! It knows names, types and defaults only. An absent member gets its default, so that the shape
//! written out again is the active configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::authz::rule::DefaultAccess;
use crate::authz::snapshot::{ClientAddress, Mode};
use crate::units::DurationSpec;
use crate::yaml::Members;

mod credentials;
mod observe;
mod remote;
mod rules;
mod server;
mod unsupported;

pub use credentials::CredentialSpec;
pub use observe::{LogSpec, MetricsSpec};
pub use remote::{HttpSpec, RedisSpec, SentinelSpec, TlsClientSpec};
pub use rules::{AllowSpec, MatchSpec, PlanSpec, RequireSpec, RuleSpec};
pub use server::{AdminSpec, GrpcSpec, ServerSpec, TlsServerSpec};
pub use unsupported::{KeyFormatSpec, LimitSpec, LimitUnitSpec, McpRuleSpec, McpSpec, PerSpec};

/// `keyward.yaml`: the configuration of a keyward server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigSpec {
    /// The listeners, and the drain.
    pub server: ServerSpec,
    /// Which address `allow_ips` and the log use as the client's. Callers can forge the header
    /// unless Envoy sets it: `use_remote_address: true`, and no `internal_address_config` that
    /// includes callers.
    pub client_address: ClientAddress,
    /// Where a request may carry its secret; keyward reads all of these locations.
    pub credentials: Vec<CredentialSpec>,
    /// The form of the secrets that `keyward keys` creates; only the default is supported yet.
    pub key_format: KeyFormatSpec,
    /// The realm in `WWW-Authenticate`.
    pub realm: String,
    /// Whether to refuse a valid key that was sent over plain HTTP. keyward reads
    /// `x-forwarded-proto`, which Envoy sets or trusts, and the request's scheme only if that
    /// header is absent.
    pub require_https: bool,
    /// How digests of secrets are computed.
    pub digest: DigestSpec,
    /// Where keys come from: exactly one of `file`, `http`, `redis`.
    pub source: SourceSpec,
    /// The cache of keys in use.
    pub cache: CacheSpec,
    /// Named scopes and limits that keys refer to.
    pub plans: Members<PlanSpec>,
    /// The plan of keys without one; not supported yet.
    pub default_plan: Option<String>,
    /// What a request must present; the first rule that matches decides.
    pub rules: Vec<RuleSpec>,
    /// Decides requests that no rule matches.
    pub default: DefaultAccess,
    /// What the upstream learns about the caller.
    pub identity: IdentitySpec,
    /// What the caller learns about limits.
    pub responses: ResponsesSpec,
    /// Where limits are counted.
    pub limits: LimitsSpec,
    /// Usage events; not supported yet.
    pub usage: Option<serde_json::Value>,
    /// What `/metrics` shows.
    pub metrics: MetricsSpec,
    /// What is logged.
    pub log: LogSpec,
    /// Whether denials are enforced, or only reported.
    pub mode: Mode,
}

impl Default for ConfigSpec {
    fn default() -> Self {
        let header = CredentialSpec {
            header: Some(defaults::KEY_HEADER.to_owned()),
            ..CredentialSpec::default()
        };
        let bearer = CredentialSpec {
            header: Some("authorization".to_owned()),
            scheme: Some("Bearer".to_owned()),
            ..CredentialSpec::default()
        };
        Self {
            server: ServerSpec::default(),
            client_address: ClientAddress::default(),
            credentials: vec![header, bearer],
            key_format: KeyFormatSpec::default(),
            realm: defaults::REALM.to_owned(),
            require_https: false,
            digest: DigestSpec::default(),
            source: SourceSpec {
                file: Some(FileSpec::default()),
                ..SourceSpec::default()
            },
            cache: CacheSpec::default(),
            plans: Members::default(),
            default_plan: None,
            rules: Vec::new(),
            default: DefaultAccess::default(),
            identity: IdentitySpec::default(),
            responses: ResponsesSpec::default(),
            limits: LimitsSpec::default(),
            usage: None,
            metrics: MetricsSpec::default(),
            log: LogSpec::default(),
            mode: Mode::default(),
        }
    }
}

/// How digests of secrets are computed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"pepper_file": "pepper.txt"}]))]
pub struct DigestSpec {
    /// A file of at least 32 bytes that switches digests to keyed mode.
    pub pepper_file: Option<String>,
    /// The kinds of digests to look up, in order. The default is `blake3`, or with a pepper
    /// `blake3-keyed`.
    pub accept: Option<Vec<DigestKindSpec>>,
}

/// A kind of digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DigestKindSpec {
    /// BLAKE3.
    Blake3,
    /// BLAKE3, keyed with the pepper.
    Blake3Keyed,
    /// SHA-256, for stores of other products; not supported yet.
    Sha256,
}

/// Where keys come from: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"file": {"path": "keys.yaml"}}]))]
pub struct SourceSpec {
    /// A file, or a directory of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSpec>,
    /// An HTTP service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// Redis or Valkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisSpec>,
}

/// Keys in a file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"path": "keys.yaml"}]))]
pub struct FileSpec {
    /// Relative to the configuration; a directory means every `*.yaml`, `*.yml` and `*.json` in it.
    pub path: String,
}

impl Default for FileSpec {
    fn default() -> Self {
        Self {
            path: defaults::KEYS_FILE.to_owned(),
        }
    }
}

/// The cache of keys in use.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"ttl": "60s"}]))]
pub struct CacheSpec {
    /// The number of known keys.
    pub capacity: usize,
    /// How long a change can go unnoticed without a push.
    pub ttl: DurationSpec,
    /// The number of unknown digests, which have a separate cache.
    pub negative_capacity: usize,
    /// How long an unknown digest or an invalid record is cached.
    pub negative_ttl: DurationSpec,
    /// How long past `ttl` a cached key stays usable while its source fails.
    pub stale_if_error: DurationSpec,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            capacity: defaults::CACHE_CAPACITY,
            ttl: defaults::CACHE_TTL,
            negative_capacity: defaults::CACHE_NEGATIVE_CAPACITY,
            negative_ttl: defaults::CACHE_NEGATIVE_TTL,
            stale_if_error: defaults::CACHE_STALE_IF_ERROR,
        }
    }
}

/// What the upstream learns about the caller.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"headers": {"x-org-id": "key.metadata.org"}}]))]
pub struct IdentitySpec {
    /// Headers to set, each to `key.id`, `key.client`, `key.scopes`, `key.plan` or
    /// `key.metadata.NAME`.
    pub headers: Members<String>,
    /// Whether credentials are removed before the request goes upstream.
    pub strip_credentials: bool,
}

impl Default for IdentitySpec {
    fn default() -> Self {
        let headers =
            defaults::IDENTITY_HEADERS.map(|(name, field)| (name.to_owned(), field.to_owned()));
        Self {
            headers: headers.into_iter().collect(),
            strip_credentials: true,
        }
    }
}

/// What the caller learns about limits.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"rate_limit_headers": "draft"}]))]
pub struct ResponsesSpec {
    /// Headers about rate limits.
    pub rate_limit_headers: RateLimitHeadersSpec,
}

/// Headers about rate limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitHeadersSpec {
    /// `RateLimit` and `RateLimit-Policy`, as in the IETF draft.
    #[default]
    Draft,
    /// `X-RateLimit-*`.
    Legacy,
    /// None.
    Off,
}

/// Where limits are counted.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"backend": "local"}]))]
pub struct LimitsSpec {
    /// In this process, or shared.
    pub backend: BackendSpec,
    /// The shared backend; the default is `source.redis`.
    pub redis: Option<RedisSpec>,
    /// What happens when the shared backend fails.
    pub on_error: OnErrorSpec,
    /// The IANA name of the zone in which days, weeks and months of quotas begin.
    pub time_zone: String,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            backend: BackendSpec::default(),
            redis: None,
            on_error: OnErrorSpec::default(),
            time_zone: defaults::LIMITS_TIME_ZONE.to_owned(),
        }
    }
}

/// Where limits are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendSpec {
    /// In this process.
    #[default]
    Local,
    /// In Redis, shared by all sidecars.
    Redis,
}

/// What happens when the shared backend fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnErrorSpec {
    /// Requests pass uncounted.
    #[default]
    Allow,
    /// Requests are refused with 503.
    Deny,
}
