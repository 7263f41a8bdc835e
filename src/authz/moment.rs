//! A timestamp in eight bytes, also where it may be absent.
//!
//! Every key in a file has five of them, most of them absent; as `Timestamp`s they would take half
//! of a key's memory. The precision is a microsecond, rounded down: nothing ends later than it
//! says, and nothing begins over a microsecond early.

use std::fmt;
use std::num::NonZeroU64;

use jiff::Timestamp;

/// A moment on the wall clock, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(NonZeroU64);

/// With the sign bit turned over, unsigned numbers sort as signed ones did, and no moment that can
/// be written is zero.
const SIGN: u64 = 1 << 63;

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        let number = time.as_microsecond().cast_unsigned() ^ SIGN;
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        let microseconds = (moment.0.get() ^ SIGN).cast_signed();
        // Only timestamps are made into moments, so that the way back cannot fail.
        Self::from_microsecond(microseconds).unwrap_or(Self::MIN)
    }
}

/// As RFC 3339 has it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_timestamps_cut_to_the_microsecond_and_sort_like_them() {
        let texts = [
            "-009999-01-03T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00Z",
            "2026-11-22T21:33:15.123456Z",
            "9999-12-30T00:00:00Z",
        ];
        let times = texts.map(|text| text.parse::<Timestamp>().unwrap());
        assert!(times.map(Moment::from).is_sorted());
        for time in times {
            assert_eq!(Timestamp::from(Moment::from(time)), time);
        }
        let fine: Timestamp = "2026-11-22T21:33:15.1234569Z".parse().unwrap();
        assert_eq!(Moment::from(fine), Moment::from(times[3]));
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
