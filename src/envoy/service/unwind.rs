//! Confines a panic to the check that it happened in.
//!
//! A panic is a fault of ours. It may cost the request that met it, and must not cost the connection, over which Envoy
//! sends everybody's checks.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The future panicked; the panic hook has told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs a future to its end or to its panic.
///
/// What the future borrows must bear being left in the middle: a check only reads, but for caches and counters that
/// are whole between any two of their operations.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            // It is not polled again: the end is told at once.
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}
