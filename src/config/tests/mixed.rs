//! Configurations of which the shape and the values are wrong.
//!
//! All that the schema can say of them comes at once, and nothing that only follows from something
//! else. What only the checks can say (names that are there twice) comes once the shape is right.

use serde_json::Value;

use super::*;
use crate::yaml::tests::spoiling::spoiled;

/// Name, text, and lines.
const CASES: &[(&str, &str, &[&str])] = &[
    (
        "wrong names, types and values together",
        "default: maybe\nservr: {}\nrealm: 'a\"b'\nrules:\n- {name: a, allow: anyone}\n- {name: a, allow: nobody, hosts: [x]}\ncache: {capacity: 0, ttl: 1}\n",
        &[
            "etc/keyward.yaml:1:10: default: not an allowed value; expected one of `require-key`, `allow-anyone`, `deny`",
            "etc/keyward.yaml:2:1: servr: unknown field `servr`; did you mean `server`?",
            "etc/keyward.yaml:3:8: realm: a character that could break out of the challenge; visible ASCII and spaces without `\"` and `\\` may stand in a realm",
            "etc/keyward.yaml:6:28: rules[1].hosts: unknown field `hosts`; expected one of `name`, `match`, `allow`, `require`, `mcp`, `cost`",
            "etc/keyward.yaml:7:19: cache.capacity: out of range; expected a whole number from 1",
            "etc/keyward.yaml:7:27: cache.ttl: not a duration; write a whole number and ms, s, m, h or d, such as 250ms or 30d",
        ],
    ),
    (
        "list elements keep their numbers after one that is left out",
        "credentials: [7, {header: x-a}, {header: X_A}, {query: a=b}]\nrules: [{allow: nobody}, {name: b, allow: nobody, match: {paths: [[], b]}}, {allow: nobody}]\n",
        &[
            "etc/keyward.yaml:1:15: credentials[0]: expected a mapping such as {header: x-api-key}, found a number",
            "etc/keyward.yaml:1:56: credentials[3].query: not a query parameter's name; write it as it stands in a URL, such as api_key",
            "etc/keyward.yaml:2:9: rules[0]: missing member `name`",
            "etc/keyward.yaml:2:67: rules[1].match.paths[0]: expected a string, found a list",
            "etc/keyward.yaml:2:71: rules[1].match.paths[1]: a path pattern begins with `/`",
            "etc/keyward.yaml:2:77: rules[2]: missing member `name`",
        ],
    ),
    (
        "what is left out is not found absent, and nothing is compared with it",
        "source: {fil: {path: x}}\nrules: [{name: a, requires: {}}, {name: b, allow: {}}]\nserver: {drain: 30, deadline: 4s, grpc: {address: []}, admin: {address: 127.0.0.1:9191}}\ncredentials: [{hedaer: x-a}, {header: x-b, shceme: B}, {header: x-b}]\ndigest: {pepper_file: [], accept: [blake3-keyed]}\nidentity: {headers: {x-b: key.id}}\n",
        &[
            "etc/keyward.yaml:1:10: source.fil: unknown field `fil`; did you mean `file`?",
            "etc/keyward.yaml:2:19: rules[0].requires: unknown field `requires`; did you mean `require`?",
            "etc/keyward.yaml:2:51: rules[1].allow: expected one of `anyone`, `nobody`, found a mapping",
            "etc/keyward.yaml:3:17: server.drain: not a duration; write a whole number and ms, s, m, h or d, such as 250ms or 30d",
            "etc/keyward.yaml:3:51: server.grpc.address: expected a string, found a list",
            "etc/keyward.yaml:4:16: credentials[0].hedaer: unknown field `hedaer`; did you mean `header`?",
            "etc/keyward.yaml:4:44: credentials[1].shceme: unknown field `shceme`; did you mean `scheme`?",
            "etc/keyward.yaml:5:23: digest.pepper_file: expected a string, found a list",
        ],
    ),
    (
        "names that are not set, repeated members, and what else is wrong",
        "realm: \"${NOPE}\"\nmode: enforce\nmode: observe\nrules: [{name: \"${NOPE}\", allow: nobody}, {name: \"${NOPE}\", allow: nobody}, {name: '', allow: nobody}]\n",
        &[
            "etc/keyward.yaml:1:8: realm: environment variable `NOPE` is not set; set it, or write ${NAME:-default}",
            "etc/keyward.yaml:3:1: mode: repeated member `mode`; it is already in line 2; keep one",
            "etc/keyward.yaml:4:16: rules[0].name: environment variable `NOPE` is not set; set it, or write ${NAME:-default}",
            "etc/keyward.yaml:4:50: rules[1].name: environment variable `NOPE` is not set; set it, or write ${NAME:-default}",
            "etc/keyward.yaml:4:84: rules[2].name: a rule's name has 1 to 128 bytes and no control characters",
        ],
    ),
    (
        "a string that must say something says more than null",
        "realm:\nsource: {file: {path: ~}}\nrules: [{name: null, allow: nobody}, {name: 'null', allow: nobody}]\nserver: {grpc: {address: }}\n",
        &[
            "etc/keyward.yaml:1:7: realm: null says nothing here; give a value, in quotes if it is the word",
            "etc/keyward.yaml:2:23: source.file.path: null says nothing here; give a value, in quotes if it is the word",
            "etc/keyward.yaml:3:16: rules[0].name: null says nothing here; give a value, in quotes if it is the word",
            "etc/keyward.yaml:4:26: server.grpc.address: null says nothing here; give a value, in quotes if it is the word",
        ],
    ),
    (
        "both parts of a credential",
        "credentials: [{header: x a, scheme: a b}]",
        &[
            "etc/keyward.yaml:1:24: credentials[0].header: not a header's name; a header name is an RFC 9110 token, such as x-api-key",
            "etc/keyward.yaml:1:37: credentials[0].scheme: not an authentication scheme; write one word, such as Bearer",
        ],
    ),
];

#[test]
fn all_that_the_schema_says_comes_at_once_and_nothing_that_follows_from_another_problem() {
    let told = |text| load(text).unwrap_err().to_string();
    let wrong: Vec<_> = CASES
        .iter()
        .filter(|(_, text, want)| !told(text).lines().eq(want.iter().copied()))
        .map(|(name, text, want)| format!("{name}\n{}\nnot\n{}\n", told(text), want.join("\n")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_single_value_of_the_wrong_shape_raises_no_alarm_about_anything_else() {
    let text = WHOLE.replace("drain: 10s", "drain: 30s");
    let whole: Value = serde_yaml::from_str(&text).unwrap();
    assert!(load(&whole.to_string()).is_ok());
    let mut seen = 0;
    for spoiled in spoiled(&whole) {
        let Err(problems) = load(&spoiled.to_string()) else {
            continue;
        };
        seen += 1;
        for problem in &problems {
            // Limits that are there are not supported, whatever their shape.
            let starts = [
                "unknown field",
                "missing member",
                "expected ",
                "not supported",
            ];
            let is_its_own = starts
                .iter()
                .any(|start| problem.message.starts_with(start));
            assert!(is_its_own, "{problem}\n{spoiled}");
        }
    }
    assert!(seen > 100, "{seen}");
}
