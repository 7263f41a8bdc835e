//! The JSON Schema of `keyward.yaml`: its shape, and what its checks refuse as far as a schema can
//! say it. The loader holds the file against it, and editors do.
//!
//! What is added to the shape is a table, each line with the part of the schema that it narrows. In
//! an editor a reference to the environment may stand wherever a scalar stands; the loader has
//! replaced them before. A test holds schema and loader to each other.

use std::sync::OnceLock;

use schemars::Schema;
use serde_json::{Value, json};

use super::formats::{
    self, ADMIN, COOKIE, EVENTS_URL, FILE, HEADER, IDENTITY_FIELD, IDENTITY_NAME, KEYS_URL,
    LISTENER, NODE_URL, PREFIX, QUERY, REALM, REDIS_URL, RULE_NAME, SCHEME, SOCKET_MODE, SOME_TIME,
};
use super::spec::ConfigSpec;
use crate::keys::record::schema::{
    CLIENT, HOST, PATH, PLAN, SCOPE, method, refine, shared_formats,
};
use crate::yaml::{Document, Shape};

/// A reference to the environment, anywhere in a text.
const REFERENCE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}";

/// Definitions whose members may be absent and not null: what is absent may allow everything.
const NEVER_NULL: [&str; 5] = [
    "RuleSpec",
    "MatchSpec",
    "RequireSpec",
    "LimitSpec",
    "McpSpec",
];

impl Document for ConfigSpec {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| Shape::new(&shape(), shared_formats().chain(formats::ALL)))
    }
}

/// The schema for editors.
pub(super) fn schema() -> Schema {
    let mut value = shape().as_value().clone();
    let definitions = value.get("$defs").cloned().unwrap_or_default();
    allow_references(&mut value, &definitions);
    let mut schema = Schema::try_from(value).unwrap_or_default();
    schema.insert("$id".to_owned(), "urn:keyward:schema:config".into());
    schema.insert("title".to_owned(), "keyward configuration".into());
    schema
}

/// The schema of a file in which references to the environment are replaced.
fn shape() -> Schema {
    let mut schema = schemars::schema_for!(ConfigSpec);
    for definition in NEVER_NULL {
        let members = schema.pointer_mut(&format!("/$defs/{definition}/properties"));
        let members = members.and_then(Value::as_object_mut);
        members
            .into_iter()
            .flatten()
            .for_each(|(_, member)| forbid_null(member));
    }
    for (pointer, more) in refinements() {
        refine(&mut schema, pointer, more);
    }
    schema
}

/// What the checks of a configuration refuse: where in the schema, and what to add there.
fn refinements() -> Vec<(&'static str, Value)> {
    let mut table = of_server_and_credentials();
    table.extend(of_sources());
    table.extend(of_rules());
    table
}

fn of_server_and_credentials() -> Vec<(&'static str, Value)> {
    vec![
        ("/properties/credentials", json!({"minItems": 1})),
        ("/properties/realm", REALM.members()),
        ("/$defs/GrpcSpec/properties/address", LISTENER.members()),
        (
            "/$defs/GrpcSpec/properties/socket_mode",
            SOCKET_MODE.members(),
        ),
        ("/$defs/AdminSpec/properties/address", ADMIN.members()),
        ("/$defs/TlsServerSpec/properties/cert_file", FILE.members()),
        ("/$defs/TlsServerSpec/properties/key_file", FILE.members()),
        (
            "/$defs/TlsServerSpec/properties/client_ca_file",
            FILE.members(),
        ),
        (
            "/$defs/CredentialSpec",
            exactly_one("not one place", &["header", "query", "cookie"]),
        ),
        (
            "/$defs/CredentialSpec",
            rule("only a header has a scheme", needs("scheme", "header")),
        ),
        (
            "/$defs/CredentialSpec",
            rule(
                "only a query parameter is removed in one way or another; leave `strip` out",
                needs("strip", "query"),
            ),
        ),
        ("/$defs/CredentialSpec/properties/header", HEADER.members()),
        ("/$defs/CredentialSpec/properties/scheme", SCHEME.members()),
        ("/$defs/CredentialSpec/properties/query", QUERY.members()),
        ("/$defs/CredentialSpec/properties/cookie", COOKIE.members()),
        ("/$defs/CredentialSpec/properties/prefix", PREFIX.members()),
        ("/$defs/DigestSpec/properties/pepper_file", FILE.members()),
        (
            "/$defs/DigestSpec/properties/accept",
            json!({"minItems": 1, "uniqueItems": true}),
        ),
        (
            "/$defs/CacheSpec/properties/capacity",
            json!({"minimum": 1}),
        ),
        (
            "/$defs/CacheSpec/properties/negative_capacity",
            json!({"minimum": 1}),
        ),
        (
            "/$defs/LogSpec/properties/max_denied",
            json!({"maximum": u32::MAX}),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of conditions")]
fn of_sources() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/$defs/SourceSpec",
            exactly_one("not one source", &["file", "http", "redis"]),
        ),
        ("/$defs/FileSpec/properties/path", FILE.members()),
        ("/$defs/HttpSpec/properties/url", KEYS_URL.members()),
        (
            "/$defs/HttpSpec/properties/url",
            json!({"allOf": [{"pattern": r"[/?].*\{digest\}"}]}),
        ),
        (
            "/$defs/HttpSpec/properties/events_url",
            EVENTS_URL.members(),
        ),
        ("/$defs/HttpSpec/properties/timeout", SOME_TIME.members()),
        (
            "/$defs/HttpSpec/properties/bearer_token_file",
            FILE.members(),
        ),
        (
            "/$defs/HttpSpec/properties/max_in_flight",
            json!({"minimum": 1}),
        ),
        (
            "/$defs/TlsClientSpec",
            rule(
                "a certificate without its key, or a key without its certificate; \
                 name `cert_file` and `key_file`, or neither",
                together("cert_file", "key_file"),
            ),
        ),
        ("/$defs/TlsClientSpec/properties/ca_file", FILE.members()),
        ("/$defs/TlsClientSpec/properties/cert_file", FILE.members()),
        ("/$defs/TlsClientSpec/properties/key_file", FILE.members()),
        (
            "/$defs/RedisSpec",
            exactly_one("not one place", &["url", "cluster", "sentinel"]),
        ),
        (
            "/$defs/RedisSpec",
            rule(
                "a user without a password; name a file with the user's password in `password_file`",
                needs("username", "password_file"),
            ),
        ),
        ("/$defs/RedisSpec/properties/url", REDIS_URL.members()),
        (
            "/$defs/RedisSpec/properties/cluster",
            json!({"minItems": 1}),
        ),
        (
            "/$defs/RedisSpec/properties/cluster/items",
            NODE_URL.members(),
        ),
        ("/$defs/RedisSpec/properties/password_file", FILE.members()),
        ("/$defs/RedisSpec/properties/timeout", SOME_TIME.members()),
        (
            "/$defs/SentinelSpec/properties/master",
            json!({"minLength": 1}),
        ),
        (
            "/$defs/SentinelSpec/properties/nodes",
            json!({"minItems": 1}),
        ),
        (
            "/$defs/SentinelSpec/properties/nodes/items",
            NODE_URL.members(),
        ),
    ]
}

