//! Numbers in a record, which go upstream as they are written or not at all.
//!
//! Readers of YAML and JSON keep a number's value and not its text: `1.10` would arrive as `1.1`, `0x1F` as `31`. Only a plain
//! decimal integer is written in one way. Numbers within lists and mappings, which go nowhere, are treated alike: a command that
//! changes a record in Redis writes them back.

use serde_json::Value;

use super::InvalidRecord;
use crate::yaml::{Place, Segment, YamlPath};

const CHANGED: &str = "a number that would not arrive as written";
const HELP: &str = "quote it, as in \"1.10\"";

/// Notes each number in a free-form value that would not arrive as it is written.
pub(super) fn check(value: &Value, at: &Place<'_>) {
    match value {
        Value::Number(number) => {
            if number.is_f64() || !at.has_integer_as(&number.to_string()) {
                at.problem_with_help(CHANGED, HELP);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(item, &at.index(index));
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                check(value, &at.field(name));
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Refuses a record in JSON that has, in any member, a number that would not arrive as it is written: there each that is no
/// integer in plain decimal, or a larger one than is kept whole, is read as a floating-point number.
pub(super) fn refuse_changed(record: &Value) -> Result<(), InvalidRecord> {
    // A number in place of a record is told as what it is.
    let Some(mut path) = floating(record).filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    path.reverse();
    let path = YamlPath(path);
    Err(InvalidRecord::new(format!("{path}: {CHANGED}; {HELP}")))
}

/// The way to the first floating-point number, from there to the top.
fn floating(value: &Value) -> Option<Vec<Segment>> {
    let inside = |value, segment: &dyn Fn() -> Segment| {
        let mut path = floating(value)?;
        path.push(segment());
        Some(path)
    };
    match value {
        Value::Number(number) => number.is_f64().then(Vec::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| inside(item, &|| Segment::Index(index))),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, value)| inside(value, &|| Segment::Field(name.clone()))),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}
