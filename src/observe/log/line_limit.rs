//! Limits the lines of denied decisions per second and reason; one line says how many were left
//! out.
//!
//! Each reason has its own window of one second, so that a flood of one reason hides no line of
//! another. Counting takes one or two atomic operations. Lines that are left out are counted apart
//! from those that are written, so that the two together are exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::authz::reason::Reason;

pub(super) struct LineLimits(Box<[LineLimit]>);

/// The window of one reason. All accesses are relaxed: no other memory depends on them.
#[derive(Default)]
struct LineLimit {
    /// Upper half: the second, counted from 1. Lower half: decisions within it.
    window: AtomicU64,
    /// Decisions without a line that have not been reported yet.
    left_out: AtomicU64,
}

/// What to do with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) is_written: bool,
    /// How many earlier ones were left out and are to be reported first.
    pub(super) left_out: u64,
}

impl LineLimits {
    pub(super) fn new() -> Self {
        Self(Reason::ALL.iter().map(|_| LineLimit::default()).collect())
    }

    /// Counts a decision with that reason, of which at most `max` per second leave a line.
    pub(super) fn count(&self, reason: Reason, max: u32, now: Duration) -> Admission {
        let Some(limit) = self.0.get(reason.index()) else {
            return Admission {
                is_written: true,
                left_out: 0,
            };
        };
        let second = second(now);
        let mut is_new = false;
        let mut before = 0;
        // Cannot fail: the closure always gives a next state.
        _ = limit
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
                // A thread that was delayed counts in the current second, never in an earlier one.
                is_new = window >> 32 < second;
                before = if is_new {
                    0
                } else {
                    window & u64::from(u32::MAX)
                };
                let start = if is_new {
                    second << 32
                } else {
                    window - before
                };
                Some(start | (before + 1).min(u64::from(u32::MAX)))
            });
        let is_written = before < u64::from(max);
        let left_out = if is_new { limit.take_left_out() } else { 0 };
        if !is_written {
            limit.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Admission {
            is_written,
            left_out,
        }
    }

    /// Takes the counts of decisions that were left out in seconds that are over.
    pub(super) fn over(&self, now: Duration) -> impl Iterator<Item = (Reason, u64)> {
        let second = second(now);
        self.left_out(move |limit| limit.window.load(Ordering::Relaxed) >> 32 < second)
    }

    /// Takes all counts of decisions that were left out.
    pub(super) fn all(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.left_out(|_| true)
    }

    fn left_out(&self, is_due: impl Fn(&LineLimit) -> bool) -> impl Iterator<Item = (Reason, u64)> {
        let line_limits = Reason::ALL.iter().zip(&self.0);
        let due = line_limits.filter(move |(_, limit)| is_due(limit));
        due.map(|(reason, limit)| (*reason, limit.take_left_out()))
            .filter(|(_, left_out)| *left_out > 0)
    }
}

impl LineLimit {
    fn take_left_out(&self) -> u64 {
        // Read before the exchange: most of the time there is nothing to take.
        if self.left_out.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

/// The second, counted from 1; half of the window holds 136 years.
fn second(now: Duration) -> u64 {
    now.as_secs().saturating_add(1).min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 3;

    #[test]
    fn each_reason_has_so_many_lines_a_second_and_the_rest_is_counted() {
        let line_limits = LineLimits::new();
        let at = Duration::from_millis;
        let count = |reason, millis| {
            let admission = line_limits.count(reason, MAX, at(millis));
            (admission.is_written, admission.left_out)
        };
        for number in 0..10 {
            assert_eq!(count(Reason::MissingKey, 900), (number < 3, 0));
        }
        assert_eq!(
            count(Reason::UnknownKey, 950),
            (true, 0),
            "one hides no other"
        );
        assert_eq!(
            line_limits.over(at(999)).count(),
            0,
            "the second is not over"
        );
        assert_eq!(count(Reason::MissingKey, 1000), (true, 7));
        assert_eq!(count(Reason::MissingKey, 500), (true, 0), "who was held up");
        for _ in 0..5 {
            count(Reason::MissingKey, 1999);
        }
        let over: Vec<_> = line_limits.over(at(2000)).collect();
        assert_eq!(over, [(Reason::MissingKey, 4)]);
        assert_eq!(line_limits.over(at(9000)).count(), 0, "it is told once");
        line_limits.count(Reason::MissingKey, 0, at(9000));
        assert_eq!(line_limits.over(at(9000)).count(), 0);
        assert_eq!(
            line_limits.all().collect::<Vec<_>>(),
            [(Reason::MissingKey, 1)]
        );
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let line_limits = LineLimits::new();
        let written = AtomicU64::new(0);
        let told = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..4000 {
                        let now = Duration::from_millis(number);
                        let admission = line_limits.count(Reason::MissingKey, MAX, now);
                        written.fetch_add(u64::from(admission.is_written), Ordering::Relaxed);
                        told.fetch_add(admission.left_out, Ordering::Relaxed);
                    }
                });
            }
        });
        let rest: u64 = line_limits.all().map(|(_, left_out)| left_out).sum();
        let (written, told) = (written.into_inner(), told.into_inner());
        assert_eq!(written + told + rest, 16_000);
        assert!(written <= 4 * u64::from(MAX), "{written}");
    }
}
