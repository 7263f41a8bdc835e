//! The YAML shape of members that this version knows and does not support yet.
//!
//! A configuration that uses one gets "not supported yet" and not "unknown field". Their defaults
//! are accepted: they ask for what keyward does anyway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::yaml::Members;

/// The form of the secrets that `keyward keys` creates.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyFormatSpec {
    /// The prefix of secrets, or a list of prefixes: the first is for new secrets, all are
    /// accepted.
    pub prefix: serde_json::Value,
    /// Whether a secret of another form is refused without a lookup.
    pub require: bool,
}

impl Default for KeyFormatSpec {
    fn default() -> Self {
        Self {
            prefix: defaults::KEY_PREFIX.into(),
            require: false,
        }
    }
}

/// How MCP calls are decided and refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpRuleSpec {
    /// The HTTP status of a refused JSON-RPC request: 200 or 403.
    pub denial_status: u16,
    /// Whether responses that may contain a list go through the list filter.
    pub filter_lists: bool,
}

impl Default for McpRuleSpec {
    fn default() -> Self {
        Self {
            denial_status: defaults::MCP_DENIAL_STATUS,
            filter_lists: false,
        }
    }
}

/// A limit: `rate`, optionally with `burst`, or `quota`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Its name in responses.
    pub name: String,
    /// A number per `s`, `m`, `h` or `d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// How many at once; the default is the rate's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// A number per `minute`, `hour`, `day`, `week` or `month`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// Who shares it.
    #[serde(default)]
    pub per: PerSpec,
    /// Only calls of tools that match one of these patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// What is counted.
    #[serde(default)]
    pub unit: LimitUnitSpec,
}

/// Who shares a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PerSpec {
    /// Each key has its own.
    #[default]
    Key,
    /// The client's keys.
    Client,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitUnitSpec {
    /// Requests, by their cost.
    #[default]
    Requests,
    /// Tokens of language models that responses used.
    Tokens,
}

/// What MCP calls a key may make; an absent list is any, an empty list none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpSpec {
    /// Tools that may be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_tools: Option<Vec<String>>,
    /// Tools that may not be called, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_tools: Option<Vec<String>>,
    /// Prompts that may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_prompts: Option<Vec<String>>,
    /// Prompts that may not be used, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_prompts: Option<Vec<String>>,
    /// Resources that may be used, by URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_resources: Option<Vec<String>>,
    /// Resources that may not be used, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_resources: Option<Vec<String>>,
    /// JSON-RPC methods that may be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// JSON-RPC methods that may not be called, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_methods: Option<Vec<String>>,
    /// The cost of a tool's call, by pattern.
    pub costs: Members<u64>,
}
