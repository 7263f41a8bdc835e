//! Conditions of a schema that say nothing by themselves: whether they hold, and no more.
//!
//! Of JSON Schema this knows what the schemas of this crate use for combinations of members, and
//! for bounds. Whatever else a condition says counts as held: the types of the members were seen
//! before.

use serde_json::{Map, Value};

use super::Expected;

/// Whether a mapping with these members fulfils the condition.
pub(super) fn holds(values: &Map<String, Value>, condition: &Value) -> bool {
    let Some(condition) = condition.as_object() else {
        return condition != &Value::Bool(false);
    };
    let held = |other: &Value| holds(values, other);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    condition
        .iter()
        .all(|(keyword, value)| match keyword.as_str() {
            "required" => list(value)
                .iter()
                .all(|name| name.as_str().is_some_and(|name| values.contains_key(name))),
            "properties" => value
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, schema)| {
                    // Of a member no more is asked than that it is not null.
                    schema.pointer("/not/type") != Some(&"null".into())
                        || values.get(name) != Some(&Value::Null)
                }),
            "allOf" => list(value).iter().all(held),
            "anyOf" => list(value).iter().any(held),
            "oneOf" => list(value).iter().filter(|other| held(other)).count() == 1,
            "not" => !held(value),
            "if" => !held(value) || condition.get("then").is_none_or(held),
            _ => true,
        })
}

/// Whether a text or list of that length fits `minLength` and `maxLength`, or the like of `of`.
pub(super) fn has_length(length: usize, expected: Expected<'_>, of: &str) -> bool {
    let bound = |name: &str| {
        let bound = expected.get(&format!("{name}{of}"))?.as_u64()?;
        usize::try_from(bound).ok()
    };
    bound("min").is_none_or(|least| length >= least)
        && bound("max").is_none_or(|most| length <= most)
}

/// Whether one whole number is not below another; of no bound it is.
pub(super) fn is_at_least(value: &Value, least: Option<&Value>) -> bool {
    let number = |value: &Value| {
        value
            .as_i64()
            .map(i128::from)
            .or(value.as_u64().map(i128::from))
    };
    let least = least.and_then(number);
    least.is_none_or(|least| number(value).is_some_and(|value| value >= least))
}
