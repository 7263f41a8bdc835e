//! Files and directories of keys: what is read, what is refused and how, and files cut at every
//! byte.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::super::record::tests::{digest, policy_with_plans};
use super::*;
use crate::authz::key::KeyRecord;

mod apart;
mod mixed;

/// An item of the list: a key of that id, found by the digest of `secret`.
fn item(id: &str, secret: &str) -> String {
    format!(
        "  - id: {id}\n    secrets:\n      - digest: {}\n    metadata: {{org: {id}}}\n",
        digest(secret)
    )
}

fn keys(ids: &[&str]) -> String {
    ids.iter()
        .fold("keys:\n".to_owned(), |text, id| text + &item(id, id))
}

fn in_dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// The ids that are loaded, or what is wrong, without the directory's name.
fn loaded(dir: &Path, name: &str) -> Result<Vec<String>, String> {
    let prefix = format!("{}/", dir.display());
    let map = load(&dir.join(name).into(), &policy_with_plans())
        .map_err(|error| error.to_string().replace(&prefix, ""))?;
    Ok(map.iter().map(|record| record.id.to_string()).collect())
}

/// The records of a text read in chunks of that size, or what is wrong.
fn read_as(text: &str, chunk_bytes: usize) -> Result<Vec<Arc<KeyRecord>>, String> {
    let mut records = parse::Records::default();
    parse::read_records(
        Path::new("k"),
        text,
        Some(&policy_with_plans()),
        chunk_bytes,
        &mut records,
    )
    .map(|()| records.into_parts().0)
    .map_err(|problems| problems.to_string())
}

fn whole(text: &str) -> Result<Vec<Arc<KeyRecord>>, String> {
    read_as(text, usize::MAX)
}

