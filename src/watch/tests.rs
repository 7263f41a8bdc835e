//! When a file that changed is read: at once after a rename, else once it has stood still.

use std::fs;

use super::*;

mod files;

/// A file with that inode and size, modified and changed at those seconds.
fn file(inode: u64, size: u64, modified: i64, changed: i64) -> Fingerprint {
    let state = FileStat {
        identity: (1, inode),
        size,
        modified: (modified, 0),
        changed: (changed, 0),
    };
    Fingerprint {
        resolved: Some("/d/keys.yaml".into()),
        is_link: false,
        state: Some(state),
    }
}

fn missing() -> Fingerprint {
    Fingerprint::default()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Follows `read`, which has stood still.
fn settled(read: &Fingerprint) -> SettleTracker {
    let mut tracker = SettleTracker::new(read.clone());
    assert_eq!(
        tracker.advise(read, false, ms(0)),
        ReloadAdvice::Wait(SETTLE_TIME)
    );
    assert_eq!(tracker.advise(read, false, ms(1000)), ReloadAdvice::Read);
    tracker.note_read(read.clone(), ms(1000));
    assert_eq!(
        tracker.advise(read, false, ms(1001)),
        ReloadAdvice::Unchanged
    );
    tracker
}

fn old() -> Fingerprint {
    file(1, 10, 100, 100)
}

/// What was read, what is seen then, whether an event told of a rename, and whether it is read at
/// once.
type Case = (&'static str, Fingerprint, Fingerprint, bool, bool);

fn cases() -> Vec<Case> {
    let linked = |to: &str, inode| Fingerprint {
        resolved: Some(to.into()),
        is_link: true,
        ..file(inode, 10, 100, 100)
    };
    let below_a_link = |to: &str, inode| Fingerprint {
        is_link: false,
        ..linked(to, inode)
    };
    vec![
        (
            "another file that was renamed",
            old(),
            file(2, 10, 90, 200),
            false,
            true,
        ),
        (
            "another file in the tick of its rename, with an event",
            old(),
            file(2, 10, 200, 200),
            true,
            true,
        ),
        (
            "another file that is being created in place",
            old(),
            file(2, 0, 200, 200),
            false,
            false,
        ),
        (
            "a file written in place",
            old(),
            file(1, 20, 200, 200),
            false,
            false,
        ),
        (
            "a file written in place, and an event of another",
            old(),
            file(1, 20, 200, 200),
            true,
            false,
        ),
        ("a touched file", old(), file(1, 10, 200, 200), false, false),
        (
            "a file whose mode changed",
            old(),
            file(1, 10, 100, 200),
            false,
            false,
        ),
        (
            "a swapped symlink",
            linked("v1/keys.yaml", 1),
            linked("v2/keys.yaml", 2),
            false,
            true,
        ),
        (
            "a swapped symlink above it",
            below_a_link("v1/keys.yaml", 1),
            below_a_link("v2/keys.yaml", 2),
            false,
            true,
        ),
        (
            "a new link",
            missing(),
            linked("v1/keys.yaml", 1),
            false,
            true,
        ),
        (
            "a new file below a link, being created in place",
            missing(),
            below_a_link("v1/keys.yaml", 1),
            false,
            false,
        ),
        ("a missing file", old(), missing(), true, false),
        (
            "a file that is back",
            missing(),
            file(2, 9, 1, 200),
            false,
            true,
        ),
    ]
}

#[test]
fn what_came_whole_is_read_at_once_and_what_is_written_in_place_when_it_is_still() {
    for (name, before, now, moved, at_once) in cases() {
        let mut tracker = settled(&before);
        let want = if at_once {
            ReloadAdvice::Read
        } else {
            ReloadAdvice::Wait(SETTLE_TIME)
        };
        assert_eq!(tracker.advise(&now, moved, ms(5000)), want, "{name}");
        assert_eq!(
            tracker.advise(&now, false, ms(6000)),
            ReloadAdvice::Read,
            "{name}, still"
        );
    }
}

#[test]
fn every_change_begins_the_second_anew() {
    let mut tracker = settled(&old());
    for (now, size, want) in [
        (5000, 1, ReloadAdvice::Wait(ms(1000))),
        (5900, 1, ReloadAdvice::Wait(ms(100))),
        (5950, 2, ReloadAdvice::Wait(ms(1000))),
        (6900, 2, ReloadAdvice::Wait(ms(50))),
        (6950, 2, ReloadAdvice::Read),
    ] {
        assert_eq!(
            tracker.advise(&file(1, size, 200, 200), false, ms(now)),
            want,
            "at {now}"
        );
    }
}

#[test]
fn what_was_read_at_once_is_read_again_when_it_was_still_and_then_no_more() {
    let mut tracker = settled(&old());
    let renamed = file(2, 10, 90, 200);
    assert_eq!(
        tracker.advise(&renamed, false, ms(5000)),
        ReloadAdvice::Read
    );
    tracker.note_read(renamed.clone(), ms(5010));
    assert_eq!(
        tracker.advise(&renamed, false, ms(5020)),
        ReloadAdvice::Wait(ms(980))
    );
    assert_eq!(
        tracker.advise(&renamed, false, ms(6000)),
        ReloadAdvice::Read
    );
    tracker.note_read(renamed.clone(), ms(6010));
    assert_eq!(
        tracker.advise(&renamed, false, ms(7000)),
        ReloadAdvice::Unchanged
    );
    assert_eq!(
        tracker.advise(&renamed, true, ms(7001)),
        ReloadAdvice::Unchanged
    );
}

#[test]
fn what_changes_while_it_is_read_must_stand_still() {
    let mut tracker = settled(&old());
    let renamed = file(2, 10, 90, 200);
    assert_eq!(
        tracker.advise(&renamed, false, ms(5000)),
        ReloadAdvice::Read
    );
    tracker.note_written_during_read(&renamed);
    assert_eq!(
        tracker.advise(&renamed, true, ms(5001)),
        ReloadAdvice::Wait(SETTLE_TIME)
    );
    // That of the file which was being written says nothing of another one.
    let another = file(3, 10, 90, 200);
    assert_eq!(
        tracker.advise(&another, false, ms(5050)),
        ReloadAdvice::Read
    );
    assert_eq!(
        tracker.advise(&renamed, false, ms(5060)),
        ReloadAdvice::Read,
        "it is whole again"
    );
}

#[test]
fn an_event_of_one_file_says_nothing_of_the_next_that_is_begun_in_its_place() {
    let mut tracker = settled(&old());
    let renamed = file(2, 10, 200, 200);
    assert_eq!(tracker.advise(&renamed, true, ms(5000)), ReloadAdvice::Read);
    let begun = file(3, 1, 200, 200);
    assert_eq!(
        tracker.advise(&begun, false, ms(5001)),
        ReloadAdvice::Wait(SETTLE_TIME)
    );
}

#[test]
fn what_could_not_be_read_is_tried_again_though_it_stays_as_it_is() {
    let mut tracker = settled(&old());
    let renamed = file(2, 10, 90, 200);
    assert_eq!(
        tracker.advise(&renamed, false, ms(5000)),
        ReloadAdvice::Read
    );
    tracker.read_failed(renamed.clone(), ms(5000));
    for again in [5000, 7000, 9000] {
        let waits = ReloadAdvice::Wait(ms(1900));
        assert_eq!(tracker.advise(&renamed, false, ms(again + 100)), waits);
        assert_eq!(
            tracker.advise(&renamed, false, ms(again + 2000)),
            ReloadAdvice::Read
        );
        tracker.read_failed(renamed.clone(), ms(again + 2000));
    }
    // A change is no reason to wait.
    let another = file(3, 10, 90, 200);
    assert_eq!(
        tracker.advise(&another, false, ms(11_100)),
        ReloadAdvice::Read
    );
    tracker.note_read(another.clone(), ms(11_100));
    assert_eq!(
        tracker.advise(&another, false, ms(11_200)),
        ReloadAdvice::Wait(ms(900)),
        "as after any reading"
    );
}

#[test]
fn a_missing_file_is_read_once_and_then_left_alone() {
    let mut tracker = settled(&old());
    let missing = missing();
    assert_eq!(
        tracker.advise(&missing, false, ms(5000)),
        ReloadAdvice::Wait(SETTLE_TIME)
    );
    assert_eq!(
        tracker.advise(&missing, false, ms(6000)),
        ReloadAdvice::Read
    );
    tracker.note_read(missing.clone(), ms(6000));
    assert_eq!(
        tracker.advise(&missing, false, ms(6001)),
        ReloadAdvice::Unchanged
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

    let file = path("keys.yaml");
    let before = Fingerprint::of(&file);
    assert_eq!(Fingerprint::of(&file), before);
    std::os::unix::fs::symlink("..v2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    let swapped = Fingerprint::of(&file);
    assert!(swapped != before && swapped.came_whole_since(&before, false));
    fs::write(path("..v2/keys.yaml"), "keys: [ ]").unwrap();
    let written = Fingerprint::of(&file);
    assert!(written != swapped && !written.came_whole_since(&swapped, true));
    fs::remove_file(&file).unwrap();
    assert_eq!(Fingerprint::of(&file), missing());
}
