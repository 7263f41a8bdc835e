//! The YAML shape of the places where a request may carry its secret.
//!
//! A place is one flat mapping, as an operator would write it; that it names exactly one of header, query and cookie is
//! checked where it is converted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One place for a secret: exactly one of `header`, `query`, `cookie`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a mapping such as {header: x-api-key}"
)]
pub struct CredentialSpec {
    /// A header's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The authentication scheme before the secret, compared without regard to case. Only with `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// A query parameter's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// What secrets begin with, to the letter. A value that does not begin so is not keyward's and goes upstream untouched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[!#$&-+\-./0-:<-_a-~]{1,64}$"))]
    pub prefix: Option<String>,
    /// How the parameter is removed from what goes upstream; `parameter` by default. Only with `query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip: Option<StripSpec>,
}

/// How a query parameter is removed from what goes upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StripSpec {
    /// Envoy removes it, and sorts and writes anew what is left of the query.
    Parameter,
    /// keyward sets `:path` without it; every other byte stays. Envoy's `decoder_header_mutation_rules` have to allow it.
    Path,
}
