//! Exponential backoff with jitter, for everything that retries.
//!
//! Pauses grow, so that retries do not overload a source that is down, and are random, so that many
//! sidecars that lost it at once do not all return at once.

use std::time::Duration;

/// Pauses that double, each shortened at random.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next pause: between three quarters of its length and all of it.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        whole.saturating_sub(jitter(whole / 4))
    }

    /// After a success: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Jitter: a random part of a duration.
pub(crate) fn jitter(whole: Duration) -> Duration {
    // Half of it where the operating system gives no random bytes.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for whole in [100, 200, 400, 800, 1600, 2000, 2000] {
            let (pause, whole) = (backoff.pause(), Duration::from_millis(whole));
            assert!(
                pause <= whole && pause >= whole * 3 / 4,
                "{pause:?} of {whole:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }

    #[test]
    fn jitter_differs() {
        let parts: std::collections::HashSet<_> =
            (0..20).map(|_| jitter(Duration::from_secs(1))).collect();
        assert!(parts.len() > 1);
    }
}