#[test]
fn a_directory_gives_the_keys_of_all_its_files_in_the_order_of_their_names() {
    let json = format!(
        r#"{{"keys":[{{"id":"json","secrets":[{{"digest":"{}"}}]}}]}}"#,
        digest("json")
    );
    let dir = in_dir(&[
        ("b.yml", &keys(&["b"])),
        ("a.yaml", &keys(&["a1", "a2"])),
        ("c.json", &json),
        (".hidden.yaml", "x"),
        ("notes.txt", "x"),
        ("yaml", "x"),
    ]);
    fs::create_dir(dir.path().join("d.yaml")).unwrap();
    fs::create_dir(dir.path().join("..v1")).unwrap();
    fs::write(dir.path().join("..v1/e.yaml"), keys(&["e"])).unwrap();
    std::os::unix::fs::symlink("..v1", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/e.yaml", dir.path().join("e.yaml")).unwrap();
    assert_eq!(
        loaded(dir.path(), ""),
        Ok(["a1", "a2", "b", "json", "e"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_file_without_keys_is_an_error_and_an_empty_list_is_none() {
    for (text, want) in [
        ("keys: []\n", Ok(Vec::new())),
        ("{keys: []}", Ok(Vec::new())),
        (
            "",
            Err("keys.yaml: the file is empty; write `keys: []` for no keys"),
        ),
        (
            "# nothing\n",
            Err("keys.yaml: the file is empty; write `keys: []` for no keys"),
        ),
        ("{}", Err("keys.yaml:1:1: missing member `keys`")),
        (
            "keys:\n",
            Err("keys.yaml:1:6: keys: holds nothing; write [] for an empty list"),
        ),
        (
            "keys: {}\n",
            Err("keys.yaml:1:7: keys: expected a list, found a mapping"),
        ),
    ] {
        let dir = in_dir(&[("keys.yaml", text)]);
        let seen = loaded(dir.path(), "keys.yaml");
        assert_eq!(
            seen.as_deref().map_err(String::as_str),
            want.as_deref().map_err(|text| *text),
            "{text}"
        );
    }
    assert!(
        loaded(in_dir(&[]).path(), "")
            .unwrap_err()
            .contains("no keys file in this directory")
    );
    assert!(
        loaded(in_dir(&[]).path(), "keys.yaml")
            .unwrap_err()
            .starts_with("keys.yaml: cannot be read: ")
    );
}

#[test]
fn all_that_is_wrong_in_all_files_comes_at_once() {
    let dir = in_dir(&[
        ("a.yaml", &keys(&["_a", "b", "_c"])),
        ("b.yaml", "keys: [\n"),
        ("c.yaml", &keys(&["good"])),
        ("d.yaml", "keys: [{}]"),
    ]);
    fs::write(dir.path().join("e.yaml"), b"keys: \xff").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("f.yaml")).unwrap();
    let told = loaded(dir.path(), "").unwrap_err();
    assert!(
        told.contains("e.yaml:1:7: not UTF-8") && told.contains("f.yaml: cannot be read: "),
        "{told}"
    );
    fs::remove_file(dir.path().join("e.yaml")).unwrap();
    fs::remove_file(dir.path().join("f.yaml")).unwrap();
    let told = loaded(dir.path(), "").unwrap_err();
    let starts: Vec<_> = told
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        starts,
        [
            "a.yaml:2:9:",
            "a.yaml:10:9:",
            "b.yaml:2:1:",
            "d.yaml:1:8:",
            "d.yaml:1:8:"
        ],
        "{told}"
    );
}

#[test]
fn a_repeated_id_or_digest_is_told_with_both_places() {
    let dir = in_dir(&[
        ("a.yaml", &keys(&["a", "b"])),
        (
            "b.yaml",
            &format!("# more\nkeys:\n{}{}", item("a", "other"), item("c", "b")),
        ),
        (
            "c.json",
            &format!(
                r#"{{"keys":[{{"id":"b","secrets":[{{"digest":"{0}"}},{{"digest":"{0}"}}]}}]}}"#,
                digest("x")
            ),
        ),
    ]);
    assert_eq!(
        loaded(dir.path(), "")
            .unwrap_err()
            .lines()
            .collect::<Vec<_>>(),
        [
            "b.yaml:3:9: keys[0].id: another key has this id; the first is keys[0] at a.yaml:2; keep one",
            "b.yaml:9:17: keys[1].secrets[0].digest: another key has this digest; the first is keys[1] at a.yaml:6; keep one",
            "c.json:1:16: keys[0].id: another key has this id; the first is keys[1] at a.yaml:6; keep one",
            "c.json:1:126: keys[0].secrets[1].digest: this key has the same digest twice; the first is keys[0] at c.json:1; keep one",
        ]
    );
}

#[test]
fn chunks_change_neither_keys_nor_messages() {
    let good = keys(&["a", "b", "c", "d", "e"]);
    for (name, text) in [
        ("good", good.clone()),
        ("windows lines", good.replace('\n', "\r\n")),
        ("byte order mark", format!("\u{feff}{good}")),
        ("no indent", good.replace("\n  ", "\n")),
        (
            "comments",
            good.replace("  - id: c", "# c\n\n  # - c\n  - id: c # c\n"),
        ),
        (
            "bad values",
            good.replace("id: b", "id: _b").replace("id: d", "id: _d"),
        ),
        (
            "bad shapes",
            good.replace("id: b", "name: b").replace("id: d", "id: [d]"),
        ),
        (
            "repeated member",
            good.replace("    metadata: {org: d}", "    id: d"),
        ),
        ("syntax error", good.replace("{org: d}", "{org: d")),
        (
            "a quote that goes on",
            good.replace("{org: c}", "{org: \"\n  - id: x\n\"}"),
        ),
        (
            "a bracket that goes on",
            good.replace("{org: c}", "{org:\n  - id: x\n}"),
        ),
        (
            "a text with dashes",
            good.replace("{org: c}", "\n      org: |\n        - id: x\n       - y"),
        ),
        (
            "an alias across",
            good.replace("{org: b}", "&m {org: b}")
                .replace("{org: d}", "*m"),
        ),
        ("an item that is no mapping", format!("{good}  - x\n")),
        ("an empty item", format!("{good}  -\n")),
        ("a second list", format!("{good}keys: []\n")),
        ("a stray member", format!("{good}more: 1\n")),
        ("an end marker", format!("{good}...\n")),
    ] {
        let want = whole(&text);
        for chunk_bytes in [1, 200, 400] {
            assert_eq!(
                read_as(&text, chunk_bytes),
                want,
                "{name} in chunks of {chunk_bytes}"
            );
        }
    }
    assert_eq!(whole(&good).unwrap().len(), 5);
}

#[test]
fn more_problems_than_anyone_reads_are_cut_short() {
    let text = (0..400).fold("keys:\n".to_owned(), |text, n| {
        text + &item(&format!("_{n}"), &n.to_string())
    });
    let told = read_as(&text, 1000).unwrap_err();
    let lines: Vec<_> = told.lines().collect();
    assert!((100..120).contains(&lines.len()), "{}", lines.len());
    assert_eq!(
        *lines.last().unwrap(),
        "k: there may be more problems further down; fix these first"
    );
    let dir = in_dir(&[("a.yaml", &keys(&["a"; 300]))]);
    let told = loaded(dir.path(), "a.yaml").unwrap_err();
    assert_eq!(
        told.lines().last(),
        Some("a.yaml: 498 more ids and digests are repeated")
    );
}

/// Half a file in YAML can be a valid one, which is why files written in place must stand still.
#[test]
fn a_file_cut_at_any_byte_is_an_error_or_whole_records_but_for_the_last() {
    let text = keys(&["a", "b", "c"]).replace("metadata", "allow_ips: [10.0.0.0/8]\n    metadata");
    let all = whole(&text).unwrap();
    let mut valid = 0;
    for end in 0..text.len() {
        for chunk_bytes in [1, usize::MAX] {
            let Ok(cut) = read_as(text.get(..end).unwrap(), chunk_bytes) else {
                continue;
            };
            let (last, before) = cut.split_last().unwrap();
            assert_eq!(before, &all[..before.len()], "at {end}");
            assert!(
                all[before.len()].id.as_str().starts_with(last.id.as_str()),
                "at {end}"
            );
            assert_eq!(last.secrets, all[before.len()].secrets, "at {end}");
            valid += 1;
        }
    }
    assert!(valid > 0);
    let json =
        serde_json::to_string(&serde_yaml::from_str::<serde_json::Value>(&text).unwrap()).unwrap();
    assert_eq!(whole(&json).unwrap(), all);
    for end in 0..json.len() {
        assert!(whole(json.get(..end).unwrap()).is_err(), "JSON at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a text looks like, chunks give the records that the whole gives, or an error where
    /// it gives one.
    #[test]
    fn chunks_agree_with_the_whole_on_texts_of_any_kind(
        pieces in proptest::collection::vec((0..40_usize, "[-a: \\[\\]{}\"'|>#&*\n\r\t]{1,4}"), 0..4),
        chunk_bytes in 1..400_usize,
    ) {
        let mut text = keys(&["a", "b", "c"]);
        for (place, piece) in pieces {
            text.insert_str(text.len() * place / 40, &piece);
        }
        let (in_chunks, at_once) = (read_as(&text, chunk_bytes), whole(&text));
        prop_assert_eq!(in_chunks.is_ok(), at_once.is_ok(), "{:?} {:?}", in_chunks, at_once);
        if let (Ok(in_chunks), Ok(at_once)) = (in_chunks, at_once) {
            prop_assert_eq!(in_chunks, at_once);
        }
    }
}
