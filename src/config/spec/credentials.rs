//! The YAML shape of the locations where a request may carry its secret.
//!
//! A location is one flat mapping, as an operator would write it. Its check sees to it that it
//! names exactly one of header, query and cookie.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authz::credential::QueryStrip;

/// A credential location: exactly one of `header`, `query`, `cookie`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{"header": "x-api-key"}]))]
pub struct CredentialSpec {
    /// A header's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The authentication scheme before the secret, case-insensitive. Only with `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// A query parameter's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The exact prefix of secrets. keyward ignores a value without it, which goes upstream
    /// unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How the parameter is removed before the request goes upstream; the default is `parameter`.
    /// Only with `query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip: Option<QueryStrip>,
}
