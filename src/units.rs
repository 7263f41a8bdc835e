//! Durations, sizes and moments as people write them, in files and in flags.
//!
//! Each is a number with its unit in the text (`250ms`, `64KiB`) or an RFC 3339 time, and becomes a
//! type that carries the unit. Anything else is refused with what would be right; what was written
//! is not repeated.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationSpec(pub Duration);

/// A size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeSpec(pub u64);

/// A moment, as RFC 3339 has it: `2026-11-01T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpec(pub Timestamp);

/// Text that is not the quantity that was asked for, and after `; ` what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InvalidUnit {
    #[error("not a duration; write a whole number and ms, s, m, h or d, such as 250ms or 30d")]
    Duration,
    #[error("the duration is too long; the longest is 36500d")]
    DurationTooLong,
    #[error("not a size; write a whole number and B, KiB, MiB or GiB, such as 64KiB")]
    Size,
    #[error("the size is too large; the largest is 1048576GiB")]
    SizeTooLarge,
    #[error("not a time; write RFC 3339 with an offset, such as 2026-11-01T00:00:00Z")]
    Time,
    #[error(
        "a time that does not exist; check the day of the month, the hour and the offset, as in 2026-11-01T00:00:00Z"
    )]
    ImpossibleTime,
}

/// A hundred years: beyond it sums with today's date could overflow, and nobody means it.
const MAX_DURATION_MILLIS: u64 = 36_500 * 86_400_000;

/// One pebibyte, so that sums of sizes cannot overflow.
const MAX_SIZE_BYTES: u64 = 1 << 50;

/// Units of time in milliseconds, the largest first.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Units of size in bytes, the largest first.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A whole number and one of `units`, multiplied and at most `max`.
fn quantity(
    text: &str,
    units: &[(&str, u64)],
    max: u64,
    [invalid, too_large]: [InvalidUnit; 2],
) -> Result<u64, InvalidUnit> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(invalid)?;
    let known = units.iter().find(|(name, _)| *name == unit);
    let (_, factor) = known.filter(|_| digits > 0).ok_or(invalid)?;
    let number = number.parse::<u64>().ok();
    let product = number.and_then(|number| number.checked_mul(*factor));
    product.filter(|product| *product <= max).ok_or(too_large)
}

/// The quantity in the largest unit that divides it.
fn write_quantity(
    f: &mut fmt::Formatter<'_>,
    value: u128,
    units: &[(&str, u64)],
    zero: &str,
) -> fmt::Result {
    let divides = |(_, factor): &&(&str, u64)| value.is_multiple_of(u128::from(*factor));
    match units.iter().find(divides).filter(|_| value > 0) {
        Some((name, factor)) => write!(f, "{}{name}", value / u128::from(*factor)),
        None => f.write_str(zero),
    }
}

// === impl DurationSpec ===

impl FromStr for DurationSpec {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let errors = [InvalidUnit::Duration, InvalidUnit::DurationTooLong];
        quantity(text, &TIME_UNITS, MAX_DURATION_MILLIS, errors)
            .map(|millis| Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for DurationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0.as_millis(), &TIME_UNITS, "0s")
    }
}

// === impl SizeSpec ===

impl FromStr for SizeSpec {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let errors = [InvalidUnit::Size, InvalidUnit::SizeTooLarge];
        quantity(text, &SIZE_UNITS, MAX_SIZE_BYTES, errors).map(Self)
    }
}

impl fmt::Display for SizeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, u128::from(self.0), &SIZE_UNITS, "0B")
    }
}

// === impl TimeSpec ===

impl FromStr for TimeSpec {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        if !has_rfc3339_form(text.as_bytes()) {
            return Err(InvalidUnit::Time);
        }
        text.parse()
            .map(Self)
            .map_err(|_| InvalidUnit::ImpossibleTime)
    }
}

