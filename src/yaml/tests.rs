//! What an operator reads about an invalid file, and that a valid one comes out unchanged.

use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::*;
use crate::units::{DurationSpec, TimeSpec};
use problems::CASES;

mod agreement;
mod problems;
pub(crate) mod spoiling;

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileSpec {
    #[serde(default, deserialize_with = "mapping")]
    server: ServerSpec,
    #[serde(default, deserialize_with = "mappings")]
    keys: Vec<KeySpec>,
    #[serde(default, deserialize_with = "plans")]
    plans: Members<PlanSpec>,
}

#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ServerSpec {
    port: u16,
    drain: Option<DurationSpec>,
    mode: Mode,
    #[serde(deserialize_with = "optional")]
    tls: Option<TlsSpec>,
    level: i64,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TlsSpec {
    #[serde(deserialize_with = "text")]
    cert_file: String,
    #[serde(deserialize_with = "text")]
    key_file: String,
}

#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    RequireKey,
    AllowAnyone,
    Deny,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "mappings")]
    secrets: Vec<SecretSpec>,
    #[serde(default = "enabled")]
    enabled: bool,
    #[serde(default, deserialize_with = "given_texts")]
    #[schemars(with = "Vec<String>")]
    allow_hosts: Option<Vec<String>>,
    #[serde(default)]
    expires_at: Option<TimeSpec>,
    #[serde(default)]
    metadata: Members<Free>,
}

fn enabled() -> bool {
    true
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretSpec {
    #[serde(deserialize_with = "text")]
    digest: String,
    until: TimeSpec,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlanSpec {
    #[serde(default, deserialize_with = "texts")]
    scopes: Vec<String>,
}

impl Document for FileSpec {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| Shape::new(&schemars::schema_for!(FileSpec), &[]))
    }
}

fn mapping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServerSpec, D::Error> {
    Mapping::deserialize(deserializer).map(|Mapping(spec)| spec)
}

fn plans<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Members<PlanSpec>, D::Error> {
    let plans: Members<Mapping<PlanSpec>> = Members::deserialize(deserializer)?;
    let each = plans.into_iter().map(|(name, Mapping(plan))| (name, plan));
    Ok(each.collect())
}

fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TlsSpec>, D::Error> {
    let spec: Option<Mapping<TlsSpec>> = Option::deserialize(deserializer)?;
    Ok(spec.map(|Mapping(spec)| spec))
}

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "WORD" => Some("hunter2".to_owned()),
        _ => None,
    }
}

/// The text as a `T`, its values unchecked.
pub(crate) fn read_as<T: Document>(text: &str) -> Result<T, Problems> {
    convert(Path::new("f.yaml"), text, |spec, _: &FieldPath<'_>| {
        Some(spec)
    })
}

/// The formats that the schema names and that have no check.
pub(crate) fn unknown_formats(shape: &Shape) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut waiting = vec![&shape.schema];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                let format = members.get("format").and_then(Value::as_str);
                let is_text = members.contains_key("pattern");
                if let Some(format) = format
                    && is_text
                    && !shape.formats.contains_key(format)
                {
                    unknown.push(format.to_owned());
                }
                waiting.extend(members.values());
            }
            Value::Array(list) => waiting.extend(list),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    unknown
}

fn parse(text: &str) -> Result<FileSpec, Problems> {
    read_as(text)
}

fn parse_with_env(text: &str) -> Result<Converted<FileSpec>, Problems> {
    let whole = |spec, _: &FieldPath<'_>| Some(spec);
    convert_with_env(Path::new("f.yaml"), text, &env, whole)
}

/// Reads the text by way of the tree.
fn read_slowly(text: &str) -> Result<FileSpec, Problems> {
    let nothing = |_: &str| None;
    let whole = |spec, _: &FieldPath<'_>| Some(spec);
    Ok(convert_with_env(Path::new("f.yaml"), text, &nothing, whole)?.value)
}

