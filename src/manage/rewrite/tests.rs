//! Rewriting files that others write too, and the ownership of the result.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};

use super::*;

fn home() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.yaml");
    (directory, path)
}

fn rewrite(path: &Path, change: impl Fn(&str) -> String) {
    loop {
        let file = LockedFile::lock(path).unwrap();
        let original = file.read().unwrap();
        let new = change(original.text().unwrap().unwrap_or_default());
        if file.replace(&original, new.as_bytes(), None).unwrap() == ReplaceOutcome::Done {
            return;
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A temporary file that says `ours`.
fn temp_of(file: &LockedFile) -> TempFile<'_> {
    let owner = Ownership {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: 0o600,
    };
    file.write_temp(b"ours", owner).unwrap()
}

/// Another writer of a file, given its path and one beside it.
type Writer = fn(&Path, &Path);

#[test]
fn a_file_that_changed_since_it_was_read_is_not_replaced() {
    let written: [(&str, Option<&str>, Writer); 6] = [
        ("renamed over", Some("old"), |path, beside| {
            fs::write(beside, "theirs").unwrap();
            fs::rename(beside, path).unwrap();
        }),
        ("written in place", Some("old"), |path, _| {
            fs::write(path, "theirs").unwrap();
        }),
        (
            "the same content in another file",
            Some("old"),
            |path, beside| {
                fs::write(beside, "old").unwrap();
                fs::rename(beside, path).unwrap();
            },
        ),
        ("removed", Some("old"), |path, _| {
            fs::remove_file(path).unwrap();
        }),
        ("made", None, |path, _| fs::write(path, "theirs").unwrap()),
        ("made as a link", None, |path, _| {
            symlink("nowhere", path).unwrap();
        }),
    ];
    for (name, before, writer) in written {
        let (directory, path) = home();
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        let file = LockedFile::lock(&path).unwrap();
        let original = file.read().unwrap();
        writer(&path, &directory.path().join("beside"));
        let theirs = fs::read_to_string(&path).ok();
        let temp = temp_of(&file);
        // After the last check: at the rename itself.
        let replaced = match &original.content {
            Some(before) => file.exchange(&temp, before).unwrap(),
            None => file.create(&temp).unwrap(),
        };
        assert_eq!(replaced, ReplaceOutcome::Changed, "{name}");
        drop(temp);
        assert_eq!(fs::read_to_string(&path).ok(), theirs, "{name}");
        assert!(names(directory.path()).len() <= 1, "{name}: left over");
        if name != "made as a link" {
            let replaced = file.replace(&original, b"ours", None).unwrap();
            assert_eq!(
                replaced,
                ReplaceOutcome::Changed,
                "{name}, before the rename"
            );
        }
    }
}

#[test]
fn an_unreadable_file_found_at_the_rename_is_put_back() {
    let written: [(&str, Writer); 3] = [
        ("a link", |path, beside| {
            fs::write(path.with_file_name("v2.yaml"), "theirs").unwrap();
            symlink("v2.yaml", beside).unwrap();
            fs::rename(beside, path).unwrap();
        }),
        ("a link to nothing", |path, beside| {
            symlink("nowhere", beside).unwrap();
            fs::rename(beside, path).unwrap();
        }),
        ("a socket", |path, beside| {
            std::os::unix::net::UnixListener::bind(beside).unwrap();
            fs::rename(beside, path).unwrap();
        }),
    ];
    for (name, writer) in written {
        let (directory, path) = home();
        fs::write(&path, "old").unwrap();
        let file = LockedFile::lock(&path).unwrap();
        let original = file.read().unwrap();
        let temp = temp_of(&file);
        writer(&path, &directory.path().join("beside"));
        let theirs = fs::symlink_metadata(&path).unwrap().ino();
        let before = original.content.as_ref().unwrap();
        assert!(file.exchange(&temp, before).is_err(), "{name}");
        drop(temp);
        let now = fs::symlink_metadata(&path).map(|data| data.ino());
        assert_eq!(now.ok(), Some(theirs), "{name}");
        let mut names = names(directory.path());
        names.retain(|name| name != "v2.yaml");
        assert_eq!(names, ["keys.yaml"], "{name}: left over");
    }
}

#[test]
fn another_file_under_the_name_of_a_temporary_file_is_not_removed() {
    let (directory, path) = home();
    let file = LockedFile::lock(&path).unwrap();
    let temp = temp_of(&file);
    let at = directory.path().join(&temp.name);
    fs::rename(&at, &path).unwrap();
    symlink("nowhere", &at).unwrap();
    drop(temp);
    assert!(fs::symlink_metadata(&at).is_ok_and(|data| data.is_symlink()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
}

#[test]
fn no_write_is_lost_beside_an_editor_that_renames() {
    let (directory, path) = home();
    fs::write(&path, "").unwrap();
    let beside = directory.path().join("beside");
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..10 {
                    rewrite(path, |old| format!("{old}ours {writer} {number}\n"));
                }
            });
        }
        // It reads and renames as fast as it can. What it loses of ours between the two is its own
        // doing, and its last line must not be lost by us, but for the moment in which its file has
        // been exchanged and is put back.
        for number in 0..200 {
            let seen = format!("theirs {number}\n");
            let old = (0..1000).find_map(|_| {
                let old = fs::read_to_string(&path).unwrap();
                (number == 0 || old.contains(&seen)).then_some(old)
            });
            let old = old.expect("theirs was lost");
            let ours = old.lines().filter(|line| line.starts_with("ours"));
            let ours: Vec<&str> = ours.collect();
            let next = format!("theirs {}\n{}\n", number + 1, ours.join("\n"));
            fs::write(&beside, next).unwrap();
            fs::rename(&beside, &path).unwrap();
        }
    });
    assert!(fs::read_to_string(&path).unwrap().contains("theirs"));
    assert_eq!(names(directory.path()), ["keys.yaml"]);
}

