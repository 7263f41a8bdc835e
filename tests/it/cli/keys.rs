//! `keys new`: the secret goes only to stdout, its digest into the file, and the key works at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use super::{Run, Workdir, text};
use crate::support::keyfile::{digest, keyed_digest};

const CONFIG: &str = "plans: {gold: {scopes: [\"plan:read\"]}}\n";

/// The exit code and outcome of a GET with this secret.
fn explained(workdir: &Workdir, secret: &str) -> (Option<i32>, serde_json::Value) {
    let run = workdir.explain_get(secret, &["--output", "json"]);
    (run.code, run.json())
}

#[test]
fn a_new_key_works_at_once_and_its_secret_is_printed_once() {
    let workdir = Workdir::new(CONFIG, "# ours\nkeys: []\n");
    let printed = workdir
        .run(&[
            "keys",
            "new",
            "--id",
            "bot",
            "--client",
            "acme",
            "--plan",
            "gold",
            "--scope",
            "a:b",
            "--scope",
            "c",
            "--metadata",
            "org=42",
            "--metadata",
            "note=a=b",
            "--not-before",
            "2020-01-01T00:00:00Z",
            "--expires-in",
            "90d",
        ])
        .data();
    let secret = printed.strip_suffix('\n').unwrap();
    assert!(
        secret.starts_with("kw_") && !secret.contains(char::is_whitespace),
        "{printed:?}"
    );
    let file = workdir.read("keys.yaml");
    assert!(file.starts_with("# ours\n"), "{file}");
    assert!(
        file.contains(&digest(secret)) && !file.contains(secret),
        "{file}"
    );
    for written in [
        "client: acme",
        "plan: gold",
        "a:b",
        "note: \"a=b\"",
        "2020-01-01T00:00:00Z",
    ] {
        assert!(file.contains(written), "{written}: {file}");
    }
    let (code, decision) = explained(&workdir, secret);
    assert_eq!((code, &decision["reason"]), (Some(0), &"allowed".into()));
    assert_eq!(decision["identity"]["x-keyward-scopes"], "plan:read a:b c");
}

#[test]
fn a_key_that_has_already_expired_gets_a_note() {
    let workdir = Workdir::new(CONFIG, "keys: []\n");
    for (id, end, note) in [
        (
            "a",
            "2020-01-01T00:00:00Z",
            "note: --expires-at is in the past: the key never works\n",
        ),
        ("b", "2099-01-01T00:00:00Z", ""),
    ] {
        let run = workdir.run(&["keys", "new", "--id", id, "--expires-at", end]);
        assert_eq!((run.code, &*run.stderr), (Some(0), note), "{run:?}");
        assert!(run.stdout.starts_with("kw_"));
    }
}

#[test]
fn json_has_id_secret_and_digest() {
    let workdir = Workdir::new(CONFIG, "keys: []\n");
    let made: serde_json::Value = serde_json::from_str(
        &workdir
            .run(&["keys", "new", "--id", "a", "--output", "json"])
            .data(),
    )
    .unwrap();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(made["id"], "a");
    assert_eq!(made["digest"], digest(secret));
    assert!(workdir.read("keys.yaml").contains(&digest(secret)));
}

#[test]
fn an_expired_key_can_be_created() {
    let workdir = Workdir::new(CONFIG, "keys: []\n");
    let secret = workdir
        .run(&[
            "keys",
            "new",
            "--id",
            "old",
            "--expires-at",
            "2020-01-01T00:00:00Z",
        ])
        .stdout;
    assert_eq!(explained(&workdir, &secret).1["reason"], "key_expired");
}

