//! The accept loop of a listener.
//!
//! Connections are tasks in a set that the loop owns: none outlives the listener's task, and the
//! drain can wait for each. `accept` fails for reasons that must not end the loop
//! (RUSTSEC-2024-0376 was that): Linux reports errors of a single connection that is gone already,
//! which are ignored, and the lack of file descriptors, which passes when connections end, so the
//! loop pauses and tries again.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::connections::{Accepted, Connections};
use super::phase::{Phase, PhaseWatch};
use super::socket::{Listener, Socket};
use crate::backoff::Backoff;

/// The first pause after an error that is not a single connection's.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// The longest such pause: the longest that clients wait once file descriptors are free again.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How often connections are checked for peers that do not read their responses.
const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts connections until the phase is `end`, and has `serve` handle each. Then closes the
/// listener and returns when every connection has ended.
pub(crate) async fn serve<F>(
    listener: Listener,
    connections: Connections,
    mut phase: PhaseWatch,
    end: Phase,
    serve: impl Fn(Accepted) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut stall_check = interval(STALL_CHECK_INTERVAL);
    stall_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = phase.reached(end) => break,
            // Ended tasks would otherwise stay in the set.
            Some(ended) = tasks.join_next() => log_panic(ended),
            _ = stall_check.tick() => connections.close_stalled(),
            accepted = connections.accept(&listener) => { tasks.spawn(serve(accepted)); }
        }
    }
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection's task panicked; its peer will reconnect");
    }
}

/// The next connection, and its peer's address if it has one. Cancel-safe.
pub(crate) async fn accept(listener: &Listener) -> (Socket, Option<SocketAddr>) {
    let mut pauses = Backoff::new(MIN_PAUSE, MAX_PAUSE);
    let mut is_logged = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_logged, true) {
                    tracing::warn!(%error, "connections cannot be accepted, trying again");
                }
                tokio::time::sleep(pauses.pause()).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        for (number, passed_over) in [(ECONNABORTED, true), (EMFILE, false)] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_of_one_connection(&error), passed_over, "{error}");
        }
    }
}
