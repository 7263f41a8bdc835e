//! Files that a source is reached with, such as a password, or a certificate and its key: when they are to be read again.
//!
//! They are looked at off the threads that serve, and are due when they have changed and two looks in a row saw the same: certificate
//! and key are two files, and some tools replace them one after the other. Whoever reads them says what came of it. What could
//! not be used is due again at the next look, for the reason may have passed without a trace in the files, such as a want of
//! file descriptors; and of each problem is known whether it has been told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Sighting;

/// Files that are read together, and again when they change.
#[derive(Debug, Clone)]
pub(in super::super) struct Followed {
    paths: Arc<[PathBuf]>,
    /// As they were before they were read and could be used.
    used: Vec<Sighting>,
    /// As they were at the last look.
    last: Vec<Sighting>,
    /// The problem that keeps what was read last from being used.
    problem: Option<String>,
}

impl Followed {
    /// Follows files that are about to be read. Blocks.
    pub(in super::super) fn new<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        let paths: Arc<[_]> = paths.cloned().collect();
        let seen = look(&paths);
        Self {
            paths,
            used: seen.clone(),
            last: seen,
            problem: None,
        }
    }

    /// Comes back when they are to be read, looking at them that often; never where there are none.
    pub(in super::super) async fn due(&mut self, look_every: Duration) {
        if self.paths.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(look_every).await;
            let paths = Arc::clone(&self.paths);
            let Ok(seen) = tokio::task::spawn_blocking(move || look(&paths)).await else {
                // One that was stopped is the end of the process.
                continue;
            };
            if self.are_due(seen) {
                return;
            }
        }
    }

    /// Whether they are to be read, given what a look shows.
    fn are_due(&mut self, seen: Vec<Sighting>) -> bool {
        let are_still = seen == self.last;
        self.last = seen;
        if self.last == self.used {
            // What is in use is there again, and nothing is wrong with it.
            self.problem = None;
            return false;
        }
        are_still
    }

    /// What was read when it was due is in use.
    pub(in super::super) fn are_used(&mut self) {
        self.used.clone_from(&self.last);
        self.problem = None;
    }

    /// What was read when it was due cannot be used. Whether this is to be told: not if it was the last time.
    pub(in super::super) fn are_refused(&mut self, problem: &str) -> bool {
        let is_new = self.problem.as_deref() != Some(problem);
        self.problem = Some(problem.to_owned());
        is_new
    }
}

fn look(paths: &[PathBuf]) -> Vec<Sighting> {
    paths.iter().map(|path| Sighting::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changed_and_stands_still_is_due_until_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["cert", "key"].map(|name| directory.path().join(name));
        for path in &paths {
            fs::write(path, "old").unwrap();
        }
        let mut files = Followed::new(paths.iter());
        let due = |files: &mut Followed| files.are_due(look(&paths));
        assert!(!due(&mut files), "nothing changed");
        assert!(!due(&mut files), "nothing changed");

        fs::write(&paths[1], "new!").unwrap();
        assert!(!due(&mut files), "somebody may be writing");
        assert!(due(&mut files), "they stand still");
        assert!(files.are_refused("not the certificate's"), "a new problem");
        assert!(due(&mut files), "the next look");
        assert!(!files.are_refused("not the certificate's"), "told already");
        assert!(due(&mut files), "the next look");
        assert!(files.are_refused("no file descriptors"), "another problem");
        fs::write(&paths[0], "new!").unwrap();
        assert!(!due(&mut files), "somebody may be writing");
        assert!(due(&mut files), "they stand still");
        files.are_used();
        assert!(!due(&mut files), "all is well");
        assert!(!due(&mut files), "all is well");

        fs::remove_file(&paths[0]).unwrap();
        assert!(!due(&mut files), "somebody may be writing");
        assert!(due(&mut files), "one is gone");
        assert!(
            files.are_refused("no file descriptors"),
            "it was well since"
        );
    }

    #[tokio::test]
    async fn files_are_looked_at_until_they_are_due_and_where_there_are_none_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old").unwrap();
        let mut files = Followed::new([&path].into_iter());
        let mut none = Followed::new([].iter());
        let every = Duration::from_millis(1);
        fs::write(&path, "new!").unwrap();
        tokio::select! {
            () = none.due(every) => panic!("there are no files"),
            () = files.due(every) => {}
        }
        assert_eq!(files.last, look(&[path]));
    }
}