#[test]
fn a_pepper_makes_a_keyed_digest_even_if_the_file_is_named() {
    let pepper = "0123456789abcdef0123456789abcdef";
    let workdir = Workdir::new("digest: {pepper_file: pepper}\n", "keys: []\n");
    workdir.write("pepper", pepper);
    for (id, rest) in [
        ("a", &[][..]),
        ("b", &["--file", "keys.yaml", "-c", "keyward.yaml"]),
    ] {
        let secret = workdir
            .run(&[&["keys", "new", "--id", id], rest].concat())
            .data();
        let keyed = keyed_digest(secret.trim_end(), pepper.as_bytes());
        assert!(workdir.read("keys.yaml").contains(&keyed));
        assert_eq!(explained(&workdir, &secret).0, Some(0));
    }
}

#[test]
fn the_default_configuration_is_used_only_if_the_named_file_is_its_source() {
    let pepper = "0123456789abcdef0123456789abcdef";
    let config = |source: &str| {
        format!(
            "digest: {{pepper_file: pepper}}\nplans: {{gold: {{}}}}\nsource: {{file: {{path: {source}}}}}\n"
        )
    };
    for (source, file, is_source) in [
        ("keys.yaml", "keys.yaml", true),
        ("keys.yaml", "./keys.yaml", true),
        ("keys.yaml", "link.yaml", true),
        ("link.yaml", "keys.yaml", true),
        ("new.yaml", "new.yaml", true),
        ("directory", "directory", true),
        ("directory", "directory/new.yaml", true),
        ("directory/keys.yaml", "directory", true),
        ("directory", "directory/link.yaml", true),
        ("keys.yaml", "other.yaml", false),
        ("directory", "keys.yaml", false),
        ("no/such.yaml", "keys.yaml", false),
    ] {
        let workdir = Workdir::new(&config(source), "keys: []\n");
        workdir.write("pepper", pepper);
        fs::create_dir(workdir.path("directory")).unwrap();
        workdir.write("beside.yaml", "keys: []\n");
        symlink("keys.yaml", workdir.path("link.yaml")).unwrap();
        symlink("../beside.yaml", workdir.path("directory/link.yaml")).unwrap();
        let made = workdir.run(&[
            "keys", "new", "--id", "a", "--file", file, "--output", "json",
        ]);
        let digest = made.json()["digest"].as_str().unwrap().to_owned();
        let kind = if is_source {
            "blake3-keyed:"
        } else {
            "blake3:"
        };
        assert!(digest.starts_with(kind), "{source}, {file}: {digest}");
        let unknown_plan = ["keys", "new", "--id", "b", "--plan", "none", "--file", file];
        let want = if is_source { 2 } else { 0 };
        assert_eq!(
            workdir.run(&unknown_plan).code,
            Some(want),
            "{source}, {file}"
        );
    }
}

#[test]
fn an_invalid_default_configuration_is_reported_if_the_file_is_named() {
    let workdir = Workdir::new("digest: {pepper_file: gone}\n", "keys: []\n");
    let arguments = ["keys", "new", "--id", "a", "--file", "keys.yaml"];
    assert!(workdir.run(&arguments).complaint(3).contains("pepper_file"));
    assert_eq!(workdir.read("keys.yaml"), "keys: []\n");
}