fn lines(text: &str) -> Vec<String> {
    match parse_with_env(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn each_problem_is_told_with_its_place_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for (name, text, want) in CASES {
        let windows = text.replace('\n', "\r\n");
        for (text, ends) in [(*text, "LF"), (&*windows, "CRLF")] {
            let lines = lines(text);
            if &lines != want {
                wrong.push(format!("{name}, with {ends}: {lines:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_value_from_the_environment_may_become_a_number_and_shows_where_it_came_from() {
    let text = "server: {port: \"${PORT}\", level: \"-1\"}\n";
    assert_eq!(
        lines(text),
        ["f.yaml:1:34: server.level: expected a whole number, found a string"],
        "quoted text is a string"
    );
    assert_eq!(
        lines("server: {port: ${PORT}}\n"),
        [
            "f.yaml:1:17: a mapping in brackets neither ends here nor goes on with a comma; within brackets put ${NAME} in quotes"
        ]
    );
    assert_eq!(
        lines("server:\n  tls: ${EMPTY:-}\n"),
        ["f.yaml:2:8: server.tls: expected a mapping, found a string"]
    );
    let text = "server:\n  port: ${PORT}\n  level: \"${LEVEL:--3}\"\nplans: {a: &a {scopes: [\"${WORD}\", x]}, b: *a}\n";
    let document = parse_with_env(text).unwrap();
    assert_eq!(document.value.server.port, 8080);
    assert_eq!(document.value.server.level, -3);
    assert_eq!(
        document.value.plans.get("b").unwrap().scopes,
        ["hunter2", "x"]
    );
    let mut substituted: Vec<_> = document
        .substituted
        .into_iter()
        .map(|(path, text)| format!("{path} = {text}"))
        .collect();
    substituted.sort();
    assert_eq!(
        substituted,
        [
            "plans.a.scopes[0] = ${WORD}",
            "plans.b.scopes[0] = ${WORD}",
            "server.level = ${LEVEL:--3}",
            "server.port = ${PORT}",
        ]
    );
}

#[test]
fn both_ways_of_reading_give_the_same() {
    let text = "\u{feff}server: {port: 0x10, tls: ~, drain: }\r\nkeys:\r\n- id: 42\r\n  secrets: [{digest: 'x', until: 2026-11-01T00:00:00Z}]\r\n  metadata: {a: 1, b: -2, c: '1.5', d: [yes, true, null], e: '7', f: !!str 8, g: 0123}\r\nplans: {}\r\n";
    let fast = parse(text).unwrap();
    let slow = read_slowly(text).unwrap();
    assert_eq!(fast, slow);
    assert_eq!(fast.keys[0].id, "42");
    let json = serde_json::to_string(&fast.keys[0].metadata).unwrap();
    assert_eq!(
        json,
        r#"{"a":1,"b":-2,"c":"1.5","d":["yes",true,null],"e":"7","f":"8","g":"0123"}"#
    );
    assert!(parse("{\"keys\": [], \"plans\": {\"a\": {}}}").is_ok());
}

#[test]
fn no_problem_repeats_a_value_of_the_file() {
    let canary = "kw_canary_5f3a";
    for text in [
        "server: {port: C, drain: C, mode: C, tls: C, level: C}\nkeys: C\nplans: {a: C}\n",
        "keys:\n- id: [C]\n  enabled: C\n  allow_hosts: C\n  expires_at: C\n  metadata: C\n  secrets: [C, {digest: [C], until: C}]\n",
        "keys: [C\n",
        "- C: C\n  C\n",
        "keys: \"C\n",
        "keys: *C\n",
        "keys: &C [*C]\n",
        "keys: !C C\n",
        "server: \"${C\"\n",
        "C",
    ] {
        let problems = lines(&text.replace('C', canary));
        assert!(!problems.is_empty(), "{text}");
        for problem in problems {
            assert!(!problem.contains(canary), "{text}: {problem}");
        }
    }
}

#[test]
fn no_problem_repeats_a_name_that_may_be_a_secret() {
    for canary in [
        "kw_canary_5f3a",
        "sk_live_canary_0123456789",
        "canary with space",
        "Canary+/==",
        "server_kw_canary",
    ] {
        for text in [
            "\"C\": 1\n",
            "server: {\"C\": 1}\nkeys: [{\"C\": 1}]\n",
            "server: {\"C\": 1, \"C\": 2}\n",
            "\"C\": {a: 1, a: 2, b: \"${NOPE}\"}\n",
            "plans: {\"C\": {x: 1}, \"C\": {}}\n",
            "keys: [{metadata: {\"C\": {a: 1, a: 2}, \"C\": 1}}]\n",
        ] {
            let problems = lines(&text.replace('C', canary));
            assert!(!problems.is_empty(), "{text}");
            for problem in problems {
                assert!(!problem.contains("anary"), "{text}: {problem}");
                assert!(problem.starts_with("f.yaml:"), "{text}: {problem}");
            }
        }
    }
    assert_eq!(
        lines("kw_canary: 1\n\"server \": {}\n"),
        [
            "f.yaml:1:1: […]: an unknown field; expected one of `server`, `keys`, `plans`",
            "f.yaml:2:1: […]: unknown field `server `; did you mean `server`?",
        ]
    );
}

#[test]
fn what_would_exhaust_memory_or_stack_is_refused() {
    let mut bomb = "plans:\n  a0: &a0 {scopes: [x, x, x, x, x, x, x, x, x, x]}\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(10);
        let _ = writeln!(bomb, "  a{level}: &a{level} {{scopes: [{inner}]}}");
    }
    assert!(!lines(&bomb).is_empty(), "in a typed place");
    let free = bomb
        .replace("plans:", "keys: [{id: a, secrets: [], metadata: {a:")
        .replace('\n', ",")
        + "}}]";
    assert!(!lines(&free).is_empty(), "in flow");
    let mut bomb =
        "keys:\n- id: a\n  secrets: []\n  metadata:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            .to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(10);
        let _ = writeln!(bomb, "    a{level}: &a{level} [{inner}]");
    }
    let problems = lines(&bomb);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].ends_with("aliases repeat too much"),
        "{problems:?}"
    );

    for deep in [
        format!("keys: {}{}", "[".repeat(50_000), "]".repeat(50_000)),
        format!("keys:\n{}x", "- ".repeat(50_000)),
        format!("plans: {}", "{a: ".repeat(50_000)),
        "keys: ".to_owned() + &"[".repeat(200) + &"]".repeat(200),
    ] {
        assert_eq!(lines(&deep).len(), 1);
    }
}

#[test]
fn many_problems_are_cut_off_and_counted_and_cost_no_more_than_a_few_readings() {
    let good = "- {id: a, secrets: [], metadata: {a: b}}\n".repeat(2000);
    let bad = "- {id: a}\n".repeat(MAX_PROBLEMS + 50);
    let text = format!("keys:\n{good}{bad}");
    let problems = parse(&text).unwrap_err();
    assert_eq!(problems.iter().count(), MAX_PROBLEMS);
    let unknown = format!("keys:\n{}", "- {id: a, secrets: [], x: 1}\n".repeat(150));
    let problems = parse(&unknown).unwrap_err();
    assert_eq!(problems.iter().count(), MAX_PROBLEMS);
    assert!(problems.to_string().ends_with("\nand 50 more"));
}

#[test]
fn bytes_that_are_no_text_are_told_where_they_are() {
    let problems = decode(Path::new("f.yaml"), b"a: b\nc: \xc3\xa9\xff\n".to_vec()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "f.yaml:2:5: not UTF-8 from here on; save the file as UTF-8"
    );
    assert_eq!(decode(Path::new("f.yaml"), b"a".to_vec()).unwrap(), "a");
    let error = read(Path::new("no-such-directory/f.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read no-such-directory/f.yaml");
}

#[test]
fn a_checker_finds_the_lines_of_what_conversions_refuse() {
    let text = "keys:\n- id: a\n- id: b\n  allow_hosts: [x, y]\n  secrets: []\n";
    let text = text.replace("- id: a\n", "- id: a\n  secrets: []\n");
    let source = Source::new(Path::new("f.yaml"), &text);
    let checker = Checker::default();
    let top = checker.top();
    let keys = top.field("keys");
    let before = top.problems_so_far();
    let key = keys.index(1);
    key.field("plan").problem("no such plan");
    key.field("allow_hosts")
        .index(1)
        .problem_with_help("bad host", "write a name");
    assert_eq!(key.field("id").note("x".parse::<SizeSpec>()), None);
    assert_eq!(key.note("1B".parse::<SizeSpec>()), Some(SizeSpec(1)));
    assert_eq!(top.problems_so_far() - before, 3);
    let problems = checker.finish(&source).unwrap_err();
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(
        lines,
        [
            "f.yaml:4:3: keys[1].plan: no such plan",
            "f.yaml:4:7: keys[1].id: not a size; write a whole number and B, KiB, MiB or GiB, such as 64KiB",
            "f.yaml:5:20: keys[1].allow_hosts[1]: bad host; write a name",
        ]
    );
    assert!(Checker::default().finish(&source).is_ok());
}
