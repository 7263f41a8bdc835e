//! The configuration as others see it: written out whole for `/config`, and as a schema for editors.
//!
//! Secrets stand in files, of which the configuration has the names, or come from the environment; what came from there
//! is shown as the file has it.

use std::path::Path;

use schemars::Schema;
use serde_json::{Value, json};

use super::digest::accepted;
use super::spec::{ConfigSpec, DigestSpec};
use crate::yaml::{Segment, YamlPath};

/// The document with its defaults, and `${NAME}` where a value came from the environment, as `substituted` has them: any of
/// them may be a secret.
pub(super) fn write(spec: &ConfigSpec, substituted: Vec<(YamlPath, String)>) -> Value {
    let digest = DigestSpec {
        accept: Some(accepted(&spec.digest)),
        ..spec.digest.clone()
    };
    let whole = ConfigSpec {
        digest,
        ..spec.clone()
    };
    // Its members are strings, numbers and lists of them, which JSON always has.
    let mut value = serde_json::to_value(whole).unwrap_or_default();
    for (path, written) in substituted {
        if let Some(place) = find(&mut value, &path) {
            *place = Value::String(written);
        }
    }
    value
}

/// Where an effective configuration, whose paths are relative to `base`, has its keys. A query is left out: it may hold a secret.
pub(super) fn source_place(effective: &Value, base: &Path) -> String {
    let text = |pointer: &str| effective.pointer(pointer).and_then(Value::as_str);
    let list = |pointer: &str| effective.pointer(pointer).and_then(Value::as_array);
    if let Some(path) = text("/source/file/path") {
        return base.join(path).display().to_string();
    }
    if let Some(url) = text("/source/http/url") {
        return url.split('?').next().unwrap_or_default().to_owned();
    }
    if let Some(url) = text("/source/redis/url") {
        return url.to_owned();
    }
    let nodes = list("/source/redis/cluster").or_else(|| list("/source/redis/sentinel/nodes"));
    let nodes: Vec<_> = nodes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    nodes.join(", ")
}

fn find<'v>(value: &'v mut Value, path: &YamlPath) -> Option<&'v mut Value> {
    path.0
        .iter()
        .try_fold(value, |value, segment| match segment {
            Segment::Field(name) => value.get_mut(name),
            Segment::Index(index) => value.get_mut(index),
        })
}

/// The schema of the shape. Wherever a scalar stands, a reference to the environment may stand too.
pub(super) fn schema() -> Schema {
    let mut schema = schemars::schema_for!(ConfigSpec);
    let mut value = schema.as_value().clone();
    let definitions = value.get("$defs").cloned().unwrap_or_default();
    allow_references(&mut value, &definitions);
    if let Ok(with_references) = Schema::try_from(value) {
        schema = with_references;
    }
    schema.insert("title".to_owned(), "keyward configuration".into());
    schema
}

/// Adds a reference to the environment to what each member may be, unless it is a mapping, a list or any string already.
fn allow_references(value: &mut Value, definitions: &Value) {
    match value {
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| allow_references(inner, definitions)),
        Value::Object(members) => {
            for (name, inner) in members.iter_mut() {
                allow_references(inner, definitions);
                if let ("properties", Value::Object(properties)) = (name.as_str(), inner) {
                    let narrow = properties
                        .values_mut()
                        .filter(|member| is_narrow(member, definitions));
                    narrow.for_each(add_reference);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add_reference(member: &mut Value) {
    let reference = json!({"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}"});
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
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number" | "boolean") => true,
        Some("string") => schema.get("pattern").is_some(),
        Some(_) | None => false,
    }
}
