//! Validates a tree against the schema of its document: everything that the schema can say, at
//! once.
//!
//! The walk notes each problem at its field, and returns the document as a JSON value in which each
//! scalar has the type that the schema asks for. No value is made up: if something is broken, the
//! returned value is not used.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::checker::FieldPath;
use super::names::{nearest, one_of};
use super::problem::{Position, YamlPath, is_showable};
use super::scalar::Scalar;
use super::shape::{Expected, Shape};
use super::tree::{Content, MERGE_KEY, Member, Node, ScalarText, Tree};
use crate::secret_format::may_hold_secret;

mod condition;

/// The problem of a number whose text is not kept, and what would be right.
const CHANGED: (&str, &str) = (
    "a number that would not arrive as written",
    "quote it, as in \"1.10\"",
);

/// A walk over one tree.
pub(super) struct Validator<'w> {
    shape: &'w Shape,
    /// How many more values may be visited: aliases repeat what they name, and a few of them,
    /// nested, would repeat it a billion times.
    budget: Cell<usize>,
    is_broken: Cell<bool>,
    substituted: RefCell<Vec<(YamlPath, String)>>,
}

/// What a walk found out besides problems.
pub(super) struct Validated {
    /// The document; of use only if it is not broken.
    pub(super) value: Value,
    /// Whether it lacks the shape of its type, so that it cannot be checked any further.
    pub(super) is_broken: bool,
    /// The fields whose values came from the environment, and what the file has there.
    pub(super) substituted: Vec<(YamlPath, String)>,
}

/// Validates the tree against the shape, and notes at `top` and below it what is wrong.
pub(super) fn validate(tree: &Tree, shape: &Shape, top: &FieldPath<'_>) -> Validated {
    let validator = Validator {
        shape,
        budget: Cell::new(tree.count.saturating_mul(64).saturating_add(4096)),
        is_broken: Cell::new(false),
        substituted: RefCell::default(),
    };
    let value = validator.value(&tree.root, shape.top(), top);
    Validated {
        value,
        is_broken: validator.is_broken.get(),
        substituted: validator.substituted.into_inner(),
    }
}

