//! The JSON Schema of `keyward.yaml`, for editors: its shape, and what its checks refuse as far as a schema can say it.
//!
//! What is added to the shape is a table, each line with the part of the schema that it narrows. At last, wherever a scalar
//! stands, a reference to the environment may stand too. A test holds schema and loader to each other.

use schemars::Schema;
use serde_json::{Value, json};

use super::spec::ConfigSpec;
use crate::keys::record::schema::{HOST, NAME, PATH, SCOPE, TOKEN, method, refine};

/// An IP address and a port.
const ADDRESS: &str = concat!(
    r"(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    r"|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
);
/// A URL of keys, with its place for a digest.
const KEYS_URL: &str = r"^https?://[^/?#@\s{}]+[/?]([^#{}]|\{kind\}|\{digest\})*$";
/// A URL of events.
const EVENTS_URL: &str = r"^https?://[^/?#@\s{}]+([/?][^#{}]*)?$";
/// A URL of a Redis server.
const REDIS_URL: &str = r"^((redis|valkey)s?://[^?#@\s]+|((redis|valkey)\+)?unix://[^?#\s]+)$";
/// A URL of a node, which is no socket.
const NODE_URL: &str = r"^(redis|valkey)s?://[^?#@\s]+$";
/// A duration that is not nothing.
const SOME_TIME: &str = r"^0*[1-9][0-9]*(ms|s|m|h|d)$";
/// A query parameter's name as it stands in a URL.
const PARAMETER: &str = r"^[\x21-\x22\x24-\x25\x27-\x3c\x3e-\x7e]+$";
/// A reference to the environment, anywhere in a text.
const REFERENCE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}";

/// Members that may be absent and not null, by their definition.
const NEVER_NULL: &[(&str, &[&str])] = &[
    ("RuleSpec", &["match", "allow", "require", "mcp"]),
    ("MatchSpec", &["hosts", "paths", "methods"]),
    ("RequireSpec", &["scopes", "clients"]),
];

/// The schema.
pub(super) fn schema() -> Schema {
    let mut schema = schemars::schema_for!(ConfigSpec);
    for (definition, members) in NEVER_NULL {
        for member in *members {
            let pointer = format!("/$defs/{definition}/properties/{member}");
            if let Some(place) = schema.pointer_mut(&pointer) {
                forbid_null(place);
            }
        }
    }
    for (pointer, more) in refinements() {
        refine(&mut schema, pointer, more);
    }
    let mut value = schema.as_value().clone();
    let definitions = value.get("$defs").cloned().unwrap_or_default();
    allow_references(&mut value, &definitions);
    if let Ok(with_references) = Schema::try_from(value) {
        schema = with_references;
    }
    schema.insert("$id".to_owned(), "urn:keyward:schema:config".into());
    schema.insert("title".to_owned(), "keyward configuration".into());
    schema
}

