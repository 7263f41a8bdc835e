//! The end of a server: everyone is told, then nobody new is taken in, then what is in flight finishes.
//!
//! Envoy keeps sending for as long as it has not noticed, so listeners stay open for the drain, or until nobody is connected.
//! Only then connections get their GOAWAY. The deadline counts from the signal and cuts off what is left: an orchestrator
//! would do so anyway, without saying so in the log.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::ServeError;
use super::phase::{Lifecycle, Phase};
use super::signals::Signals;
use super::tasks::{ADMIN, Ended, GRPC, RELOAD, Tasks};

/// The admin listener's time to finish what it has begun, after everything else: a scrape's.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// How long an end may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainTimes {
    /// How long to go on taking connections in, unless none is open.
    pub(crate) drain: Duration,
    /// From the beginning on; what is left then is cut off.
    pub(crate) deadline: Duration,
}

/// Brings a server to its end. `open` is how many gRPC connections there are.
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

    let gentle = async {
        // An error means that nothing is open any more, and nothing can be.
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
        outcome = gentle => outcome,
        () = deadline => {
            tracing::warn!(connections = *open.borrow(), "the deadline has come; what is left is cut off");
            Ok(())
        }
        () = signals.interrupt() => Err(ServeError::DrainCutShort),
    };
    lifecycle.enter(Phase::Stopped).await;
    if outcome.is_ok() {
        // Dropping the tasks cuts off what is left of them.
        let rest = async {
            let mut left = vec![ADMIN, RELOAD];
            while !left.is_empty() {
                let ended = tasks.next_end().await;
                left.retain(|name| *name != ended.name);
            }
        };
        _ = timeout(LAST_ANSWERS, rest).await;
        tracing::info!("stopped");
    }
    outcome
}

/// A task ended that was not to.
pub(crate) fn failed(Ended { name, panicked }: Ended) -> Result<(), ServeError> {
    Err(ServeError::TaskEnded {
        task: name,
        panicked,
    })
}
