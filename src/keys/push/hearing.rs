//! Whether changes of keys are heard of, in one word.
//!
//! The word decides what the cache may believe, and is what operators read in `/readyz`. It has a code, so that checks read it
//! without a lock.

/// Whether changes are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Every change is heard.
    Armed,
    /// A change may go unheard: nothing is believed without asking.
    Lost,
    /// No change is heard: the source refuses to push, and what is learnt is believed for its time.
    Refused,
    /// The same because the source does not push, or is not wanted to.
    Off,
}

impl Hearing {
    const ALL: [Self; 4] = [Self::Armed, Self::Lost, Self::Refused, Self::Off];

    /// What has that code; of an unknown one the worst.
    pub(super) fn of_code(code: u8) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|hearing| hearing.code() == code)
            .unwrap_or(Self::Lost)
    }

    /// A number for it.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Armed => 0,
            Self::Lost => 1,
            Self::Refused => 2,
            Self::Off => 3,
        }
    }

    /// What an operator reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Off => "off",
        }
    }
}
