//! The bound on denied decisions: so many lines a second for each reason, and then one line that says how many were left out.
//!
//! Each reason has a count of its own, so that a flood of one hides nothing of another. Counting is an atomic exchange or two;
//! what is left out is counted apart from what is written, so that the sum of all that is told is exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::authz::reason::Reason;

/// The counts of all reasons.
pub(super) struct Floods(Box<[Flood]>);

/// The count of one reason. Relaxed throughout: nothing is read because of it.
#[derive(Default)]
struct Flood {
    /// In the upper half the second, counted from 1, in the lower how many decisions came in it.
    window: AtomicU64,
    /// Decisions that left no line and were not told of yet.
    left_out: AtomicU64,
}

/// What to do about a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// It leaves a line.
    pub(super) is_written: bool,
    /// How many are to be told of first, that were left out before; 0 for none.
    pub(super) left_out: u64,
}

impl Floods {
    pub(super) fn new() -> Self {
        Self(Reason::ALL.iter().map(|_| Flood::default()).collect())
    }

    /// Counts a decision with that reason, of which `max` a second leave a line.
    pub(super) fn count(&self, reason: Reason, max: u32, now: Duration) -> Counted {
        let Some(flood) = self.0.get(reason.index()) else {
            return Counted {
                is_written: true,
                left_out: 0,
            };
        };
        let second = second(now);
        let mut is_new = false;
        let mut before = 0;
        // Never fails, for there is always a next state.
        _ = flood
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
                // Who was held up on the way counts in the second that has begun meanwhile.
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
        let left_out = if is_new { flood.take_left_out() } else { 0 };
        if !is_written {
            flood.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Counted {
            is_written,
            left_out,
        }
    }

    /// Gives each reason of which decisions were left out in a second that is over, and how many.
    pub(super) fn over(&self, now: Duration) -> impl Iterator<Item = (Reason, u64)> {
        let second = second(now);
        self.left_out(move |flood| flood.window.load(Ordering::Relaxed) >> 32 < second)
    }

    /// Gives each reason of which decisions were left out, and how many.
    pub(super) fn all(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.left_out(|_| true)
    }

    fn left_out(&self, is_due: impl Fn(&Flood) -> bool) -> impl Iterator<Item = (Reason, u64)> {
        let floods = Reason::ALL.iter().zip(&self.0);
        let due = floods.filter(move |(_, flood)| is_due(flood));
        due.map(|(reason, flood)| (*reason, flood.take_left_out()))
            .filter(|(_, left_out)| *left_out > 0)
    }
}

impl Flood {
    fn take_left_out(&self) -> u64 {
        // A look before the exchange: most of the time there is nothing.
        if self.left_out.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

/// The second, counted from 1; 136 years fit into the half of a window.
fn second(now: Duration) -> u64 {
    now.as_secs().saturating_add(1).min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 3;

    #[test]
    fn each_reason_has_so_many_lines_a_second_and_the_rest_is_counted() {
        let floods = Floods::new();
        let at = Duration::from_millis;
        let count = |reason, millis| {
            let counted = floods.count(reason, MAX, at(millis));
            (counted.is_written, counted.left_out)
        };
        for number in 0..10 {
            assert_eq!(count(Reason::MissingKey, 900), (number < 3, 0));
        }
        assert_eq!(
            count(Reason::UnknownKey, 950),
            (true, 0),
            "one hides no other"
        );
        assert_eq!(floods.over(at(999)).count(), 0, "the second is not over");
        assert_eq!(count(Reason::MissingKey, 1000), (true, 7));
        assert_eq!(count(Reason::MissingKey, 500), (true, 0), "who was held up");
        for _ in 0..5 {
            count(Reason::MissingKey, 1999);
        }
        let over: Vec<_> = floods.over(at(2000)).collect();
        assert_eq!(over, [(Reason::MissingKey, 4)]);
        assert_eq!(floods.over(at(9000)).count(), 0, "it is told once");
        floods.count(Reason::MissingKey, 0, at(9000));
        assert_eq!(floods.over(at(9000)).count(), 0);
        assert_eq!(floods.all().collect::<Vec<_>>(), [(Reason::MissingKey, 1)]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let floods = Floods::new();
        let written = AtomicU64::new(0);
        let told = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..4000 {
                        let now = Duration::from_millis(number);
                        let counted = floods.count(Reason::MissingKey, MAX, now);
                        written.fetch_add(u64::from(counted.is_written), Ordering::Relaxed);
                        told.fetch_add(counted.left_out, Ordering::Relaxed);
                    }
                });
            }
        });
        let rest: u64 = floods.all().map(|(_, left_out)| left_out).sum();
        let (written, told) = (written.into_inner(), told.into_inner());
        assert_eq!(written + told + rest, 16_000);
        assert!(written <= 4 * u64::from(MAX), "{written}");
    }
}
