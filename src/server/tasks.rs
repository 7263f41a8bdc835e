//! The background tasks: all in one set, each with a name, none detached.
//!
//! None of them may end while the server serves. If one does, by itself or by a panic, the process
//! ends: a server without its reloads or its metrics looks healthy and is not.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// The task that serves gRPC.
pub(crate) const GRPC: &str = "grpc";
/// The task that serves the admin listener.
pub(crate) const ADMIN: &str = "admin";
/// The task that follows a remote source's changes and failures.
pub(crate) const SOURCE: &str = "source";
/// The task that follows the files.
pub(crate) const RELOAD: &str = "reload";

/// The task that reports denied decisions without a line.
pub(crate) const LOG: &str = "log";

/// The tasks of a server; dropping it ends them all.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) name: &'static str,
    pub(crate) panicked: bool,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Starts a blocking task on a thread of its own. It cannot be aborted, so it must end by
    /// itself.
    pub(crate) fn spawn_blocking(
        &mut self,
        name: &'static str,
        task: impl FnOnce() + Send + 'static,
    ) {
        let id = self.set.spawn_blocking(task).id();
        self.names.insert(id, name);
    }

    /// The next task that ends; never returns if there is none. Cancel-safe.
    pub(crate) async fn next_end(&mut self) -> Ended {
        let (id, panicked) = match self.set.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), error.is_panic()),
        };
        Ended {
            name: self.names.remove(&id).unwrap_or("?"),
            panicked,
        }
    }
}
