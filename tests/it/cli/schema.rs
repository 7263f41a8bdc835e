//! The schemas for editors: they describe what the files may contain and refuse the rest.

use serde_json::Value;

use super::Workdir;

fn schema(of: &str) -> Value {
    serde_json::from_str(&Workdir::empty().run(&["schema", of]).data()).unwrap()
}

#[test]
fn the_examples_that_operators_copy_fit_the_schemas() {
    let validator = |of: &str| jsonschema::validator_for(&schema(of)).unwrap();
    let (config, keys) = (validator("config"), validator("keys"));
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
        let value: Value = serde_yaml::from_str(&text).unwrap();
        let schema = if value.get("keys").is_some() {
            seen.1 += 1;
            &keys
        } else if value.get("source").is_some() {
            seen.0 += 1;
            &config
        } else {
            continue;
        };
        let misfits: Vec<_> = schema
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(misfits.is_empty(), "{text}: {misfits:#?}");
    }
    assert!(
        seen.0 >= 2 && seen.1 >= 1,
        "the examples are found: {seen:?}"
    );
}

#[test]
fn schemas_say_what_they_are_and_every_member_is_described() {
    for of in ["config", "keys"] {
        let root = schema(of);
        assert_eq!(
            root["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(root["$id"], format!("urn:keyward:schema:{of}"));
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
