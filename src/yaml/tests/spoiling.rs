//! Documents with one thing wrong, for the tests of loaders.
//!
//! What a loader says of them must be about the one thing, and neither about another nor about what
//! was made up in its place.

use serde_json::Value;

/// Each way to spoil one value: everything in the document is replaced in turn, and each member
/// renamed.
pub(crate) fn spoiled(value: &Value) -> Vec<Value> {
    let mut all = vec![serde_json::json!([[]])];
    match value {
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                for inner in spoiled(inner) {
                    let mut list = list.clone();
                    list[index] = inner;
                    all.push(Value::Array(list));
                }
            }
        }
        Value::Object(members) => {
            for (name, inner) in members {
                for inner in spoiled(inner) {
                    let mut members = members.clone();
                    members[name] = inner;
                    all.push(Value::Object(members));
                }
                let renamed = members.iter().map(|(other, value)| {
                    let name = if other == name { "zzzzzz" } else { other };
                    (name.to_owned(), value.clone())
                });
                all.push(Value::Object(renamed.collect()));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}
