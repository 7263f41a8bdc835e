//! The drain: the server reports that it is not ready, stops accepting, and finishes its calls.
//!
//! Envoy sends checks until its health checks have noticed, so the listener stays open for the
//! drain time, or until no connection is left; only then connections get their GOAWAY. The deadline
//! counts from the signal and cuts off what is left: an orchestrator would do so anyway, and
//! nothing in the log would say so.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::ServeError;
use super::phase::{Lifecycle, Phase};
use super::signals::Signals;
use super::tasks::{ADMIN, Ended, GRPC, RELOAD, Tasks};

/// The time for the admin listener to finish its responses after everything else: a scrape's.
const ADMIN_CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the phases of a drain may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainTimes {
    /// How long connections are still accepted, unless none is open.
    pub(crate) drain: Duration,
    /// From the signal on; calls that are left then are cut off.
    pub(crate) deadline: Duration,
}

/// Drains a server and ends it. `open` is the number of gRPC connections.
pub(crate) async fn drain(
    mut lifecycle: Lifecycle,
    mut tasks: Tasks,
    mut open: watch::Receiver<usize>,
    times: DrainTimes,
    signals: &mut Signals,
) -> Result<(), ServeError> {
    let deadline = sleep(times.deadline);
    lifecycle.enter(Phase::Draining).await;
    tracing::info!(connections = *open.borrow(), "draining");

    let graceful = async {
        // An error means that the listener's task has ended, and with it every connection.
        _ = timeout(times.drain, open.wait_for(|open| *open == 0)).await;
        lifecycle.enter(Phase::Closing).await;
        loop {
            let ended = tasks.next_end().await;
            if ended.name == GRPC && !ended.panicked {
                return Ok(());
            }
            failed(ended)?;
        }
    };
    let outcome = tokio::select! {
        outcome = graceful => outcome,
        () = deadline => {
            tracing::warn!(
                connections = *open.borrow(),
                "the drain deadline has passed; open calls are cut off"
            );
            Ok(())
        }
        () = signals.interrupt() => Err(ServeError::DrainCutShort),
    };
    lifecycle.enter(Phase::Stopped).await;
    if outcome.is_ok() {
        // When the time is up, dropping the set aborts the tasks that are left.
        let rest = async {
            let mut left = vec![ADMIN, RELOAD];
            while !left.is_empty() {
                let ended = tasks.next_end().await;
                left.retain(|name| *name != ended.name);
            }
        };
        _ = timeout(ADMIN_CLOSE_TIMEOUT, rest).await;
        tracing::info!("stopped");
    }
    outcome
}

/// The error of a task that ended while the server needed it.
pub(crate) fn failed(Ended { name, panicked }: Ended) -> Result<(), ServeError> {
    Err(ServeError::TaskEnded {
        task: name,
        panicked,
    })
}