#[test]
fn a_file_keeps_its_mode_and_symlinks_and_leftovers_are_removed() {
    let (directory, path) = home();
    fs::create_dir(directory.path().join("real")).unwrap();
    let real = directory.path().join("real/keys.yaml");
    symlink("between.yaml", &path).unwrap();
    symlink("real/keys.yaml", directory.path().join("between.yaml")).unwrap();
    // The links lead to nothing yet.
    rewrite(&path, |_| "made".to_owned());
    assert_eq!(fs::read_to_string(&real).unwrap(), "made");
    assert_eq!(mode(&real), 0o600);
    fs::set_permissions(&real, Permissions::from_mode(0o4640)).unwrap();
    // A symlink is left over under the temporary file's name.
    let victim = directory.path().join("victim");
    fs::write(&victim, "not ours").unwrap();
    symlink(
        &victim,
        directory.path().join("real/.keys.yaml.keyward.tmp"),
    )
    .unwrap();
    rewrite(&path, |old| format!("{old} and changed"));
    assert_eq!(fs::read_to_string(&real).unwrap(), "made and changed");
    assert_eq!(
        mode(&real),
        0o640,
        "and nothing that is not for files of data"
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "not ours");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(names(&directory.path().join("real")), ["keys.yaml"]);
}

#[test]
fn only_regular_files_are_rewritten() {
    let (directory, path) = home();
    fs::create_dir(&path).unwrap();
    assert!(LockedFile::lock(&path).unwrap().read().is_err());
    assert!(LockedFile::lock(directory.path().join("no/such").as_path()).is_err());
}

#[test]
fn a_new_file_gets_the_ownership_of_a_sibling_or_its_directory_and_an_old_one_keeps_its_own() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (directory, path) = home();
    let of = |path: &Path| {
        let data = fs::metadata(path).unwrap();
        (data.uid(), data.gid(), data.mode() & 0o7777)
    };
    std::os::unix::fs::chown(directory.path(), Some(0), Some(4321)).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o750)).unwrap();
    rewrite(&path, |_| "new".to_owned());
    assert_eq!(of(&path), (0, 4321, 0o640), "its group may read there");

    let sibling = directory.path().join("sibling.yaml");
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .mode(0o600)
        .open(&sibling)
        .unwrap();
    std::os::unix::fs::chown(&sibling, Some(1234), Some(4321)).unwrap();
    fs::remove_file(&path).unwrap();
    let file = LockedFile::lock(&path).unwrap();
    let original = file.read().unwrap();
    file.replace(&original, b"new", Ownership::of_file(&sibling))
        .unwrap();
    drop(file);
    assert_eq!(of(&path), (1234, 4321, 0o600));
    rewrite(&path, |old| format!("{old}er"));
    assert_eq!(of(&path), (1234, 4321, 0o600));
}
