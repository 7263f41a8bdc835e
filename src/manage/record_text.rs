//! A record as YAML in block style, one line for each member, as an operator would write it.
//!
//! Strings that YAML could take for something else are quoted as JSON quotes them, which YAML reads
//! the same way.

use std::fmt::Write;

use serde_json::Value;

use crate::keys::record::KeySpec;

/// The record as an item of a block list whose dashes are in column `indent`, counted from 0. Ends
/// with a line break.
pub fn to_item(record: &KeySpec, indent: usize) -> String {
    let mut text = String::new();
    // A record holds nothing that JSON lacks.
    let value = serde_json::to_value(record).unwrap_or_default();
    write_item(&mut text, &value, indent);
    text
}

/// A member in front of which this many spaces stand.
fn write_members(
    text: &mut String,
    members: &serde_json::Map<String, Value>,
    indent: usize,
    first_is_indented: bool,
) {
    for (place, (name, value)) in members.iter().enumerate() {
        if place > 0 || !first_is_indented {
            pad(text, indent);
        }
        write_string(text, name);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                write_members(text, inner, indent + 2, false);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push('\n');
                for item in items {
                    write_item(text, item, indent + 2);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push(' ');
                write_flow(text, value);
                text.push('\n');
            }
        }
    }
}

fn write_item(text: &mut String, item: &Value, indent: usize) {
    pad(text, indent);
    text.push_str("- ");
    match item {
        Value::Object(members) if !members.is_empty() => {
            write_members(text, members, indent + 2, true);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            write_flow(text, item);
            text.push('\n');
        }
    }
}

fn write_flow(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                write_flow(text, item);
            }
            text.push(']');
        }
        // Writing to a String cannot fail.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            _ = write!(text, "{value}");
        }
    }
}

fn write_string(text: &mut String, string: &str) {
    if is_plain(string) {
        text.push_str(string);
    } else {
        let _ = write!(text, "{}", Value::from(string));
    }
}

/// Whether every reader of YAML takes the unquoted text for a string, in a list in brackets too. A
/// time is one: it begins with a digit and holds what no number does.
fn is_plain(string: &str) -> bool {
    const WORDS: [&str; 10] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan",
    ];
    let begins = string
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        || is_time(string);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/-".contains(&byte);
    begins
        && !string.ends_with(':')
        && string.bytes().all(fits)
        && !WORDS.iter().any(|word| string.eq_ignore_ascii_case(word))
}

fn is_time(string: &str) -> bool {
    string.parse::<crate::units::TimeSpec>().is_ok()
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::record::tests::{WHOLE, digest, with};
    use crate::keys::record::{KeysSpec, SecretSpec};
    use crate::yaml::tests::read_as;

    #[test]
    fn a_record_reads_back_as_it_is_written() {
        let whole = WHOLE
            .replace("DIGEST", &digest("s"))
            .replace("tier: gold", "tier: {'a: b': [x, {y: ''}], no: yes}");
        for text in [
            whole,
            with(""),
            with("metadata: {e: {}, l: [], s: 'true', n: '1', x: \"a\\nb # c\", y: '- a'}"),
        ] {
            let spec: KeySpec = read_as(&text).unwrap();
            for indent in [0, 2, 4] {
                let written = format!("keys:\n{}", to_item(&spec, indent));
                let read = read_as::<KeysSpec>(&written).unwrap();
                assert!(read.keys == [spec.clone()], "{written}");
            }
        }
        let mut spec = KeySpec::new("a");
        spec.secrets = vec![SecretSpec {
            digest: digest("s"),
            id: None,
            not_before: None,
            expires_at: None,
        }];
        spec.expires_at = Some("2027-02-01T00:00:00Z".parse().unwrap());
        spec.scopes = vec!["invoices:read".into(), "42".into()];
        let want = format!(
            "  - id: a\n    secrets:\n      - digest: {}\n    expires_at: 2027-02-01T00:00:00Z\n    scopes: [invoices:read, \"42\"]\n",
            digest("s")
        );
        assert_eq!(to_item(&spec, 2), want);
    }
}