#[test]
fn no_configuration_is_needed_if_the_file_is_named() {
    let workdir = Workdir::empty();
    fs::create_dir(workdir.path("directory")).unwrap();
    workdir.write("real.yaml", "keys: []\n");
    symlink("real.yaml", workdir.path("link.yaml")).unwrap();
    for (named, written) in [
        ("new.yaml", "new.yaml"),
        ("directory", "directory/keys.yaml"),
        ("link.yaml", "real.yaml"),
    ] {
        let file = workdir.path(named);
        let secret = workdir
            .run(&["keys", "new", "--id", "a", "--file", text(&file)])
            .data();
        assert!(
            workdir.read(written).contains(&digest(secret.trim_end())),
            "{named}"
        );
    }
    assert!(workdir.path("link.yaml").is_symlink(), "the link stays one");
    let mode = fs::metadata(workdir.path("new.yaml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o022, 0, "no other user may write it: {mode:o}");
}

#[test]
fn a_failed_addition_leaves_the_file_unchanged() {
    let before = "keys:\n- id: a\n  secrets: [{digest: \"blake3:0000000000000000000000000000000000000000000000000000000000000000\"}]\n";
    let workdir = Workdir::new(CONFIG, before);
    for (rest, code, hint) in [
        (&["--id", "a"][..], 1, "another id"),
        (&["--id", "_a"], 2, "id: "),
        (&["--id", "b", "--plan", "silver"], 2, "`gold`"),
        (&["--id", "b", "--scope", "a b"], 2, "scopes[0]"),
        (&["--id", "b", "--expires-at", "tomorrow"], 2, "RFC 3339"),
        (&["--id", "b", "--expires-in", "90"], 2, "30d"),
        (
            &["--id", "b", "--expires-in", "0s"],
            2,
            "--expires-in: a lifetime below one second",
        ),
        (
            &["--id", "b", "--expires-in", "999ms"],
            2,
            "a lifetime below one second",
        ),
        (
            &["--id", "b", "--expires-in", "-5d"],
            2,
            "--expires-in: it cannot be negative",
        ),
        (
            &["--id", "b", "--expires-in=-5d"],
            2,
            "--expires-in: it cannot be negative",
        ),
        (&["--id", "b", "--expires-at", "-5d"], 2, "--expires-at: "),
        (&["--id", "b", "--not-before", "-1"], 2, "--not-before: "),
        (
            &["--id", "b", "--expires-in", "99999999d"],
            2,
            "--expires-in",
        ),
        (
            &[
                "--id",
                "b",
                "--expires-in",
                "1d",
                "--expires-at",
                "2099-01-01T00:00:00Z",
            ],
            2,
            "cannot be used with",
        ),
        (&["--id", "b", "--metadata", "org"], 2, "org=42"),
        (
            &["--id", "b", "--metadata", "a=1", "--metadata", "a=2"],
            2,
            "twice",
        ),
        (
            &["--id", "b", "--file", "keyward.yaml"],
            3,
            "keyward.yaml:1:1",
        ),
        (&["--id", "b", "--file", "no/such/keys.yaml"], 1, "no/such"),
        (&[], 2, "--id"),
    ] {
        let complaint = workdir
            .run(&[&["keys", "new"], rest].concat())
            .complaint(code);
        assert!(complaint.contains(hint), "{rest:?}: {complaint}");
        assert_eq!(workdir.read("keys.yaml"), before, "{rest:?}");
        assert_eq!(workdir.read("keyward.yaml"), CONFIG, "{rest:?}");
    }
    workdir.write("keys.yaml", "keys:\n- id: a\n");
    let broken = workdir.run(&["keys", "new", "--id", "b"]).complaint(3);
    assert!(broken.contains("keys.yaml:2:3: keys[0]"), "{broken}");
}

#[test]
fn keys_created_concurrently_are_all_in_the_file() {
    let workdir = Workdir::new(CONFIG, "keys: []\n");
    let ids: Vec<String> = (0..8).map(|number| format!("key-{number}")).collect();
    let started: Vec<_> = ids
        .iter()
        .map(|id| {
            let mut command = workdir.command(&["keys", "new", "--id", id]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (child, id) in started.into_iter().zip(&ids) {
        let secret = Run::from(child.wait_with_output().unwrap()).data();
        assert_eq!(explained(&workdir, &secret).1["key_id"], **id);
    }
}

#[test]
fn a_secret_that_cannot_be_printed_is_a_failure_that_names_the_key() {
    let workdir = Workdir::new(CONFIG, "keys: []\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = workdir.command(&["keys", "new", "--id", "lost"]);
    let run = Run::of(command.stdout(writer).stderr(Stdio::piped()));
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("`lost`") && run.stderr.contains("make another"),
        "{run:?}"
    );
    assert!(!run.stderr.contains("kw_"), "{run:?}");
}