fn of_rules() -> Vec<(&'static str, Value)> {
    let some = || json!({"minItems": 1});
    vec![
        (
            "/properties/plans",
            json!({"propertyNames": PLAN.members()}),
        ),
        ("/$defs/PlanSpec/properties/scopes/items", SCOPE.members()),
        ("/$defs/RuleSpec", what_a_rule_says()),
        ("/$defs/RuleSpec/properties/name", json!({"maxLength": 128})),
        ("/$defs/RuleSpec/properties/name", RULE_NAME.members()),
        ("/$defs/MatchSpec/properties/hosts", some()),
        ("/$defs/MatchSpec/properties/hosts/items", HOST.members()),
        ("/$defs/MatchSpec/properties/paths", some()),
        ("/$defs/MatchSpec/properties/paths/items", PATH.members()),
        ("/$defs/MatchSpec/properties/methods", some()),
        ("/$defs/MatchSpec/properties/methods/items", method()),
        ("/$defs/RequireSpec/properties/scopes", some()),
        (
            "/$defs/RequireSpec/properties/scopes/items",
            SCOPE.members(),
        ),
        ("/$defs/RequireSpec/properties/clients", some()),
        (
            "/$defs/RequireSpec/properties/clients/items",
            CLIENT.members(),
        ),
        (
            "/$defs/IdentitySpec/properties/headers",
            json!({"propertyNames": IDENTITY_NAME.members()}),
        ),
        (
            "/$defs/IdentitySpec/properties/headers/additionalProperties",
            IDENTITY_FIELD.members(),
        ),
    ]
}

/// A condition on a combination of members, and the message where it does not hold.
fn rule(message: &str, mut condition: Value) -> Value {
    if let Some(members) = condition.as_object_mut() {
        members.insert("errorMessage".to_owned(), message.into());
    }
    json!({"allOf": [condition]})
}

/// That a mapping has the member, and not as null.
fn has(member: &str) -> Value {
    json!({"required": [member], "properties": {member: {"not": {"type": "null"}}}})
}

fn exactly_one(message: &str, members: &[&str]) -> Value {
    let each: Vec<Value> = members.iter().map(|member| has(member)).collect();
    let names: Vec<String> = members.iter().map(|member| format!("`{member}`")).collect();
    let message = format!("{message}; name exactly one of {}", names.join(", "));
    rule(&message, json!({"oneOf": each}))
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

/// A rule says `allow`, or `require` or `mcp` or both; what a request costs is said with a key
/// alone.
fn what_a_rule_says() -> Value {
    let key = json!({"anyOf": [{"required": ["require"]}, {"required": ["mcp"]}]});
    let one = json!({"oneOf": [
        {"required": ["allow"], "not": key},
        {"allOf": [key], "not": {"required": ["allow"]}},
    ]});
    let message = "the rule does not say one thing; \
                   write `require: {}` for any valid key, `allow: anyone` or `allow: nobody`";
    rule(message, one)
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

/// Adds a reference to the environment to what each member, element or value of a mapping may be,
/// unless it is a mapping, a list or any string already.
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
        for definition in NEVER_NULL {
            let pointer = format!("/$defs/{definition}/properties");
            assert!(schema.pointer(&pointer).is_some(), "{pointer}");
        }
        let unknown = crate::yaml::tests::unknown_formats(ConfigSpec::shape());
        assert_eq!(unknown, Vec::<String>::new());
    }
}
