//! What an unquoted scalar is, by the rules of YAML 1.2's core schema.
//!
//! The rules are those of `serde_yaml`, to which a test holds them: a value must not depend on
//! whether it was read by way of the tree or straight into its type.

use serde_json::Number;

/// An unquoted scalar, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'s> {
    Null,
    Bool(bool),
    Integer(Number),
    Float(f64),
    Text(&'s str),
}

impl<'s> Scalar<'s> {
    /// Reads `text`; quoted text is text.
    pub(super) fn read(text: &'s str, plain: bool) -> Self {
        if !plain {
            return Self::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
                return Self::Float(f64::INFINITY);
            }
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            _ => {}
        }
        read_number(text).unwrap_or(Self::Text(text))
    }

    /// What it is, for a message.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
        }
    }
}

fn read_number<'s>(text: &str) -> Option<Scalar<'s>> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let (radix, digits) = ["0x", "0o", "0b"]
        .into_iter()
        .zip([16, 8, 2])
        .find_map(|(prefix, radix)| Some((radix, digits.strip_prefix(prefix)?)))
        .unwrap_or((10, digits));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    // 0123 is text to YAML 1.2, neither octal nor a number with a zero before it.
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') && all_digits {
        return None;
    }
    if let Ok(number) = u64::from_str_radix(digits, radix) {
        if !negative {
            return Some(Scalar::Integer(number.into()));
        }
        if let Some(number) = 0_i64.checked_sub_unsigned(number) {
            return Some(Scalar::Integer(number.into()));
        }
    }
    let unsigned_text = text.strip_prefix('+').unwrap_or(text);
    let float: f64 = unsigned_text.parse().ok()?;
    float.is_finite().then_some(Scalar::Float(float))
}

/// Whether an integer may be in the text that is written otherwise than in decimal: `+5`, `-0`,
/// `0x1F`, `0o17`, `0b11`. It may be a false alarm; a digest is none, though it may hold `0b`.
pub(super) fn may_hold_other_integers(text: &str) -> bool {
    // A colon belongs to a word, such as `blake3:0b1e`, unless a quote is in front of it, as in
    // `{"a":0x1F}`.
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-:".contains(byte);
    let mut words = text.as_bytes().split(|byte| !is_inside(byte));
    words.any(|word| {
        let word = word.strip_prefix(b":").unwrap_or(word);
        match word {
            b"-0" | [b'+', b'0'..=b'9', ..] => true,
            [b'-', number @ ..] | number => {
                matches!(number, [b'0', b'x' | b'o' | b'b', ..])
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unquoted_scalar_is_what_serde_yaml_takes_it_for() {
        for text in [
            "",
            "~",
            "null",
            "Null",
            "true",
            "True",
            "yes",
            "on",
            "1",
            "-1",
            "+1",
            "0",
            "-0",
            "0123",
            "-012",
            "0x1F",
            "-0x1F",
            "0o17",
            "0b11",
            "0x",
            "0x-1",
            "1e3",
            "1.5",
            "-1.5",
            "+1.5",
            ".5",
            "1.",
            ".inf",
            "-.inf",
            "1e999",
            "18446744073709551615",
            "-9223372036854775808",
            "--1",
            "+-1",
            "-+1",
            "abc",
            "inf",
            "nan",
            "1_000",
            "0.10",
            "00.5",
            "1000",
            "v1",
        ] {
            use serde_yaml::Value;
            let want: Value = serde_yaml::from_str(text).unwrap_or(Value::Null);
            let got = match Scalar::read(text, true) {
                Scalar::Null => Value::Null,
                Scalar::Bool(value) => value.into(),
                Scalar::Integer(value) => serde_yaml::to_value(value).unwrap(),
                Scalar::Float(value) => value.into(),
                Scalar::Text(value) => value.into(),
            };
            assert_eq!(got, want, "{text:?}");
        }
        assert_eq!(Scalar::read("1", false), Scalar::Text("1"));
    }

    #[test]
    fn a_text_may_hold_an_integer_that_is_not_in_decimal_only_if_one_is_there() {
        for written in ["+5", "-0", "+0", "0x1F", "-0x1F", "+0x1F", "0o17", "0b11"] {
            let value = Scalar::read(written, true);
            assert!(matches!(value, Scalar::Integer(_)), "{written}");
            for text in [
                written.to_owned(),
                format!("a: {written}"),
                format!("a:\t{written}\r\n"),
                format!("a:\n  {written} # b"),
                format!("{{\"a\":{written},'b': 1}}"),
                format!("{{'a':{written}}}"),
                format!("[1,{written}]"),
                format!("[{written},1]"),
                format!("- -\u{85}{written}\u{2028}"),
                format!("a: !!int {written}"),
                format!("a: &b {written}"),
            ] {
                assert!(may_hold_other_integers(&text), "{text}");
            }
        }
        for text in [
            "{id: a-0, digest: blake3:0b1e, at: 2026-11-01T00:00:00+01:00}",
            "{digest: \"blake3-keyed:0b1e\", client: user-0x, n: [1, -1, 10, 0]}",
            "paths: ['/a-0b/**', \"2001:db8::/32\", 10.0.0.0/8] # c++",
        ] {
            assert!(!may_hold_other_integers(text), "{text}");
        }
    }
}
