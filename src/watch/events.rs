//! Events of the directories in which watched files lie.
//!
//! Directories and not files: after one swap of Kubernetes' `..data` symlink, or one rename onto it, a watch on a file is
//! dead for ever. Events only say that it is worth looking, and which file came by rename; whoever looks polls as well, for some
//! file systems never tell. So a watch that cannot be had, or an event that is lost, costs time and nothing else.

use std::path::PathBuf;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Events that wait to be looked at; more would tell nothing new.
const MAX_WAITING: usize = 64;
/// Something event in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEvent {
    /// What was moved into place, if that is what event.
    pub(crate) moved: Option<PathBuf>,
}

/// Watches directories.
#[derive(Debug)]
pub(crate) struct DirectoryWatch {
    watcher: Option<RecommendedWatcher>,
    directories: Vec<(PathBuf, Option<(u64, u64)>)>,
    events: mpsc::Receiver<FileEvent>,
}

impl DirectoryWatch {
    /// Watches these directories.
    pub(crate) fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let send = move |event: notify::Result<Event>| {
            if let Some(event) = event.ok().and_then(|event| file_event(&event)) {
                // Full: whoever looks has been woken already.
                _ = sender.try_send(event);
            }
        };
        let watcher = notify::recommended_watcher(send);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files cannot be watched; changes are found by looking every few seconds");
        }
        let mut directories: Vec<_> = directories.into_iter().map(|path| (path, None)).collect();
        directories.sort();
        directories.dedup();
        let mut watch = Self {
            watcher: watcher.ok(),
            directories,
            events,
        };
        watch.renew();
        watch
    }

    /// Watches anew the directories that have been replaced since.
    pub(crate) fn renew(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (path, watched) in &mut self.directories {
            let now = std::fs::metadata(&*path)
                .ok()
                .map(|there| (there.dev(), there.ino()));
            if *watched == now {
                continue;
            }
            if watched.is_some() {
                // Fails where the old one is gone, which is what is wanted.
                _ = watcher.unwatch(path);
            }
            *watched = match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => now,
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "a directory cannot be watched");
                    None
                }
            };
        }
    }

    /// The next thing that happens. May be dropped and called anew.
    pub(crate) async fn next(&mut self) -> FileEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// What has event and was not waited for.
    pub(crate) fn try_next(&mut self) -> Option<FileEvent> {
        self.events.try_recv().ok()
    }
}

/// What an event tells; `None` if nothing changed. Reading files makes events too.
#[expect(clippy::wildcard_enum_match_arm, reason = "of many events few matter")]
fn file_event(event: &Event) -> Option<FileEvent> {
    let moved = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => None,
        EventKind::Access(_) => return None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => event.paths.first(),
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => event.paths.get(1),
        _ => None,
    };
    Some(FileEvent {
        moved: moved.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange};

    use super::*;

    #[test]
    fn a_file_came_by_rename_if_it_was_the_end_of_one() {
        let to = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let both = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        let from = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, paths, moved) in [
            (to, &["/d/keys.yaml"][..], Some("/d/keys.yaml")),
            (both, &["/d/draft", "/d/keys.yaml"], Some("/d/keys.yaml")),
            (both, &["/d/keys.yaml", "/d/old"], Some("/d/old")),
            (from, &["/d/keys.yaml"], None),
            (written, &["/d/keys.yaml"], None),
            (EventKind::Create(CreateKind::File), &["/d/keys.yaml"], None),
        ] {
            let event = paths
                .iter()
                .fold(Event::new(kind), |event, path| event.add_path(path.into()));
            let event = file_event(&event).unwrap();
            assert_eq!(event.moved, moved.map(PathBuf::from), "{kind:?} {paths:?}");
        }
    }

    #[test]
    fn reading_a_file_is_nothing_that_happened() {
        for kind in [
            AccessKind::Open(AccessMode::Any),
            AccessKind::Close(AccessMode::Read),
        ] {
            assert_eq!(
                file_event(&Event::new(EventKind::Access(kind))),
                None,
                "{kind:?}"
            );
        }
        let written = AccessKind::Close(AccessMode::Write);
        assert!(file_event(&Event::new(EventKind::Access(written))).is_some());
    }
}
