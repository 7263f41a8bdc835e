//! Waiting for a condition: check it until it holds or the deadline has passed.

use std::time::{Duration, Instant};

/// Long enough for two busy cores; a test that needs it all is about to fail.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Between two checks; short, so that a test takes no longer than its subject.
const PAUSE: Duration = Duration::from_millis(5);

/// The first `Some` that `ask` returns.
///
/// # Panics
/// If the deadline has passed; the message contains `what`.
pub async fn until_some<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    some_within(DEADLINE, what, ask).await
}

/// The same with a promised deadline.
pub async fn some_within<T>(
    deadline: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(
            Instant::now() < end,
            "{what}: not so after {} s",
            deadline.as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `ask` returns true.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    until_some(what, async || ask().await.then_some(())).await;
}
