//! The last step of a server: it is ready, follows signals, and drains.
//!
//! The server reports ready only here. A task that ends by itself ends the server,
//! since without it the server would look healthy and would not be.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::super::drain::{self, DrainTimes};
use super::super::error::ServeError;
use super::super::phase::{Lifecycle, Phase};
use super::super::signals::{Signal, Signals};
use super::super::tasks::Tasks;
use crate::clock::Clock;

/// A server whose tasks run.
pub(super) struct Running {
    pub(super) lifecycle: Lifecycle,
    pub(super) tasks: Tasks,
    /// How many gRPC connections are open.
    pub(super) open_connections: watch::Receiver<usize>,
    pub(super) drain_times: DrainTimes,
    pub(super) request_reload: mpsc::Sender<()>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Running {
    /// Says that it is ready, follows signals until one of them stops the server, and drains. A
    /// task that ends before is a failure.
    pub(super) async fn run(mut self, mut signals: Signals) -> Result<(), ServeError> {
        self.lifecycle.enter(Phase::Ready).await;
        let ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(ms, "ready");
        loop {
            tokio::select! {
                ended = self.tasks.next_end() => return drain::failed(ended),
                signal = signals.next() => match signal {
                    Signal::Terminate | Signal::Interrupt => break,
                    // Fails if a request waits already, which will do for both.
                    Signal::Reload => _ = self.request_reload.try_send(()),
                },
            }
        }
        let open = self.open_connections;
        drain::drain(
            self.lifecycle,
            self.tasks,
            open,
            self.drain_times,
            &mut signals,
        )
        .await
    }
}
