//! The schemas are for editors: they name what the files may hold and refuse what they may not.

use serde_json::Value;
use serde_yaml::Value as Yaml;

use super::Desk;

fn schema(of: &str) -> Value {
    serde_json::from_str(&Desk::empty().run(&["schema", of]).data()).unwrap()
}

/// The schemas that `schema` may stand for, references followed.
fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        return alternatives(root, target.expect("a reference that leads somewhere"));
    }
    let lists = ["anyOf", "oneOf", "allOf"].map(|name| schema[name].as_array());
    let within: Vec<_> = lists
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|inner| alternatives(root, inner))
        .collect();
    if within.is_empty() {
        vec![schema]
    } else {
        within
    }
}

/// Members of `value` that the schema has no name for, as paths.
fn unknown(root: &Value, schema: &Value, value: &Yaml, at: &str) -> Vec<String> {
    let alternatives = alternatives(root, schema);
    match value {
        Yaml::Mapping(members) => {
            let told = |(name, inner): (&Yaml, &Yaml)| {
                let name = name.as_str().unwrap();
                let path = format!("{at}.{name}");
                let known = alternatives
                    .iter()
                    .filter_map(|schema| schema["properties"].get(name));
                let free = alternatives
                    .iter()
                    .filter_map(|schema| schema.get("additionalProperties"))
                    .filter(|free| **free != Value::Bool(false));
                let places: Vec<_> = known.chain(free).collect();
                if places.is_empty() {
                    return vec![path];
                }
                let each = places
                    .iter()
                    .map(|schema| unknown(root, schema, inner, &path));
                each.min_by_key(Vec::len).unwrap()
            };
            members.iter().flat_map(told).collect()
        }
        Yaml::Sequence(items) => {
            let told = |(index, inner): (usize, &Yaml)| {
                let lists = alternatives.iter().filter_map(|schema| schema.get("items"));
                let each =
                    lists.map(|items| unknown(root, items, inner, &format!("{at}[{index}]")));
                each.min_by_key(Vec::len)
                    .unwrap_or_else(|| vec![format!("{at} is no list")])
            };
            items.iter().enumerate().flat_map(told).collect()
        }
        Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_) | Yaml::Tagged(_) => {
            Vec::new()
        }
    }
}

#[test]
fn the_examples_that_operators_copy_fit_the_schemas() {
    let (config, keys) = (schema("config"), schema("keys"));
    let read = |path: &str| {
        let whole = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(whole).unwrap()
    };
    let documents = ["configuration", "envoy", "keys", "sources"];
    let blocks = documents.iter().flat_map(|name| {
        let text = read(&format!("docs/{name}.md"));
        let blocks = text.split("```yaml\n").skip(1);
        let block = |rest: &str| rest.split("```").next().unwrap().to_owned();
        blocks.map(block).collect::<Vec<_>>()
    });
    let mut seen = (0, 0);
    for text in blocks.chain([read("deploy/local/keyward.yaml")]) {
        let value: Yaml = serde_yaml::from_str(&text).unwrap();
        let schema = if value.get("keys").is_some() {
            seen.1 += 1;
            &keys
        } else if value.get("source").is_some() {
            seen.0 += 1;
            &config
        } else {
            continue;
        };
        assert_eq!(
            unknown(schema, schema, &value, ""),
            Vec::<String>::new(),
            "{text}"
        );
    }
    assert!(
        seen.0 >= 2 && seen.1 >= 1,
        "the examples are found: {seen:?}"
    );
}

#[test]
fn unknown_members_do_not_fit_at_any_depth() {
    let (config, keys) = (schema("config"), schema("keys"));
    for (schema, text, path) in [
        (&config, "rulez: []", ".rulez"),
        (
            &config,
            "server: {grpc: {adress: a}}",
            ".server.grpc.adress",
        ),
        (
            &config,
            "server: {grpc: {tls: {ca: a}}}",
            ".server.grpc.tls.ca",
        ),
        (
            &config,
            "rules: [{name: a, match: {path: [/a]}}]",
            ".rules[0].match.path",
        ),
        (&config, "plans: {gold: {scope: [a]}}", ".plans.gold.scope"),
        (&keys, "keys: [{id: a, secret: b}]", ".keys[0].secret"),
        (
            &keys,
            "keys: [{secrets: [{expires: b}]}]",
            ".keys[0].secrets[0].expires",
        ),
    ] {
        let value: Yaml = serde_yaml::from_str(text).unwrap();
        assert_eq!(unknown(schema, schema, &value, ""), [path], "{text}");
    }
}

#[test]
fn schemas_say_what_they_are_and_every_member_is_described() {
    for of in ["config", "keys"] {
        let root = schema(of);
        assert_eq!(
            root["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert!(
            root["title"]
                .as_str()
                .is_some_and(|title| title.contains("keyward"))
        );
        let definitions = root["$defs"].as_object().unwrap();
        for (name, definition) in definitions.iter().chain([(&of.to_owned(), &root)]) {
            let Some(members) = definition["properties"].as_object() else {
                continue;
            };
            for (member, described) in members {
                let text = described["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{name}.{member} has no description");
            }
        }
    }
}
