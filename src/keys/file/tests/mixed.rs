//! Keys files of which the shape and the values are wrong, and keys that are there twice.
//!
//! All of it is told at once, and nothing that only follows from something else.

use serde_json::Value;

use super::*;
use crate::yaml::tests::spoiling::spoiled;

fn lines(dir: &tempfile::TempDir) -> Vec<String> {
    let told = loaded(dir.path(), "").unwrap_err();
    told.lines().map(str::to_owned).collect()
}

#[test]
fn shapes_values_and_repetitions_in_all_files_come_at_once() {
    let a = keys(&["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k1", "k8"])
        .replace(
            "{org: k3}",
            "{org: k3}\n    expire_at: 2027-01-01T00:00:00Z",
        )
        .replace(&digest("k5"), "blake3:00")
        .replace("{org: k6}", "{org: k6}\n    plan: golf")
        .replace("id: k8", "id: null");
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
    let want = [
        "a.yaml:18:5: keys[3].expire_at: unknown field `expire_at`; did you mean `expires_at`?",
        "a.yaml:25:17: keys[5].secrets[0].digest: a digest has 64 hex digits",
        "a.yaml:31:11: keys[6].plan: there is no such plan; the configuration has `gold`, `silver`",
        "a.yaml:32:9: keys[7].id: another key has this id; the first is keys[1] at a.yaml:6; keep one",
        "a.yaml:34:17: keys[7].secrets[0].digest: another key has this digest; the first is keys[1] at a.yaml:6; keep one",
        "a.yaml:36:9: keys[8].id: null says nothing here; give a value, in quotes if it is the word",
        "b.yaml:2:9: keys[0].id: another key has this id; the first is keys[0] at a.yaml:2; keep one",
        "b.yaml:6:9: keys[1].id: expected a string, found a list",
        "b.yaml:8:17: keys[1].secrets[0].digest: another key has this digest; the first is keys[2] at a.yaml:10; keep one",
        "b.yaml:10:5: keys[2]: expected a mapping such as {id: invoices-bot, secrets: [{digest: blake3:…}]}, found a number",
        "b.yaml:11:9: keys[3].id: another key has this id; the first is keys[3] at a.yaml:14; keep one",
        "b.yaml:14:25: keys[3].metadata.org: repeated member `org`; it is already in line 14; keep one",
        "c.yaml:2:1: ",
    ];
    let lines = lines(&dir);
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
