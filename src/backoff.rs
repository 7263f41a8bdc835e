//! Pauses before another attempt.
//!
//! They grow, so that a source that is down is not stormed, and are random, so that many sidecars that lost it in the same
//! moment do not come back in the same moment. Whoever tries again by himself takes his pauses from here.

use std::time::Duration;

/// Pauses that double, each somewhat shortened at random.
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
        whole.saturating_sub(part_of(whole / 4))
    }

    /// All went well: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random part of a time.
pub(crate) fn part_of(whole: Duration) -> Duration {
    // Where there is no randomness, everybody takes half of it.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
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
    fn parts_differ() {
        let parts: std::collections::HashSet<_> =
            (0..20).map(|_| part_of(Duration::from_secs(1))).collect();
        assert!(parts.len() > 1);
    }
}
