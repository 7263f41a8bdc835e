//! Keys files of which the shape or the values are wrong, and keys that are there twice.
//!
//! All that the schema says comes at once, else all the rest, and nothing that only follows from
//! something else.

use serde_json::Value;

use super::*;
use crate::yaml::tests::spoiling::spoiled;

fn lines(dir: &tempfile::TempDir) -> Vec<String> {
    let told = loaded(dir.path(), "").unwrap_err();
    told.lines().map(str::to_owned).collect()
}

#[test]
fn all_that_the_schema_says_of_all_files_comes_at_once() {
    let a = keys(&["k0", "k1", "k2", "k3"])
        .replace(
            "{org: k2}",
            "{org: k2}\n    expire_at: 2027-01-01T00:00:00Z",
        )
        .replace(&digest("k1"), "blake3:00")
        .replace("id: k3", "id: null");
    let b = format!(
        "keys:\n{}{}  - 7\n{}",
        item("k0", "b0"),
        item("[b1]", "k2"),
        item("k3", "b3").replace(
            "    metadata: {org: k3}\n",
            "    metadata: {org: k3, org: x}\n"
        )
    );
    let dir = in_dir(&[("a.yaml", &a), ("b.yaml", &b), ("c.yaml", "keys: [\n")]);
    assert_lines(
        &dir,
        &[
            "a.yaml:8:17: keys[1].secrets[0].digest: a digest has 64 hex digits",
            "a.yaml:14:5: keys[2].expire_at: unknown field `expire_at`; did you mean `expires_at`?",
            "a.yaml:15:9: keys[3].id: null says nothing here; give a value, in quotes if it is the word",
            "b.yaml:6:9: keys[1].id: expected a string, found a list",
            "b.yaml:10:5: keys[2]: expected a mapping such as {id: invoices-bot, secrets: [{digest: blake3:…}]}, found a number",
            "b.yaml:14:25: keys[3].metadata.org: repeated member `org`; it is already in line 14; keep one",
            "c.yaml:2:1: ",
        ],
    );
}

#[test]
fn values_and_repetitions_in_all_files_come_at_once() {
    let a = keys(&["k0", "k1", "k2", "k1", "_k"])
        .replace(&digest("k0"), "blake3:00")
        .replace("{org: k2}", "{org: k2}\n    plan: golf");
    let b = format!("keys:\n{}{}", item("k2", "b0"), item("b1", "k2"));
    let dir = in_dir(&[("a.yaml", &a), ("b.yaml", &b), ("c.yaml", "keys: {}\n")]);
    assert_lines(
        &dir,
        &[
            "a.yaml:4:17: keys[0].secrets[0].digest: a digest has 64 hex digits",
            "a.yaml:14:11: keys[2].plan: there is no such plan; the configuration has `gold`, `silver`",
            "a.yaml:15:9: keys[3].id: another key has this id; the first is keys[1] at a.yaml:6; keep one",
            "a.yaml:17:17: keys[3].secrets[0].digest: another key has this digest; the first is keys[1] at a.yaml:6; keep one",
            "a.yaml:19:9: keys[4].id: ",
            "b.yaml:2:9: keys[0].id: another key has this id; the first is keys[2] at a.yaml:10; keep one",
            "b.yaml:8:17: keys[1].secrets[0].digest: another key has this digest; the first is keys[2] at a.yaml:10; keep one",
            "c.yaml:1:7: keys: expected a list, found a mapping",
        ],
    );
}

fn assert_lines(dir: &tempfile::TempDir, want: &[&str]) {
    let lines = lines(dir);
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line}\n{want}");
    }
}

#[test]
fn what_is_made_up_is_not_found_repeated() {
    let text = "keys:\n- {}\n- {}\n- 1\n- 2\n- {id: , secrets: [{}, {digest: []}]}\n- {id: null, secrets: {}}\n- {id: a, id: b, secrets: []}\n- {id: a, secrets: 1}\n";
    for (name, text) in [
        ("k.yaml", text.to_owned()),
        (
            "k.yml",
            format!(
                "{{{}}}",
                text.replace("keys:\n", "\"keys\": [")
                    .replace("\n- ", ", ")
                    .replace("[- ", "[")
                    .replace("}\n", "}]")
            ),
        ),
    ] {
        let dir = in_dir(&[(name, &text)]);
        for line in lines(&dir) {
            let known = [
                "missing member",
                "expected",
                "null says nothing",
                "holds nothing",
                "repeated member",
                "at least one secret",
            ];
            assert!(known.iter().any(|known| line.contains(known)), "{line}");
        }
    }
}

#[test]
fn a_single_value_of_the_wrong_shape_raises_no_alarm_about_anything_else() {
    let first = format!(
        r#"{{"id": "a", "client": "c", "secrets": [{{"digest": "{}", "not_before": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z"}}, {{"digest": "{}"}}],
        "enabled": true, "revoked_at": null, "not_before": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z", "plan": "gold",
        "scopes": ["x", "y"], "allow_ips": ["10.0.0.0/8", "::1"], "allow_hosts": ["h"], "allow_paths": ["/"], "allow_methods": ["GET", "PUT"],
        "limits": [], "metadata": {{"org": "o"}}}}"#,
        digest("a"),
        digest("b")
    );
    let second = first
        .replace("\"a\"", "\"b\"")
        .replace(&digest("a"), &digest("c"))
        .replace(&digest("b"), &digest("d"));
    let whole: Value = serde_json::from_str(&format!("{{\"keys\": [{first}, {second}]}}")).unwrap();
    let mut seen = 0;
    for spoiled in std::iter::once(whole.clone()).chain(spoiled(&whole)) {
        let dir = in_dir(&[("k.json", &spoiled.to_string())]);
        let Err(told) = loaded(dir.path(), "") else {
            continue;
        };
        seen += 1;
        for line in told.lines() {
            let known = [
                "unknown field",
                "missing member",
                ": expected ",
                "limits: not supported yet",
            ];
            assert!(
                known.iter().any(|known| line.contains(known)),
                "{line}\n{spoiled}"
            );
        }
    }
    assert!(seen > 80, "{seen}");
}
