//! Whether changes of keys are heard of, in one word.
//!
//! The word decides what the cache may believe, and is what operators read in `/readyz`. It has a code, so that checks read it
//! without a lock.

/// Whether changes are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// Every change is heard.
    Subscribed,
    /// A change may go unheard: nothing is believed without asking.
    Unsubscribed,
    /// No change is heard: the source refuses to push, and what is learnt is believed for its time.
    Refused,
    /// The same because the source does not push, or is not wanted to.
    Off,
}

impl Subscription {
    const ALL: [Self; 4] = [
        Self::Subscribed,
        Self::Unsubscribed,
        Self::Refused,
        Self::Off,
    ];

    /// What has that code; of an unknown one the worst.
    pub(super) fn of_code(code: u8) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|subscription| subscription.code() == code)
            .unwrap_or(Self::Unsubscribed)
    }

    /// A number for it.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Subscribed => 0,
            Self::Unsubscribed => 1,
            Self::Refused => 2,
            Self::Off => 3,
        }
    }

    /// What an operator reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribed => "armed",
            Self::Unsubscribed => "lost",
            Self::Refused => "refused",
            Self::Off => "off",
        }
    }
}
