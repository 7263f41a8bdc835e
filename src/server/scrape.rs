//! One rendering of the metrics for all scrapes of a second.
//!
//! With many keys a rendering takes megabytes and milliseconds, so clients that ask again and again
//! and do not read must not get one each. A small one is not shared: with few keys, two scrapes
//! within a second show what happened in between. Scrapes during a rendering wait for it without
//! holding a thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::clock::Clock;

/// How long a rendering is shared: shorter than any scrape interval.
const SHARE_TIME: Duration = Duration::from_secs(1);
/// Renderings of at least so many bytes are shared: those of some dozens of keys. Smaller ones cost
/// no more than their request.
const SHARED_FROM_BYTES: usize = 64 * 1024;

/// Writes the metrics in Prometheus' text form.
pub(crate) type Render = Box<dyn Fn() -> String + Send + Sync>;
pub(crate) struct Scrapes {
    render: Render,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Duration, Bytes)>>,
}

impl Scrapes {
    /// What `render` writes, once a second where it is large.
    pub(crate) fn new(render: Render, clock: Arc<dyn Clock>) -> Self {
        Self {
            render,
            clock,
            last: Mutex::default(),
        }
    }

    /// The metrics of this second.
    pub(crate) async fn text(&self) -> Bytes {
        let mut last = self.last.lock().await;
        let now = self.clock.monotonic();
        if let Some((rendered, text)) = &*last
            && now.saturating_sub(*rendered) < SHARE_TIME
        {
            return text.clone();
        }
        // First, so that only one of them is in memory.
        *last = None;
        let text = Bytes::from((self.render)());
        if text.len() >= SHARED_FROM_BYTES {
            *last = Some((now, text.clone()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::Timestamp;

    use super::*;

    struct Stopped(Mutex<Duration>);

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    #[tokio::test]
    async fn all_scrapes_of_a_second_share_one_rendering_that_is_large() {
        for (bytes, is_shared) in [(SHARED_FROM_BYTES, true), (SHARED_FROM_BYTES - 1, false)] {
            let clock = Arc::new(Stopped(Mutex::default()));
            let renderings = AtomicUsize::new(0);
            let render = move || {
                let count = renderings.fetch_add(1, Ordering::Relaxed);
                count.to_string() + &" ".repeat(bytes - 1)
            };
            let scrapes = Scrapes::new(Box::new(render), clock.clone());
            let first = scrapes.text().await;
            *clock.0.lock().unwrap() = Duration::from_millis(999);
            let second = scrapes.text().await;
            assert_eq!(first.as_ptr() == second.as_ptr(), is_shared, "not a copy");
            assert_eq!(first == second, is_shared);
            *clock.0.lock().unwrap() = Duration::from_secs(1);
            assert_ne!(scrapes.text().await, second);
        }
    }
}
