//! Events of the directories in which watched files are.
//!
//! Directories and not files: a watch on a file is dead after one swap of Kubernetes' `..data`
//! symlink, or one rename onto the file. An event only says that it is worth looking, and which
//! path was the target of a rename; what changed is decided by looking. The caller polls as well,
//! because some file systems send no events, so a watch that cannot be had or an event that is lost
//! costs time and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Events that may wait: any of them makes the caller look at everything, so more add nothing.
const MAX_WAITING: usize = 64;
/// The pause after an event. One change makes several events, and other files of a busy directory
/// make many: this limits the looks per second.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Something changed in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileEvent {
    /// The target of a rename, if it was one.
    moved: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct DirectoryWatch {
    /// `None` if the system has no watches left.
    watcher: Option<RecommendedWatcher>,
    /// Each with device and inode of the directory that is watched under that path.
    directories: Vec<(PathBuf, Option<(u64, u64)>)>,
    events: mpsc::Receiver<FileEvent>,
    moved: Vec<PathBuf>,
}

impl DirectoryWatch {
    pub(crate) fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let send = move |event: notify::Result<Event>| {
            if let Some(event) = event.ok().and_then(|event| file_event(&event)) {
                // Fails when the queue is full, and then the caller is about to look anyway.
                _ = sender.try_send(event);
            }
        };
        let watcher = notify::recommended_watcher(send);
        if let Err(error) = &watcher {
            tracing::warn!(
                %error,
                "files cannot be watched; changes are found by polling"
            );
        }
        let mut directories: Vec<_> = directories.into_iter().map(|path| (path, None)).collect();
        directories.sort();
        directories.dedup();
        let mut watch = Self {
            watcher: watcher.ok(),
            directories,
            events,
            moved: Vec::new(),
        };
        watch.renew();
        watch
    }

    /// Watches the directories that have been replaced since: a watch stays with the inode, so one
    /// on a directory that was renamed or removed reports nothing any more.
    pub(crate) fn renew(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (path, watched) in &mut self.directories {
            let metadata = std::fs::metadata(&*path).ok();
            let now = metadata.map(|there| (there.dev(), there.ino()));
            if *watched == now {
                continue;
            }
            if watched.is_some() {
                // Fails if the old directory is gone, which ends its watch as well.
                _ = watcher.unwatch(path);
            }
            *watched = match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => now,
                Err(error) => {
                    tracing::debug!(
                        path = %path.display(),
                        %error,
                        "a directory cannot be watched"
                    );
                    None
                }
            };
        }
    }

    /// Waits for an event, but not longer than that. Cancel-safe.
    pub(crate) async fn changed(&mut self, within: Duration) {
        match timeout(within, self.events.recv()).await {
            Err(_) => {}
            Ok(Some(event)) => {
                self.moved.extend(event.moved);
                sleep(DEBOUNCE).await;
            }
            // There is no watcher.
            Ok(None) => sleep(within).await,
        }
    }

    /// The targets of renames that events have reported since the last call.
    pub(crate) fn take_moved(&mut self) -> Vec<PathBuf> {
        while let Ok(event) = self.events.try_recv() {
            self.moved.extend(event.moved);
        }
        std::mem::take(&mut self.moved)
    }
}

/// What an event reports; `None` if nothing changed, since reading a file makes events too.
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
    fn the_target_of_a_rename_is_reported_and_no_other_path() {
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
            let reported = file_event(&event).unwrap();
            assert_eq!(
                reported.moved,
                moved.map(PathBuf::from),
                "{kind:?} {paths:?}"
            );
        }
    }

    #[test]
    fn reading_a_file_is_no_change() {
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
