//! A problem with files, reported once and not at every attempt to read them.
//!
//! Files that cannot be used are tried again every few seconds, which would fill the log. And a
//! problem with files that are replaced one after the other may be over before it is worth a line.

use std::time::Duration;

/// The current problem, if there is one, and whether it has been reported.
#[derive(Debug, Clone, Default)]
pub struct ReportedProblem(Option<Problem>);

#[derive(Debug, Clone)]
struct Problem {
    text: String,
    /// Since when there has been a problem, if not always the same one.
    since: Duration,
    is_reported: bool,
}

impl ReportedProblem {
    /// Notes the problem at this moment. Whether to report it now: once there has been a problem
    /// for `delay`, and each text only once until [`Self::clear`].
    pub fn should_report(&mut self, text: &str, delay: Duration, now: Duration) -> bool {
        let problem = self.0.get_or_insert_with(|| Problem {
            text: String::new(),
            since: now,
            is_reported: false,
        });
        if problem.text != text {
            text.clone_into(&mut problem.text);
            problem.is_reported = false;
        }
        let is_due = !problem.is_reported && now.saturating_sub(problem.since) >= delay;
        problem.is_reported |= is_due;
        is_due
    }

    /// There is no problem any more.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}