/// Whether digits and signs are where RFC 3339 has them; jiff also reads other forms of ISO 8601.
fn has_rfc3339_form(text: &[u8]) -> bool {
    let shape = |bytes: &[u8], shape: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(byte, want)| match want {
                b'0' => byte.is_ascii_digit(),
                b'T' => byte.eq_ignore_ascii_case(&b'T'),
                b'+' => matches!(byte, b'+' | b'-'),
                want => byte == want,
            })
    };
    let Some((head, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let offset = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    shape(head, b"0000-00-00T00:00:00")
        && (offset.eq_ignore_ascii_case(b"Z") || shape(offset, b"+00:00"))
}

impl fmt::Display for TimeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === serde and schema, alike for all three ===

macro_rules! text_in_yaml {
    ($type:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_in_yaml!(
    DurationSpec,
    { "type": "string", "format": "time-span", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["250ms"] }
);
text_in_yaml!(
    SizeSpec,
    { "type": "string", "format": "byte-size", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$", "examples": ["64KiB"] }
);
text_in_yaml!(
    TimeSpec,
    {
        "type": "string",
        "format": "date-time",
        "examples": ["2026-11-01T00:00:00Z"],
        "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        let day = Duration::from_hours(24);
        for (text, want) in [
            ("250ms", Ok(Duration::from_millis(250))),
            ("0s", Ok(Duration::ZERO)),
            ("10m", Ok(Duration::from_mins(10))),
            ("24h", Ok(day)),
            ("30d", Ok(day * 30)),
            ("36501d", Err(InvalidUnit::DurationTooLong)),
            ("99999999999999999999d", Err(InvalidUnit::DurationTooLong)),
            ("5", Err(InvalidUnit::Duration)),
            ("", Err(InvalidUnit::Duration)),
            ("s", Err(InvalidUnit::Duration)),
            ("-5s", Err(InvalidUnit::Duration)),
            ("1.5s", Err(InvalidUnit::Duration)),
            ("5 s", Err(InvalidUnit::Duration)),
            ("1h30m", Err(InvalidUnit::Duration)),
            ("5S", Err(InvalidUnit::Duration)),
        ] {
            let got = text.parse::<DurationSpec>().map(|spec| spec.0);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn sizes_are_a_whole_number_and_a_unit() {
        for (text, want) in [
            ("64KiB", Ok(65_536)),
            ("1MiB", Ok(1 << 20)),
            ("7B", Ok(7)),
            ("64KB", Err(InvalidUnit::Size)),
            ("64", Err(InvalidUnit::Size)),
            ("2000000GiB", Err(InvalidUnit::SizeTooLarge)),
        ] {
            let got = text.parse::<SizeSpec>().map(|spec| spec.0);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn times_are_rfc_3339_and_exist() {
        for (text, want) in [
            ("2026-11-01T00:00:00Z", Ok("2026-11-01T00:00:00Z")),
            ("2026-11-01t02:00:00+02:00", Ok("2026-11-01T00:00:00Z")),
            ("2026-11-01T00:00:00.25Z", Ok("2026-11-01T00:00:00.25Z")),
            ("2024-02-29T00:00:00Z", Ok("2024-02-29T00:00:00Z")),
            ("2026-02-30T00:00:00Z", Err(InvalidUnit::ImpossibleTime)),
            ("2026-02-29T00:00:00Z", Err(InvalidUnit::ImpossibleTime)),
            ("2026-11-01T25:00:00Z", Err(InvalidUnit::ImpossibleTime)),
            ("2026-11-01", Err(InvalidUnit::Time)),
            ("2026-11-01T00:00:00", Err(InvalidUnit::Time)),
            ("20261101T000000Z", Err(InvalidUnit::Time)),
            ("2026-11-01T00:00:00Z[Europe/Paris]", Err(InvalidUnit::Time)),
            ("1793491200", Err(InvalidUnit::Time)),
        ] {
            let got = text.parse::<TimeSpec>().map(|spec| spec.to_string());
            assert_eq!(got, want.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_in_the_largest_unit() {
        for text in ["250ms", "5s", "10m", "1d", "30d", "0s", "1500ms"] {
            assert_eq!(text.parse::<DurationSpec>().unwrap().to_string(), text);
        }
        for text in ["64KiB", "1MiB", "7B", "0B"] {
            assert_eq!(text.parse::<SizeSpec>().unwrap().to_string(), text);
        }
    }
}
