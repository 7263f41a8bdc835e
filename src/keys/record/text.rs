//! A record written as YAML in block style, as an operator would write it: one line for each member.
//!
//! Strings that YAML could take for something else are quoted as JSON quotes them, which YAML reads alike.

use std::fmt::Write;

use serde_json::Value;

use super::KeySpec;

impl KeySpec {
    /// The record as an item of a block list whose dashes stand in column `indent`, counted from 0. Ends with a line break.
    pub fn to_item(&self, indent: usize) -> String {
        let mut text = String::new();
        // A record holds nothing that JSON lacks.
        let value = serde_json::to_value(self).unwrap_or_default();
        write_item(&mut text, &value, indent);
        text
    }
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

/// Whether every reader of YAML takes the unquoted text for a string, in a list in brackets too. A time is one: it begins with
/// a digit and holds what no number does.
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
    string.parse::<crate::yaml::TimeSpec>().is_ok()
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}
