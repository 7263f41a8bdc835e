//! The YAML shape of rules and plans.
//!
//! Where an absent member means "any", null and a blank are refused: a value that was lost, as in a
//! file cut short, must not open a rule to everyone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LimitSpec, McpRuleSpec, McpSpec};

/// A rule: what the requests that it matches must present. It has `allow`, or `require` or `mcp` or
/// both.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"name": "health", "match": {"paths": ["/healthz"]}, "allow": "anyone"}]))]
pub struct RuleSpec {
    /// The name in logs and dynamic metadata; unique.
    pub name: String,
    /// Which requests the rule matches; absent: all.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<MatchSpec>,
    /// Whether requests pass without a key, or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<AllowSpec>,
    /// What the key must have; `{}`: any valid key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<RequireSpec>,
    /// Decide per MCP call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpRuleSpec>,
    /// What a request takes from each limit; only 1 is supported yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
}

/// Which requests a rule matches; an absent list is any, an empty one an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"paths": ["/healthz"]}]))]
pub struct MatchSpec {
    /// Hosts, such as `api.example.com` or `*.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Paths, such as `/healthz` or `/public/**`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Methods, such as `GET`. A rule with `allow: anyone` compares them case-sensitively, others
    /// case-insensitively.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
}

/// Who passes without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllowSpec {
    /// Everyone; a key that is presented is still removed.
    Anyone,
    /// Nobody, with or without a key.
    Nobody,
}

/// What a key must have.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"scopes": ["admin"]}]))]
pub struct RequireSpec {
    /// All of these scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Any of these clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
}

/// Named scopes and limits that keys refer to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"scopes": ["admin"]}]))]
pub struct PlanSpec {
    /// Granted to every key of the plan.
    pub scopes: Vec<String>,
    /// Limits of every key of the plan.
    pub limits: Vec<LimitSpec>,
    /// What MCP calls every key of the plan may make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpSpec>,
}
