//! Files that are read together: when they are due, and when a problem is reported.

use std::fs;

use super::super::files::ReadResult;
use super::super::*;
use super::ms;
use crate::clock::Clock as _;

/// Files that are followed as those of sources are: looked at, with a clock that is moved.
fn followed(names: &[&str]) -> (tempfile::TempDir, Vec<std::path::PathBuf>, WatchedFiles) {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = names
        .iter()
        .map(|name| directory.path().join(name))
        .collect();
    for path in &paths {
        fs::write(path, "old").unwrap();
    }
    let mut files = WatchedFiles::polled(paths.iter());
    assert_eq!(files.note_read(Some(mark("old")), ms(0)), ReadResult::New);
    (directory, paths, files)
}

fn mark(text: &str) -> blake3::Hash {
    blake3::hash(text.as_bytes())
}

#[test]
fn a_pair_is_due_when_it_stands_still_and_a_problem_is_told_once_when_it_lasts() {
    let (_directory, paths, mut files) = followed(&["cert", "key"]);
    let advice = |files: &mut WatchedFiles, at| files.look(ms(at)).advice;
    // What is read at start is read a second time.
    assert_eq!(advice(&mut files, 10), ReloadAdvice::Wait(SETTLE_TIME));
    assert_eq!(advice(&mut files, 1010), ReloadAdvice::Read);
    assert_eq!(
        files.note_read(Some(mark("old")), ms(1010)),
        ReadResult::Same
    );
    assert_eq!(advice(&mut files, 2010), ReloadAdvice::Unchanged);

    fs::write(&paths[1], "new!").unwrap();
    assert_eq!(advice(&mut files, 3000), ReloadAdvice::Wait(SETTLE_TIME));
    assert_eq!(advice(&mut files, 4000), ReloadAdvice::Read);
    assert_eq!(files.note_read(None, ms(4000)), ReadResult::New);
    assert!(
        !files.should_report("no pair", ms(4000)),
        "it may be half-way"
    );
    assert_eq!(advice(&mut files, 5000), ReloadAdvice::Wait(ms(1000)));
    assert_eq!(advice(&mut files, 6000), ReloadAdvice::Read);
    assert_eq!(
        files.note_read(None, ms(6000)),
        ReadResult::Same,
        "tried again"
    );
    assert!(files.should_report("no pair", ms(6000)), "it has lasted");
    assert!(!files.should_report("no pair", ms(8000)), "told already");
    assert!(files.should_report("cannot be read", ms(8001)), "another");

    fs::write(&paths[0], "new!").unwrap();
    assert_eq!(advice(&mut files, 9000), ReloadAdvice::Wait(SETTLE_TIME));
    assert_eq!(advice(&mut files, 10_000), ReloadAdvice::Read);
    assert_eq!(
        files.note_read(Some(mark("new")), ms(10_000)),
        ReadResult::New
    );
    assert_eq!(advice(&mut files, 11_000), ReloadAdvice::Unchanged);
}

#[test]
fn a_file_that_is_replaced_before_it_can_stand_still_is_read_all_the_same() {
    let (directory, paths, mut files) = followed(&["token"]);
    let beside = directory.path().join("beside");
    let mut reads = 0;
    let kept: Vec<_> = (0..20)
        .map(|number| {
            // Its inode is held, so that the next file cannot have it again.
            let held = fs::File::open(&paths[0]).unwrap();
            fs::write(&beside, format!("token {number}")).unwrap();
            fs::rename(&beside, &paths[0]).unwrap();
            let now = ms(5000 + 50 * number);
            if files.look(now).advice == ReloadAdvice::Read {
                files.note_read(Some(mark(&number.to_string())), now);
                reads += 1;
            }
            held
        })
        .collect();
    assert!(reads >= 5, "{reads} of {}", kept.len());
}

#[test]
fn what_is_written_in_place_while_it_is_read_is_not_known() {
    let (_directory, paths, mut files) = followed(&["token"]);
    fs::write(&paths[0], "begun").unwrap();
    files.look(ms(5000));
    assert_eq!(files.look(ms(6000)).advice, ReloadAdvice::Read);
    fs::write(&paths[0], "and not ended").unwrap();
    assert_eq!(
        files.note_read(Some(mark("begun")), ms(6001)),
        ReadResult::Changing
    );
    assert_eq!(files.look(ms(6002)).advice, ReloadAdvice::Wait(SETTLE_TIME));
    assert_eq!(files.look(ms(7002)).advice, ReloadAdvice::Read);
    assert_eq!(
        files.note_read(Some(mark("all")), ms(7002)),
        ReadResult::New
    );
}

#[tokio::test]
async fn files_are_looked_at_until_they_are_due_and_where_there_are_none_for_ever() {
    let (_directory, paths, mut files) = followed(&["token"]);
    let clock = crate::clock::SystemClock::new();
    let mut none = WatchedFiles::polled([].iter());
    let every = Duration::from_millis(1);
    fs::write(&paths[0], "new!").unwrap();
    tokio::select! {
        () = none.due(every, &clock) => panic!("there are no files"),
        () = files.due(every, &clock) => {}
    }
    assert_eq!(
        files.note_read(Some(mark("new!")), clock.monotonic()),
        ReadResult::New
    );
}
