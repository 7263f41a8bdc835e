//! The form of the secrets that keyward makes: `kw_`, 32 random characters, and six that check the
//! others.
//!
//! The prefix lets scanners of repositories and logs recognise one; the CRC-32 of what stands
//! before it tells a secret from text that only looks like one, and a mistyped one from an unknown
//! one, without a lookup. Only new secrets have this form: any visible ASCII may be presented, and
//! imported secrets keep theirs. Every module may ask here whether a text must not be printed.

/// What every new secret begins with.
pub const PREFIX: &str = "kw_";

/// Random characters: 62³² is 190 bits, beyond any guessing.
pub(crate) const RANDOM_CHARS: usize = 32;

/// Characters that hold 32 bits of checksum in base 62.
pub(crate) const CHECKSUM_CHARS: usize = 6;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether the text may hold a secret that keyward made, or a part of one, so that it must not be
/// printed.
pub fn may_hold_secret(text: &str) -> bool {
    text.to_ascii_lowercase().contains(PREFIX)
}

/// Whether the text may be one of our secrets, or most of one, in the place of something else.
pub fn looks_like_one(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX);
    rest.is_some_and(|rest| {
        rest.len() >= RANDOM_CHARS / 2 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Whether the text has the form of our secrets and its checksum is right.
pub fn is_intact(text: &str) -> bool {
    let checked = text
        .len()
        .checked_sub(CHECKSUM_CHARS)
        .and_then(|at| text.split_at_checked(at));
    checked.is_some_and(|(before, sum)| {
        before
            .strip_prefix(PREFIX)
            .is_some_and(|random| random.len() == RANDOM_CHARS)
            && sum.chars().eq(checksum(before))
    })
}

/// The digit in base 62 for the last place of a number.
pub(crate) fn digit(number: u32) -> char {
    let place = usize::try_from(number % 62).unwrap_or_default();
    BASE62.get(place).copied().map_or('0', char::from)
}

/// The CRC-32 of `text` in base 62, the last place first.
pub(crate) fn checksum(text: &str) -> impl Iterator<Item = char> + use<> {
    let mut rest = crc32fast::hash(text.as_bytes());
    std::iter::repeat_with(move || {
        let digit = digit(rest);
        rest /= 62;
        digit
    })
    .take(CHECKSUM_CHARS)
}