/// What the checks of a configuration refuse: where in the schema, and what to add there.
fn refinements() -> Vec<(&'static str, Value)> {
    let pattern = |pattern: &str| json!({"pattern": pattern});
    let path = || json!({"minLength": 1});
    let some = || json!({"minimum": 1});
    vec![
        ("/properties/credentials", json!({"minItems": 1})),
        (
            "/properties/realm",
            pattern(r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$"),
        ),
        (
            "/properties/plans",
            json!({"propertyNames": {"pattern": NAME}}),
        ),
        (
            "/$defs/GrpcSpec/properties/address",
            pattern(&format!(r"^(unix:.*[^/]|{ADDRESS})$")),
        ),
        (
            "/$defs/GrpcSpec/properties/socket_mode",
            pattern("^0*[0-7]{1,3}$"),
        ),
        (
            "/$defs/AdminSpec/properties/address",
            pattern(&format!("^{ADDRESS}$")),
        ),
        ("/$defs/TlsServerSpec/properties/cert_file", path()),
        ("/$defs/TlsServerSpec/properties/key_file", path()),
        ("/$defs/TlsServerSpec/properties/client_ca_file", path()),
        (
            "/$defs/CredentialSpec",
            exactly_one(&["header", "query", "cookie"]),
        ),
        (
            "/$defs/CredentialSpec",
            json!({"allOf": [needs("scheme", "header"), needs("strip", "query")]}),
        ),
        ("/$defs/CredentialSpec/properties/header", pattern(TOKEN)),
        ("/$defs/CredentialSpec/properties/scheme", pattern(TOKEN)),
        ("/$defs/CredentialSpec/properties/query", pattern(PARAMETER)),
        ("/$defs/CredentialSpec/properties/cookie", pattern(TOKEN)),
        ("/$defs/DigestSpec/properties/pepper_file", path()),
        (
            "/$defs/DigestSpec/properties/accept",
            json!({"minItems": 1, "uniqueItems": true}),
        ),
        ("/$defs/SourceSpec", exactly_one(&["file", "http", "redis"])),
        ("/$defs/FileSpec/properties/path", path()),
        (
            "/$defs/HttpSpec/properties/url",
            json!({"pattern": KEYS_URL, "allOf": [{"pattern": r"[/?].*\{digest\}"}]}),
        ),
        ("/$defs/HttpSpec/properties/events_url", pattern(EVENTS_URL)),
        ("/$defs/HttpSpec/properties/timeout", pattern(SOME_TIME)),
        ("/$defs/HttpSpec/properties/bearer_token_file", path()),
        ("/$defs/HttpSpec/properties/max_in_flight", some()),
        ("/$defs/TlsClientSpec", together("cert_file", "key_file")),
        ("/$defs/TlsClientSpec/properties/ca_file", path()),
        ("/$defs/TlsClientSpec/properties/cert_file", path()),
        ("/$defs/TlsClientSpec/properties/key_file", path()),
        (
            "/$defs/RedisSpec",
            exactly_one(&["url", "cluster", "sentinel"]),
        ),
        ("/$defs/RedisSpec", needs("username", "password_file")),
        ("/$defs/RedisSpec/properties/url", pattern(REDIS_URL)),
        (
            "/$defs/RedisSpec/properties/cluster",
            json!({"minItems": 1}),
        ),
        (
            "/$defs/RedisSpec/properties/cluster/items",
            pattern(NODE_URL),
        ),
        ("/$defs/RedisSpec/properties/password_file", path()),
        ("/$defs/RedisSpec/properties/timeout", pattern(SOME_TIME)),
        ("/$defs/SentinelSpec/properties/master", path()),
        (
            "/$defs/SentinelSpec/properties/nodes",
            json!({"minItems": 1}),
        ),
        (
            "/$defs/SentinelSpec/properties/nodes/items",
            pattern(NODE_URL),
        ),
        ("/$defs/CacheSpec/properties/capacity", some()),
        ("/$defs/CacheSpec/properties/negative_capacity", some()),
        ("/$defs/PlanSpec/properties/scopes/items", pattern(SCOPE)),
        ("/$defs/RuleSpec", what_a_rule_says()),
        (
            "/$defs/RuleSpec/properties/name",
            json!({"maxLength": 128, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}),
        ),
        ("/$defs/MatchSpec/properties/hosts/items", pattern(HOST)),
        ("/$defs/MatchSpec/properties/paths/items", pattern(PATH)),
        ("/$defs/MatchSpec/properties/methods/items", method()),
        ("/$defs/RequireSpec/properties/scopes/items", pattern(SCOPE)),
        ("/$defs/RequireSpec/properties/clients/items", pattern(NAME)),
        (
            "/$defs/IdentitySpec/properties/headers",
            json!({"propertyNames": {"pattern": TOKEN}}),
        ),
        (
            "/$defs/IdentitySpec/properties/headers/additionalProperties",
            pattern(r"^key\.(id|client|scopes|plan|metadata\..+)$"),
        ),
    ]
}

/// That a mapping has the member, and not as null.
fn has(member: &str) -> Value {
    json!({"required": [member], "properties": {member: {"not": {"type": "null"}}}})
}

fn exactly_one(members: &[&str]) -> Value {
    let each: Vec<Value> = members.iter().map(|member| has(member)).collect();
    json!({"oneOf": each})
}

/// That one member comes only with another.
fn needs(member: &str, other: &str) -> Value {
    json!({"if": has(member), "then": has(other)})
}

fn together(one: &str, other: &str) -> Value {
    json!({"anyOf": [
        {"allOf": [has(one), has(other)]},
        {"not": {"anyOf": [has(one), has(other)]}},
    ]})
}

/// A rule says `allow`, or `require` or `mcp` or both; what a request costs is said with a key alone.
fn what_a_rule_says() -> Value {
    let key = json!({"anyOf": [{"required": ["require"]}, {"required": ["mcp"]}]});
    json!({"oneOf": [
        {"required": ["allow"], "not": key},
        {"allOf": [key], "not": {"required": ["allow"]}},
    ]})
}

/// Takes null out of what a member may be.
fn forbid_null(member: &mut Value) {
    let Some(members) = member.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut choices)) = members.remove("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
        match choices.pop() {
            Some(Value::Object(only)) if choices.is_empty() => members.extend(only),
            last => {
                choices.extend(last);
                members.insert("anyOf".to_owned(), choices.into());
            }
        }
    }
}

/// Adds a reference to the environment to what each member, element or value of a mapping may be, unless it is a mapping, a list
/// or any string already.
fn allow_references(value: &mut Value, definitions: &Value) {
    match value {
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| allow_references(inner, definitions)),
        Value::Object(members) => {
            for (name, inner) in members.iter_mut() {
                allow_references(inner, definitions);
                match (name.as_str(), inner) {
                    ("properties", Value::Object(properties)) => {
                        let narrow = properties
                            .values_mut()
                            .filter(|member| is_narrow(member, definitions));
                        narrow.for_each(add_reference);
                    }
                    ("items" | "additionalProperties", inner) if is_narrow(inner, definitions) => {
                        add_reference(inner);
                    }
                    _ => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add_reference(member: &mut Value) {
    let reference = json!({"type": "string", "pattern": REFERENCE});
    let description = member.get("description").cloned();
    *member = json!({"anyOf": [member.take(), reference]});
    if let (Some(members), Some(text)) = (member.as_object_mut(), description) {
        members.insert("description".to_owned(), text);
    }
}

/// Whether the schema names a scalar and has no room for a reference.
fn is_narrow(schema: &Value, definitions: &Value) -> bool {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let definition = reference
            .rsplit('/')
            .next()
            .and_then(|name| definitions.get(name));
        return definition.is_some_and(|definition| definition.get("properties").is_none());
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(only)) => vec![only],
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    let is_text = types.contains(&"string");
    let is_number = ["integer", "number", "boolean"]
        .iter()
        .any(|name| types.contains(name));
    (is_number && !is_text) || (is_text && schema.get("pattern").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_names_a_part_of_the_schema() {
        let schema = schemars::schema_for!(ConfigSpec).to_value();
        for (pointer, _) in refinements() {
            assert!(schema.pointer(pointer).is_some(), "{pointer}");
        }
        for (definition, members) in NEVER_NULL {
            for member in *members {
                let pointer = format!("/$defs/{definition}/properties/{member}");
                assert!(schema.pointer(&pointer).is_some(), "{pointer}");
            }
        }
    }
}
