//! Adding records to files of every layout, and files that must not be touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::keys::file;
use crate::keys::record::SecretSpec;
use crate::keys::record::tests::{digest, policy_with_plans};

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
    append_record(path, spec, Some(&policy_with_plans()), None).map_err(|error| error.to_string())
}

fn ids(path: &Path) -> Vec<String> {
    let keys = file::load(&path.to_owned().into(), &policy_with_plans()).unwrap();
    keys.iter().map(|key| key.id.to_string()).collect()
}

#[test]
fn a_record_is_added_below_the_others_and_nothing_else_changes() {
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
    append_record(&path, &bad, None, None).unwrap();
    assert!(path.exists());
}

#[test]
fn only_the_owner_reads_a_new_file_and_an_old_one_keeps_its_mode_and_symlinks() {
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

#[test]
fn no_file_that_may_be_served_beside_it_may_have_the_id_or_the_secret() {
    let policy = policy_with_plans();
    for (source, other, want) in [
        // It is unknown what is served: any keys file.
        (
            None,
            item("new"),
            Some("a.yaml: there is a key `new` already"),
        ),
        (
            None,
            item("old").replace(&digest("old"), &digest("new")),
            Some("a.yaml: the key `old` has the same secret"),
        ),
        (None, item("_"), None),
        // The directory.
        (
            Some(""),
            item("new"),
            Some("a.yaml: there is a key `new` already"),
        ),
        (Some(""), item("_"), Some("keys[0].id: a key id has")),
        // Another file of it, or this one alone.
        (Some("a.yaml"), item("new"), None),
        (Some("b.yaml"), item("new"), None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let served = dir.path().join("keys.d");
        fs::create_dir(&served).unwrap();
        fs::write(served.join("a.yaml"), format!("keys:\n{other}")).unwrap();
        fs::write(served.join("keyward.yaml"), "default: deny").unwrap();
        if source == Some("") {
            fs::remove_file(served.join("keyward.yaml")).unwrap();
        }
        let source = source.map(|name| served.join(name));
        // By its own name, and through links to it and to its directory.
        symlink("keys.d/b.yaml", dir.path().join("link.yaml")).unwrap();
        symlink("keys.d", dir.path().join("link.d")).unwrap();
        for path in ["keys.d/b.yaml", "link.yaml", "link.d/b.yaml"] {
            let spec = key("new");
            // In a directory of which nobody knows whether it is served, only a file that is new
            // would be the first of its kind.
            let before = source.is_some().then_some("keys: []");
            match before {
                Some(before) => fs::write(served.join("b.yaml"), before).unwrap(),
                None => drop(fs::remove_file(served.join("b.yaml"))),
            }
            let path = dir.path().join(path);
            let told = append_record(&path, &spec, Some(&policy), source.as_deref());
            let told = told.err().map(|error| error.to_string());
            let name = path.display();
            match want {
                None => assert_eq!(told, None, "{name} {source:?}"),
                Some(want) => {
                    assert!(
                        told.as_ref().is_some_and(|told| told.contains(want)),
                        "{name} {source:?}: {told:?}"
                    );
                    let after = fs::read_to_string(served.join("b.yaml"));
                    assert_eq!(after.ok().as_deref(), before);
                }
            }
        }
    }
}

#[test]
fn a_revocation_that_an_editor_writes_meanwhile_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.yaml");
    let list: String = (0..40).map(|number| item(&format!("k{number}"))).collect();
    fs::write(&path, format!("keys:\n{list}")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..6 {
                append(&path, &key(&format!("new{number}"))).unwrap();
            }
        });
        // The editor marks one key after the other, and never unmarks one: a mark that stays away
        // was lost by us. For the moment in which its file has been exchanged and is put back, it
        // sees ours.
        for number in 0..40 {
            let text = (0..1000).find_map(|_| {
                let text = fs::read_to_string(&path).unwrap();
                let is_there = text.matches("enabled: false").count() == number;
                (is_there).then_some(text)
            });
            let text = text.expect("a revocation was lost");
            let at = format!("  - id: k{number}\n");
            let text = text.replace(&at, &format!("{at}    enabled: false\n"));
            let beside = dir.path().join("beside");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &path).unwrap();
        }
    });
}
