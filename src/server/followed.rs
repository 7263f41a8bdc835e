//! A file or directory that is followed: when it is to be read, and whether what it says has been told already.
//!
//! Joins what events tell (something was moved here) with what a look shows, for the judgement of `keys::stillness`. It
//! reads no content; whoever does tells it what became of that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{Facts, Taken};
use super::watch::Happened;
use crate::keys::stillness::{Advice, Sighting, Stillness};

/// A file or directory that is read again when it changes.
#[derive(Debug)]
pub(crate) struct Followed {
    /// As the configuration names it.
    path: PathBuf,
    /// As events name it.
    absolute: PathBuf,
    stillness: Stillness,
    read: Sighting,
    /// What the last look saw and judged.
    seen: Sighting,
    hash: Option<blake3::Hash>,
    moved: bool,
    told: Option<String>,
}

/// Parts what was read from what follows it.
pub(crate) fn split<T>(path: &Path, taken: Taken<T>) -> (T, Followed) {
    (taken.outcome, Followed::new(path, taken.facts))
}

/// What a look at it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// What to do.
    pub(crate) advice: Advice,
    /// Whether somebody may be writing it just now, so that nobody should read it.
    pub(crate) in_flux: bool,
}

impl Look {
    /// Where there is nothing to look at.
    pub(crate) const NOTHING: Self = Self {
        advice: Advice::Unchanged,
        in_flux: false,
    };
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It is to be taken for what it says.
    New,
    /// It says what it said before, and nobody touched it: it was read once more to be sure.
    Same,
    /// It changed while it was read.
    Unknown,
}

impl Followed {
    /// Follows a path that was just read.
    fn new(path: &Path, facts: Facts) -> Self {
        Self {
            path: path.to_owned(),
            absolute: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            stillness: Stillness::new(facts.sighting.clone()),
            seen: facts.sighting.clone(),
            read: facts.sighting,
            hash: facts.hash,
            moved: false,
            told: None,
        }
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory whose events tell of changes.
    pub(crate) fn directory(&self) -> PathBuf {
        if self.absolute.is_dir() {
            return self.absolute.clone();
        }
        self.absolute.parent().unwrap_or(&self.absolute).to_owned()
    }

    /// Notes what happened in some directory.
    pub(crate) fn note(&mut self, happened: &Happened) {
        self.moved |= happened.moved_into(&self.absolute);
    }

    /// What to do now. Blocks for a few calls to the file system.
    pub(crate) fn look(&mut self, now: Duration) -> Look {
        let moved = std::mem::take(&mut self.moved);
        let seen = Sighting::of(&self.path);
        let advice = self.stillness.judge(&seen, moved, now);
        let in_flux = matches!(advice, Advice::Wait(_)) && seen != self.read;
        self.seen = seen;
        Look { advice, in_flux }
    }

    /// Whether what was read is what the last look judged: nobody began to write it since.
    pub(crate) fn is_as_judged(&self, facts: &Facts) -> bool {
        !facts.changing && facts.sighting == self.seen
    }

    /// Notes that it was read.
    pub(crate) fn was_read(&mut self, facts: Facts, now: Duration) -> News {
        if !self.is_as_judged(&facts) {
            self.stillness.was_changing();
            return News::Unknown;
        }
        let untouched = facts.sighting == self.read;
        let same = untouched && facts.hash == self.hash;
        self.stillness.was_read(facts.sighting.clone(), now);
        self.read = facts.sighting;
        self.hash = facts.hash;
        if same { News::Same } else { News::New }
    }

    /// Whether this problem is another one than was told last.
    pub(crate) fn is_untold(&mut self, problem: &str) -> bool {
        let untold = self.told.as_deref() != Some(problem);
        if untold {
            self.told = Some(problem.to_owned());
        }
        untold
    }

    /// Forgets what was told: all is well again.
    pub(crate) fn is_well(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &Path) -> Facts {
        Facts {
            sighting: Sighting::of(path),
            hash: std::fs::read(path)
                .ok()
                .map(|content| blake3::hash(&content)),
            changing: false,
        }
    }

    #[test]
    fn what_began_to_be_written_after_the_look_is_not_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.yaml");
        std::fs::write(&path, "keys: []").unwrap();
        let taken = Taken {
            outcome: (),
            facts: facts(&path),
        };
        let ((), mut followed) = split(&path, taken);
        followed.look(Duration::ZERO);
        std::fs::write(&path, "keys: [] # and half of mo").unwrap();
        assert!(!followed.is_as_judged(&facts(&path)));
        assert_eq!(
            followed.was_read(facts(&path), Duration::ZERO),
            News::Unknown
        );
        followed.look(Duration::ZERO);
        assert!(followed.is_as_judged(&facts(&path)));
        assert_eq!(followed.was_read(facts(&path), Duration::ZERO), News::New);
    }
}
