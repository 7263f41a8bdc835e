//! When a file that changed is read: at once after a rename, else once it has stood still.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::sighting::FileState;
use super::*;

/// A file named `keys.yaml` with that inode and size, modified and changed at those seconds.
fn file(inode: u64, size: u64, modified: i64, changed: i64) -> FileFacts {
    let state = FileState {
        identity: (1, inode),
        size,
        modified: (modified, 0),
        changed: (changed, 0),
    };
    FileFacts {
        path: PathBuf::from("keys.yaml"),
        resolved: None,
        state: Some(state),
    }
}

fn seen(file: FileFacts) -> Sighting {
    Sighting::from_facts(Ok(vec![file]))
}

fn both(one: FileFacts, mut two: FileFacts) -> Sighting {
    two.path = PathBuf::from("more.yaml");
    Sighting::from_facts(Ok(vec![one, two]))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Follows `read`, which has stood still.
fn settled(read: &Sighting) -> Stillness {
    let mut stillness = Stillness::new(read.clone());
    assert_eq!(stillness.judge(read, false, ms(0)), Advice::Wait(STILL_FOR));
    assert_eq!(stillness.judge(read, false, ms(1000)), Advice::Read);
    stillness.was_read(read.clone(), ms(1000));
    assert_eq!(stillness.judge(read, false, ms(1001)), Advice::Unchanged);
    stillness
}

fn old() -> FileFacts {
    file(1, 10, 100, 100)
}

/// What was read, what is seen then, whether an event told of a rename, and whether it is read at once.
type Case = (&'static str, Sighting, Sighting, bool, bool);

fn cases() -> Vec<Case> {
    let linked = |to: &str, inode| FileFacts {
        resolved: Some(to.into()),
        ..file(inode, 10, 100, 100)
    };
    vec![
        (
            "another file that was renamed",
            seen(old()),
            seen(file(2, 10, 90, 200)),
            false,
            true,
        ),
        (
            "another file in the tick of its rename, with an event",
            seen(old()),
            seen(file(2, 10, 200, 200)),
            true,
            true,
        ),
        (
            "another file that is being created in place",
            seen(old()),
            seen(file(2, 0, 200, 200)),
            false,
            false,
        ),
        (
            "a file written in place",
            seen(old()),
            seen(file(1, 20, 200, 200)),
            false,
            false,
        ),
        (
            "a file written in place, and an event of another",
            seen(old()),
            seen(file(1, 20, 200, 200)),
            true,
            false,
        ),
        (
            "a touched file",
            seen(old()),
            seen(file(1, 10, 200, 200)),
            false,
            false,
        ),
        (
            "a file whose mode changed",
            seen(old()),
            seen(file(1, 10, 100, 200)),
            false,
            false,
        ),
        (
            "a swapped symlink",
            seen(linked("v1/keys.yaml", 1)),
            seen(linked("v2/keys.yaml", 2)),
            false,
            true,
        ),
        (
            "a new link",
            Sighting::from_facts(Ok(vec![])),
            seen(linked("v1/keys.yaml", 1)),
            false,
            true,
        ),
        (
            "a missing file",
            seen(old()),
            Sighting::from_facts(Err(ErrorKind::NotFound)),
            true,
            false,
        ),
        (
            "a file that is back",
            Sighting::from_facts(Err(ErrorKind::NotFound)),
            seen(file(2, 9, 1, 200)),
            false,
            true,
        ),
        (
            "a file gone from a directory",
            both(old(), file(2, 1, 1, 1)),
            seen(old()),
            false,
            false,
        ),
        (
            "one renamed into place beside one being written",
            both(old(), file(2, 1, 1, 1)),
            both(file(3, 1, 1, 9), file(2, 2, 9, 9)),
            false,
            false,
        ),
    ]
}

#[test]
fn what_came_whole_is_read_at_once_and_what_is_written_in_place_when_it_is_still() {
    for (name, before, now, moved, at_once) in cases() {
        let mut stillness = settled(&before);
        let want = if at_once {
            Advice::Read
        } else {
            Advice::Wait(STILL_FOR)
        };
        assert_eq!(stillness.judge(&now, moved, ms(5000)), want, "{name}");
        assert_eq!(
            stillness.judge(&now, false, ms(6000)),
            Advice::Read,
            "{name}, still"
        );
    }
}

#[test]
fn every_change_begins_the_second_anew() {
    let mut stillness = settled(&seen(old()));
    for (now, size, want) in [
        (5000, 1, Advice::Wait(ms(1000))),
        (5900, 1, Advice::Wait(ms(100))),
        (5950, 2, Advice::Wait(ms(1000))),
        (6900, 2, Advice::Wait(ms(50))),
        (6950, 2, Advice::Read),
    ] {
        assert_eq!(
            stillness.judge(&seen(file(1, size, 200, 200)), false, ms(now)),
            want,
            "at {now}"
        );
    }
}

#[test]
fn what_was_read_at_once_is_read_again_when_it_was_still_and_then_no_more() {
    let mut stillness = settled(&seen(old()));
    let renamed = seen(file(2, 10, 90, 200));
    assert_eq!(stillness.judge(&renamed, false, ms(5000)), Advice::Read);
    stillness.was_read(renamed.clone(), ms(5010));
    assert_eq!(
        stillness.judge(&renamed, false, ms(5020)),
        Advice::Wait(ms(980))
    );
    assert_eq!(stillness.judge(&renamed, false, ms(6000)), Advice::Read);
    stillness.was_read(renamed.clone(), ms(6010));
    assert_eq!(
        stillness.judge(&renamed, false, ms(7000)),
        Advice::Unchanged
    );
    assert_eq!(stillness.judge(&renamed, true, ms(7001)), Advice::Unchanged);
}

#[test]
fn what_changes_while_it_is_read_must_stand_still() {
    let mut stillness = settled(&seen(old()));
    let renamed = seen(file(2, 10, 90, 200));
    assert_eq!(stillness.judge(&renamed, false, ms(5000)), Advice::Read);
    stillness.was_changing();
    assert_eq!(
        stillness.judge(&renamed, true, ms(5001)),
        Advice::Wait(STILL_FOR)
    );
    assert_eq!(stillness.judge(&renamed, false, ms(6001)), Advice::Read);
}

#[test]
fn a_missing_file_is_read_once_and_then_left_alone() {
    let mut stillness = settled(&seen(old()));
    let missing = Sighting::from_facts(Err(ErrorKind::NotFound));
    assert_eq!(
        stillness.judge(&missing, false, ms(5000)),
        Advice::Wait(STILL_FOR)
    );
    assert_eq!(stillness.judge(&missing, false, ms(6000)), Advice::Read);
    stillness.was_read(missing.clone(), ms(6000));
    assert_eq!(
        stillness.judge(&missing, false, ms(6001)),
        Advice::Unchanged
    );
}

#[test]
fn a_sighting_sees_writes_renames_and_the_swap_of_a_kubernetes_volume() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("..v1")).unwrap();
    fs::create_dir(path("..v2")).unwrap();
    fs::write(path("..v1/keys.yaml"), "keys: []").unwrap();
    fs::write(path("..v2/keys.yaml"), "keys: []").unwrap();
    std::os::unix::fs::symlink("..v1", path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/keys.yaml", path("keys.yaml")).unwrap();

    let single = path("keys.yaml");
    for volume in [dir.path(), single.as_path()] {
        let before = Sighting::of(volume);
        assert_eq!(Sighting::of(volume), before);
        std::os::unix::fs::symlink("..v2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        let swapped = Sighting::of(volume);
        assert!(swapped != before && swapped.came_whole_since(&before, false));
        fs::write(path("..v2/keys.yaml"), "keys: [ ]").unwrap();
        let written = Sighting::of(volume);
        assert!(written != swapped && !written.came_whole_since(&swapped, true));
        fs::write(path("..v2/keys.yaml"), "keys: []").unwrap();
        std::os::unix::fs::symlink("..v1", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    }
    fs::remove_file(path("keys.yaml")).unwrap();
    assert_eq!(
        Sighting::of(&path("keys.yaml")),
        Sighting::from_facts(Err(ErrorKind::NotFound))
    );
    assert_eq!(Sighting::of(dir.path()), Sighting::from_facts(Ok(vec![])));
}