impl Validator<'_> {
    /// The value of a node, of which the schema says what it may be.
    fn value(&self, node: &Node, schema: &Value, at: &FieldPath<'_>) -> Value {
        if !self.visit(at) {
            return Value::Null;
        }
        let expected = self.shape.expected(schema);
        match &node.content {
            Content::Unset(invalid) => self.broken(at, &invalid.to_string(), invalid.help()),
            Content::Inexact if expected.is("object") && !expected.is_free() => {
                self.mismatch(node, expected, at)
            }
            Content::Inexact => self.broken(at, CHANGED.0, CHANGED.1),
            Content::Scalar(scalar) => self.scalar(node, scalar, expected, at),
            Content::List(items) if expected.is_free() || expected.is("array") => {
                self.list(items, expected, at)
            }
            Content::Mapping(members) if expected.is_free() || expected.is("object") => {
                self.mapping(members, expected, at)
            }
            Content::List(_) | Content::Mapping(_) => self.mismatch(node, expected, at),
        }
    }

    /// Whether one more value may be visited.
    fn visit(&self, at: &FieldPath<'_>) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        if left == 1 {
            at.problem("aliases repeat too much");
            self.is_broken.set(true);
        }
        left > 1
    }

    fn scalar(
        &self,
        node: &Node,
        scalar: &ScalarText,
        expected: Expected<'_>,
        at: &FieldPath<'_>,
    ) -> Value {
        if let Some(written) = &scalar.written {
            let mut substituted = self.substituted.borrow_mut();
            substituted.push((at.path(), written.clone()));
        }
        let read = Scalar::read(&scalar.text, scalar.plain);
        let is_text = expected.is("string") || expected.choices().is_some();
        if read == Scalar::Null && expected.nullable {
            return Value::Null;
        }
        if expected.is_free() {
            return self.free(read, &scalar.text, at);
        }
        if read == Scalar::Null && is_text {
            let help = if expected.is("string") {
                "give a value, in quotes if it is the word"
            } else {
                "give a value, or leave the member out"
            };
            return self.broken(at, "null says nothing here", help);
        }
        if is_text {
            return self.text(&scalar.text, expected, at);
        }
        // Within brackets a reference to the environment is in quotes, and may be a number.
        let read = Scalar::read(&scalar.text, scalar.plain || scalar.written.is_some());
        match read {
            Scalar::Bool(value) if expected.is("boolean") => value.into(),
            Scalar::Integer(number) if expected.is("integer") => {
                let value = Value::Number(number);
                if !Self::is_in_range(&value, expected) {
                    let help = format!("expected {}", expected.noun());
                    at.problem_with_help("out of range", help);
                }
                value
            }
            Scalar::Null
            | Scalar::Bool(_)
            | Scalar::Integer(_)
            | Scalar::Float(_)
            | Scalar::Text(_) => self.mismatch(node, expected, at),
        }
    }

    /// A scalar where any may be: numbers as they are written, or not at all.
    fn free(&self, read: Scalar<'_>, text: &str, at: &FieldPath<'_>) -> Value {
        match read {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Integer(number) if number.to_string() == text => number.into(),
            Scalar::Float(value) if !value.is_finite() => {
                self.broken(at, "not a number that JSON has", "quote it")
            }
            Scalar::Integer(_) | Scalar::Float(_) => self.broken(at, CHANGED.0, CHANGED.1),
            Scalar::Text(text) => text.into(),
        }
    }

    /// A text. Any scalar is one where one is asked for, so that `id: 42` needs no quotes.
    fn text(&self, text: &str, expected: Expected<'_>, at: &FieldPath<'_>) -> Value {
        if let Some(choices) = expected.choices() {
            if !choices.contains(&text) {
                let help = nearest(text, &choices);
                let help = help.unwrap_or_else(|| format!("expected {}", one_of(&choices)));
                at.problem_with_help("not an allowed value", help);
            }
        } else if let Some(schema) = expected.schema {
            let before = at.problems_so_far();
            self.shape.check(schema, text, at);
            let is_long_enough = condition::has_length(text.chars().count(), expected, "Length");
            if at.problems_so_far() == before && !is_long_enough {
                at.problem_with_help(
                    "the text is too short or too long",
                    "expected more or less of it",
                );
            }
        }
        text.into()
    }

    fn list(&self, items: &[Arc<Node>], expected: Expected<'_>, at: &FieldPath<'_>) -> Value {
        let schema = expected.get("items").unwrap_or(&Value::Bool(true));
        let items = items.iter().enumerate();
        let values: Vec<Value> = items
            .map(|(index, item)| self.value(item, schema, &at.index(index)))
            .collect();
        if !condition::has_length(values.len(), expected, "Items") {
            match (
                expected.get("errorMessage").and_then(Value::as_str),
                values.is_empty(),
            ) {
                (Some(message), _) => at.problem(message),
                (None, true) => at.problem_with_help("the list is empty", "name one or more"),
                (None, false) => at.problem("the list is too long"),
            }
        }
        Value::Array(values)
    }

    fn mapping(&self, members: &[Member], expected: Expected<'_>, at: &FieldPath<'_>) -> Value {
        let before = at.problems_so_far();
        let nothing = Map::new();
        let properties = expected.get("properties").and_then(Value::as_object);
        let properties = properties.unwrap_or(&nothing);
        let others = match expected.get("additionalProperties") {
            None => Some(&Value::Bool(true)),
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(schema),
        };
        let mut values = Map::new();
        let mut seen: HashMap<&str, Option<Position>> = HashMap::new();
        for member in members {
            let name = member.name.as_str();
            let field = at.field(name);
            if name == MERGE_KEY {
                self.refuse_merge(member.position, at);
                continue;
            }
            if let Some(first) = seen.get(name) {
                self.refuse_repeated(member, *first, &field);
                continue;
            }
            seen.insert(name, member.position);
            let Some(schema) = properties.get(name).or(others) else {
                self.refuse_unknown(name, properties, &field.name());
                continue;
            };
            if let Some(names) = expected.get("propertyNames").and_then(Value::as_object) {
                self.shape.check(names, name, &field.name());
            }
            values.insert(name.to_owned(), self.value(&member.value, schema, &field));
        }
        self.refuse_missing(&seen, members, expected, at);
        if at.problems_so_far() == before {
            Self::check_combinations(&values, expected, at);
        }
        Value::Object(values)
    }

    /// YAML 1.2 has no merge keys: who writes one means its members, which are not there.
    fn refuse_merge(&self, position: Option<Position>, at: &FieldPath<'_>) {
        self.is_broken.set(true);
        let help = "write the members out; an alias (`*name`) may stand for a whole value";
        at.problem_at(position, "merge keys (`<<`) are not supported", help);
    }

    fn refuse_repeated(&self, member: &Member, first: Option<Position>, at: &FieldPath<'_>) {
        self.is_broken.set(true);
        let message = if is_showable(&member.name) {
            format!("repeated member `{}`", member.name)
        } else {
            "a repeated member".to_owned()
        };
        at.repeated(member.position, first, message);
    }

    fn refuse_unknown(&self, name: &str, properties: &Map<String, Value>, at: &FieldPath<'_>) {
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        let meant = nearest(name, &known).filter(|_| !may_hold_secret(name));
        // A name that is no typo may be anything, and even a secret.
        let message = if meant.is_some() || is_showable(name) {
            format!("unknown field `{}`", name.escape_debug())
        } else {
            "an unknown field".to_owned()
        };
        let help = meant.unwrap_or_else(|| format!("expected {}", one_of(&known)));
        self.broken(at, &message, &help);
    }

    fn refuse_missing(
        &self,
        seen: &HashMap<&str, Option<Position>>,
        members: &[Member],
        expected: Expected<'_>,
        at: &FieldPath<'_>,
    ) {
        // A merge key was to bring it.
        if members.iter().any(|member| member.name == MERGE_KEY) {
            return;
        }
        let required = expected.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !seen.contains_key(name) {
                self.is_broken.set(true);
                at.problem(format!("missing member `{name}`"));
            }
        }
    }

    /// Notes which combinations of members are wrong, where each of them is right.
    fn check_combinations(values: &Map<String, Value>, expected: Expected<'_>, at: &FieldPath<'_>) {
        let rules = expected.get("allOf").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let Some(message) = rule.get("errorMessage").and_then(Value::as_str) else {
                continue;
            };
            if !condition::holds(values, rule) {
                match rule.pointer("/if/required/0").and_then(Value::as_str) {
                    // It is this member that wants another.
                    Some(member) => at.field(member).problem(message),
                    None => at.problem(message),
                }
            }
        }
    }

    fn is_in_range(value: &Value, expected: Expected<'_>) -> bool {
        condition::is_at_least(value, expected.get("minimum"))
            && expected
                .get("maximum")
                .is_none_or(|most| condition::is_at_least(most, Some(value)))
    }

    /// Notes that a value of another type is here.
    fn mismatch(&self, node: &Node, expected: Expected<'_>, at: &FieldPath<'_>) -> Value {
        let found = match &node.content {
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Inexact => "a number",
            Content::Unset(_) => "nothing",
            Content::Scalar(scalar) => {
                let read = Scalar::read(&scalar.text, scalar.plain);
                let is_structure = expected.is("object") || expected.is("array");
                let (empty, kind) = if expected.is("array") {
                    ("[]", "list")
                } else {
                    ("{}", "mapping")
                };
                if read == Scalar::Null && is_structure {
                    let (message, help) = if scalar.text.is_empty() {
                        // What was to be here may be lost, so it is neither empty nor left out.
                        let help = if condition::has_length(0, expected, "Items") {
                            format!("write {empty} for an empty {kind}")
                        } else {
                            "give a value, or leave the member out".to_owned()
                        };
                        ("holds nothing", help)
                    } else {
                        let help = "give a value, or leave the member out".to_owned();
                        ("null says nothing here", help)
                    };
                    return self.broken(at, message, &help);
                }
                read.noun()
            }
        };
        self.is_broken.set(true);
        let message = expected.get("errorMessage").and_then(Value::as_str);
        match message.filter(|_| expected.is("null")) {
            Some(message) => at.problem(message),
            None => at.problem(format!("expected {}, found {found}", expected.noun())),
        }
        Value::Null
    }

    /// Notes what keeps the document from having its shape.
    fn broken(&self, at: &FieldPath<'_>, message: &str, help: &str) -> Value {
        self.is_broken.set(true);
        at.problem_with_help(message, help);
        Value::Null
    }
}
