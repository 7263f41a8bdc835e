//! Adding records to files of every layout, and files that must not be touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::file;
use super::super::record::SecretSpec;
use super::super::record::tests::{digest, policy_with_plans};
use super::*;

fn key(id: &str) -> KeySpec {
    let mut spec = KeySpec::new(id);
    spec.secrets = vec![SecretSpec {
        digest: digest(id),
        id: None,
        not_before: None,
        expires_at: None,
    }];
    spec
}

fn item(id: &str) -> String {
    format!(
        "  - id: {id}\n    secrets:\n      - digest: {}\n",
        digest(id)
    )
}

fn append(path: &Path, spec: &KeySpec) -> Result<PathBuf, String> {
    append_record(path, spec, Some(&policy_with_plans())).map_err(|error| error.to_string())
}

fn ids(path: &Path) -> Vec<String> {
    let keys = file::load(path, &policy_with_plans()).unwrap();
    keys.iter().map(|key| key.id.to_string()).collect()
}

#[test]
fn a_record_goes_below_the_others_and_nothing_else_changes() {
    for (name, before, after) in [
        ("new file", None, format!("keys:\n{}", item("new"))),
        (
            "plain",
            Some(format!("# mine\nkeys: # all\n{}\n# end", item("a"))),
            format!("# mine\nkeys: # all\n{}\n# end\n{}", item("a"), item("new")),
        ),
        (
            "no indent",
            Some(format!(
                "keys:\n{}",
                item("a").replace("\n  ", "\n").trim_start()
            )),
            format!(
                "keys:\n{}{}",
                item("a").replace("\n  ", "\n").trim_start(),
                item("new").replace("\n  ", "\n").trim_start()
            ),
        ),
        (
            "windows lines",
            Some(format!("keys:\n{}", item("a")).replace('\n', "\r\n")),
            format!("keys:\n{}{}", item("a"), item("new")).replace('\n', "\r\n"),
        ),
        (
            "empty list",
            Some("# mine\nkeys: []  # none yet\n\n".into()),
            format!("# mine\nkeys:  # none yet\n\n{}", item("new")),
        ),
        (
            "empty list without line break",
            Some("keys: []".into()),
            format!("keys:\n{}", item("new")),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.yaml");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        append(&path, &key("new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after, "{name}");
        assert_eq!(ids(&path).last().unwrap(), "new", "{name}");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "{name}: something is left over"
        );
    }
}

#[test]
fn a_file_that_cannot_take_the_record_stays_as_it_is() {
    let json = format!(
        r#"{{"keys":[{{"id":"a","secrets":[{{"digest":"{}"}}]}}]}}"#,
        digest("a")
    );
    for (name, text, want) in [
        (
            "id taken",
            format!("keys:\n{}", item("new")),
            "there is a key `new` already; choose another id",
        ),
        (
            "digest taken",
            format!("keys:\n{}", item("new").replace("id: new", "id: old")),
            "the key `old` has the same secret",
        ),
        ("brackets", json, "only where `keys` has a line with a dash"),
        (
            "end marker",
            format!("keys:\n{}...\n", item("a")),
            "only where `keys` has a line with a dash",
        ),
        (
            "not valid",
            format!("keys:\n{}", item("_")),
            "keys[0].id: a key id has",
        ),
        ("empty", String::new(), "the file is empty"),
        ("syntax", "keys: [".into(), "keys.yaml:"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.yaml");
        fs::write(&path, &text).unwrap();
        let told = append(&path, &key("new")).unwrap_err();
        assert!(
            told.contains(want) && told.contains("keys.yaml"),
            "{name}: {told}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "{name}: something is left over"
        );
    }
}

#[test]
fn a_record_that_is_not_valid_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.yaml");
    let mut bad = key("new");
    bad.client = Some("_x".into());
    bad.plan = Some("golf".into());
    let told = append(&path, &bad).unwrap_err();
    assert!(
        told.contains("client: a client has") && told.contains("plan: there is no such plan"),
        "{told}"
    );
    assert!(!path.exists());
    bad.client = None;
    append_record(&path, &bad, None).unwrap();
    assert!(path.exists());
}

#[test]
fn a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_mode_and_its_links() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.yaml");
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    append(&path, &key("a")).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.yaml");
    symlink("keys.yaml", &link).unwrap();
    append(&link, &key("b")).unwrap();
    assert_eq!(mode(), 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(ids(&path), ["a", "b"]);
}

#[test]
fn in_a_directory_the_record_goes_to_keys_yaml_and_no_file_may_have_its_id() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("other.yaml"),
        format!("keys:\n{}", item("other")),
    )
    .unwrap();
    assert!(
        append(dir.path(), &key("other"))
            .unwrap_err()
            .contains("other.yaml: there is a key `other`")
    );
    append(dir.path(), &key("a")).unwrap();
    append(dir.path(), &key("b")).unwrap();
    assert_eq!(ids(dir.path()), ["a", "b", "other"]);
    assert!(
        append(&dir.path().join("no/such/keys.yaml"), &key("a"))
            .unwrap_err()
            .contains("opening its directory failed")
    );
}

#[test]
fn writers_at_the_same_time_lose_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.yaml");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..8 {
                    append(path, &key(&format!("k{writer}.{number}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(ids(&path).len(), 32);
}
