//! The shape of a kind of document: its JSON Schema, and the checks of its formats.
//!
//! The schema is the one that `keyward schema` prints (except for references to the environment),
//! so that editors and the loader agree. A string's `format` names its check, which says in words
//! what the `pattern` beside it says to editors. A condition on a combination of members has an
//! `errorMessage`, which editors show too.

use std::collections::HashMap;
use std::str::FromStr;

use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::checker::FieldPath;
use crate::units::{DurationSpec, SizeSpec, TimeSpec};

/// Notes at the field what is wrong with the text there, if anything is.
pub type Check = fn(&str, &FieldPath<'_>);

/// A type that documents are read into.
pub trait Document: DeserializeOwned {
    /// What they look like.
    fn shape() -> &'static Shape;
}

/// A kind of text.
pub struct Format {
    /// Its name, which no validator of JSON Schema takes for one of its own.
    pub name: &'static str,
    /// What an editor checks: a regular expression of ECMA 262.
    pub pattern: &'static str,
    /// What the loader checks.
    pub check: Check,
}

/// The schema of a kind of document, and the checks of its formats.
pub struct Shape {
    pub(super) schema: Value,
    pub(super) formats: HashMap<&'static str, Check>,
}

/// A part of a schema, with what it refers to in its place.
#[derive(Clone, Copy)]
pub(super) struct Expected<'s> {
    /// `None` where anything may be.
    pub(super) schema: Option<&'s Map<String, Value>>,
    pub(super) nullable: bool,
}

/// A check that the text is a `T`.
pub fn parses<T: FromStr<Err: std::error::Error>>(text: &str, at: &FieldPath<'_>) {
    at.note(text.parse::<T>());
}

impl Format {
    /// What a schema says of such a text.
    pub fn members(&self) -> Value {
        json!({"format": self.name, "pattern": self.pattern})
    }
}

impl Shape {
    /// The shape that the schema describes. Durations, sizes and times are known formats.
    pub fn new<'f>(schema: &Schema, formats: impl IntoIterator<Item = &'f Format>) -> Self {
        let units: [(&'static str, Check); 3] = [
            ("time-span", parses::<DurationSpec>),
            ("byte-size", parses::<SizeSpec>),
            ("date-time", parses::<TimeSpec>),
        ];
        let formats = formats
            .into_iter()
            .map(|format| (format.name, format.check));
        Self {
            schema: schema.as_value().clone(),
            formats: units.into_iter().chain(formats).collect(),
        }
    }

    /// The whole document's.
    pub(super) fn top(&self) -> &Value {
        &self.schema
    }

    /// Whether a mapping is at the top.
    pub(super) fn is_mapping(&self) -> bool {
        self.expected(&self.schema).is("object")
    }

    /// Checks the text of a field by the format that the part names.
    pub(super) fn check(&self, expected: &Map<String, Value>, text: &str, at: &FieldPath<'_>) {
        let format = expected.get("format").and_then(Value::as_str);
        if let Some(check) = format.and_then(|format| self.formats.get(format)) {
            check(text, at);
        }
    }

    /// Follows references, and takes the null out of what may also be null.
    pub(super) fn expected<'s>(&'s self, mut schema: &'s Value) -> Expected<'s> {
        let mut nullable = false;
        while let Some(members) = schema.as_object() {
            let reference = members.get("$ref").and_then(Value::as_str);
            let target =
                reference.and_then(|name| self.schema.pointer(name.trim_start_matches('#')));
            if let Some(target) = target {
                schema = target;
                continue;
            }
            let choices = members.get("anyOf").and_then(Value::as_array);
            match choices.map(Vec::as_slice) {
                Some([only, null]) if null.get("type").is_some_and(|name| name == "null") => {
                    (schema, nullable) = (only, true);
                }
                _ => break,
            }
        }
        let mut expected = Expected {
            schema: schema.as_object(),
            nullable,
        };
        expected.nullable |= expected.is("null") || expected.is_free();
        expected
    }
}

impl<'s> Expected<'s> {
    /// Whether a value of that type may be here.
    pub(super) fn is(self, name: &str) -> bool {
        match self.get("type") {
            Some(Value::String(only)) => only == name,
            Some(Value::Array(names)) => names.iter().any(|other| other == name),
            _ => false,
        }
    }

    /// Whether any value may be here, but for numbers whose text would be lost.
    pub(super) fn is_free(self) -> bool {
        let says_nothing = self.get("type").is_none() && self.choices().is_none();
        says_nothing || (self.is("object") && self.is("string"))
    }

    /// The only texts that may be here, if it is so.
    pub(super) fn choices(self) -> Option<Vec<&'s str>> {
        if let Some(Value::Array(texts)) = self.get("enum") {
            return texts.iter().map(Value::as_str).collect();
        }
        let choices = self.get("oneOf")?.as_array()?;
        let each = choices.iter().map(|choice| {
            let several = choice.get("enum").and_then(Value::as_array);
            let several = several.map(|texts| texts.iter().filter_map(Value::as_str).collect());
            several.or_else(|| Some(vec![choice.get("const")?.as_str()?]))
        });
        Some(each.collect::<Option<Vec<Vec<_>>>>()?.concat())
    }

    pub(super) fn get(self, name: &str) -> Option<&'s Value> {
        self.schema?.get(name)
    }

    /// What may be here, for a message.
    pub(super) fn noun(self) -> String {
        let such_as = |what: &str| match self.get("examples").and_then(|list| list.get(0)) {
            Some(Value::String(example)) => format!("{what} such as {example}"),
            Some(example) => format!("{what} such as {}", in_flow(example)),
            None => what.to_owned(),
        };
        if let Some(choices) = self.choices() {
            return super::names::one_of(&choices);
        }
        if self.is("object") {
            return such_as("a mapping");
        }
        if self.is("array") {
            return "a list".to_owned();
        }
        if self.is("boolean") {
            return "true or false".to_owned();
        }
        if self.is("integer") {
            let bound = |name| self.get(name).filter(|bound| bound.is_number());
            return match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                (Some(least), None) => format!("a whole number from {least}"),
                (None, _) => "a whole number".to_owned(),
            };
        }
        if self.is("string") {
            return such_as("a string");
        }
        "null".to_owned()
    }
}

/// A value as it is written in YAML, on one line.
fn in_flow(value: &Value) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Value::Object(members) => {
            let members = members.iter();
            let each = members.map(|(name, value)| format!("{name}: {}", in_flow(value)));
            format!("{{{}}}", joined(each.collect()))
        }
        Value::Array(items) => format!("[{}]", joined(items.iter().map(in_flow).collect())),
        Value::String(text) if !text.contains("://") => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
