//! The digest of a secret: the only form in which a secret is looked up, stored, sent or logged.
//!
//! `blake3:<64 hex>` is BLAKE3 of the secret's bytes; `blake3-keyed:<64 hex>` is BLAKE3's keyed
//! hash under `derive_key("keyward api key digest v1", pepper)`, so that a stolen key file alone
//! does not reveal weak secrets. API keys are random and long, so a fast hash is enough, and a slow
//! one would only help an attacker who floods keyward.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::str::FromStr;

use zeroize::Zeroizing;

use super::credential::Credential;

/// The context string of BLAKE3's key derivation; part of the digest format.
const PEPPER_CONTEXT: &str = "keyward api key digest v1";

/// How a digest is made of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestKind {
    /// BLAKE3 of the secret.
    Blake3,
    /// BLAKE3 of the secret, keyed with the pepper.
    Blake3Keyed,
}

impl DigestKind {
    /// The name before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Blake3Keyed => "blake3-keyed",
        }
    }
}

impl fmt::Display for DigestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The digest of a secret: its kind and 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyDigest {
    kind: DigestKind,
    bytes: [u8; 32],
}

impl KeyDigest {
    /// A digest of that kind and those bytes.
    pub const fn new(kind: DigestKind, bytes: [u8; 32]) -> Self {
        Self { kind, bytes }
    }

    /// How it was made.
    pub const fn kind(&self) -> DigestKind {
        self.kind
    }

    /// The 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        use fmt::Write;
        self.bytes
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// The first eight bytes are as good a hash as any: they are BLAKE3's output. `DigestHasher` mixes
/// in a seed.
impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(
            self.bytes
                .first_chunk()
                .map_or(0, |first| u64::from_le_bytes(*first)),
        );
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.hex())
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

/// Why a text is not a digest. It does not repeat the text, which may be a secret pasted by
/// mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// No `blake3:` or `blake3-keyed:` in front.
    #[error("not a digest, it begins with neither `blake3:` nor `blake3-keyed:`")]
    Kind,
    /// Not 64 hex digits after the colon.
    #[error("a digest has 64 hex digits after the colon, this has {0} characters")]
    Length(usize),
    /// A character that is no hex digit.
    #[error("a digest has only hex digits after the colon")]
    Hex,
}

impl FromStr for KeyDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (kind, hex) = match text.split_once(':') {
            Some(("blake3", hex)) => (DigestKind::Blake3, hex),
            Some(("blake3-keyed", hex)) => (DigestKind::Blake3Keyed, hex),
            Some(_) | None => return Err(InvalidDigest::Kind),
        };
        let hex = hex.as_bytes();
        if hex.len() != 64 {
            return Err(InvalidDigest::Length(
                String::from_utf8_lossy(hex).chars().count(),
            ));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else {
                return Err(InvalidDigest::Hex);
            };
            *byte = hex_digit(*high)
                .zip(hex_digit(*low))
                .map(|(h, l)| h << 4 | l)
                .ok_or(InvalidDigest::Hex)?;
        }
        Ok(Self { kind, bytes })
    }
}

/// The value of an ASCII hex digit.
pub(crate) const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The deployment's secret, under which keyed digests are made.
pub struct Pepper {
    key: Zeroizing<[u8; 32]>,
}

/// A pepper must have at least this many bytes, one final newline not counted: as many as BLAKE3's
/// key.
pub const PEPPER_MIN_BYTES: usize = 32;

impl Pepper {
    /// The pepper of a file's content; one final newline is not part of it. `None` if it is too
    /// short.
    pub fn new(content: &[u8]) -> Option<Self> {
        let content = content
            .strip_suffix(b"\n")
            .map_or(content, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
        (content.len() >= PEPPER_MIN_BYTES).then(|| Self {
            key: Zeroizing::new(blake3::derive_key(PEPPER_CONTEXT, content)),
        })
    }
}

/// Shows nothing of it.
impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// Makes the digests under which a secret is looked up.
#[derive(Debug)]
pub struct Digester {
    accept: Vec<DigestKind>,
    pepper: Option<Pepper>,
}

/// Keyed digests are wanted and there is no pepper, or a list is empty or has a kind twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigester {
    /// `blake3-keyed` without a pepper.
    #[error("`blake3-keyed` needs a pepper")]
    NoPepper,
    /// No kind at all.
    #[error("no digest kind is accepted")]
    Empty,
    /// A kind twice.
    #[error("`{0}` is named twice")]
    Repeated(DigestKind),
}

impl Digester {
    /// A digester for these kinds, in the order in which they are looked up.
    pub fn new(accept: Vec<DigestKind>, pepper: Option<Pepper>) -> Result<Self, InvalidDigester> {
        if accept.is_empty() {
            return Err(InvalidDigester::Empty);
        }
        if pepper.is_none() && accept.contains(&DigestKind::Blake3Keyed) {
            return Err(InvalidDigester::NoPepper);
        }
        for (index, kind) in accept.iter().enumerate() {
            if accept.iter().skip(index + 1).any(|other| other == kind) {
                return Err(InvalidDigester::Repeated(*kind));
            }
        }
        Ok(Self { accept, pepper })
    }

    /// The kinds that are looked up, in order. Never empty.
    pub fn accept(&self) -> &[DigestKind] {
        &self.accept
    }

    /// The kind that new digests are made with: keyed where there is a pepper.
    pub fn preferred(&self) -> DigestKind {
        if self.pepper.is_some() {
            DigestKind::Blake3Keyed
        } else {
            DigestKind::Blake3
        }
    }

    /// The digests of a presented secret, in the order in which they are looked up.
    pub fn digests<'d>(
        &'d self,
        credential: &'d Credential<'_>,
    ) -> impl Iterator<Item = KeyDigest> + 'd {
        self.accept
            .iter()
            .map(move |kind| credential.with_bytes(|secret| self.digest(*kind, secret)))
    }

    /// The digest of that kind of a secret's bytes. Without a pepper a keyed digest is made under
    /// the key of an empty one; `new` refuses to accept that kind then, so that none is ever looked
    /// up.
    pub fn digest(&self, kind: DigestKind, secret: &[u8]) -> KeyDigest {
        let hash = match (kind, &self.pepper) {
            (DigestKind::Blake3, _) => blake3::hash(secret),
            (DigestKind::Blake3Keyed, Some(pepper)) => blake3::keyed_hash(&pepper.key, secret),
            (DigestKind::Blake3Keyed, None) => {
                blake3::keyed_hash(&blake3::derive_key(PEPPER_CONTEXT, b""), secret)
            }
        };
        KeyDigest::new(kind, hash.into())
    }
}

/// Hashes digests for maps and caches with one multiplication under a random seed. Callers choose
/// the digests of unknown keys: without a seed they could make them collide in a table.
#[derive(Debug, Clone)]
pub struct DigestHasher {
    seed: u64,
}

impl Default for DigestHasher {
    fn default() -> Self {
        Self {
            seed: RandomState::new().hash_one(0_u64),
        }
    }
}

impl BuildHasher for DigestHasher {
    type Hasher = FoldedHash;

    fn build_hasher(&self) -> FoldedHash {
        FoldedHash { state: self.seed }
    }
}

/// The state of one hash made by `DigestHasher`.
#[derive(Debug)]
pub struct FoldedHash {
    state: u64,
}

impl Hasher for FoldedHash {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // An odd constant with well-spread bits: the fractional part of the golden ratio.
        let product = u128::from(self.state ^ value) * 0x9e37_79b9_7f4a_7c15_u128;
        let bytes = product.to_le_bytes();
        let half = |chunk: Option<&[u8; 8]>| chunk.map_or(0, |half| u64::from_le_bytes(*half));
        self.state = half(bytes.first_chunk()) ^ half(bytes.last_chunk());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of BLAKE3's paper for empty input.
    const EMPTY: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    fn plain() -> Digester {
        Digester::new(vec![DigestKind::Blake3], None).unwrap()
    }

    #[test]
    fn a_digest_reads_back_as_it_is_written() {
        let digest = plain().digest(DigestKind::Blake3, b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(digest));
        assert_eq!(
            EMPTY.to_uppercase().replace("BLAKE3", "blake3").parse(),
            Ok(digest)
        );
    }

    #[test]
    fn what_is_not_a_digest_is_refused_without_repeating_it() {
        for (text, error) in [
            ("", InvalidDigest::Kind),
            ("sk_live_canary", InvalidDigest::Kind),
            ("sha256:00", InvalidDigest::Kind),
            ("blake3:", InvalidDigest::Length(0)),
            ("blake3:00", InvalidDigest::Length(2)),
            (&EMPTY.replace("af1", "ag1"), InvalidDigest::Hex),
        ] {
            let refused = text.parse::<KeyDigest>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("canary"));
        }
    }

    #[test]
    fn keyed_digests_depend_on_the_pepper_and_one_final_newline_does_not_count() {
        let keyed = |pepper: &[u8]| {
            Digester::new(vec![DigestKind::Blake3Keyed], Pepper::new(pepper))
                .unwrap()
                .digest(DigestKind::Blake3Keyed, b"secret")
        };
        let pepper = [b'p'; 32];
        let newline = [&pepper[..], b"\n"].concat();
        assert_eq!(keyed(&pepper), keyed(&newline));
        assert_ne!(keyed(&pepper), keyed(&[b'q'; 32]));
        let by_hand = blake3::keyed_hash(
            &blake3::derive_key("keyward api key digest v1", &pepper),
            b"secret",
        );
        assert_eq!(keyed(&pepper).hex(), by_hand.to_hex().as_str());
    }

    #[test]
    fn a_short_pepper_is_none() {
        assert!(Pepper::new(&[b'p'; 31]).is_none());
        assert!(Pepper::new(&[&[b'p'; 31][..], b"\n"].concat()).is_none());
    }

    #[test]
    fn kinds_are_accepted_once_and_keyed_only_with_a_pepper() {
        let kinds = |accept: &[DigestKind]| Digester::new(accept.to_vec(), None).map(|_| ());
        assert_eq!(kinds(&[]), Err(InvalidDigester::Empty));
        assert_eq!(
            kinds(&[DigestKind::Blake3Keyed]),
            Err(InvalidDigester::NoPepper)
        );
        assert_eq!(
            kinds(&[DigestKind::Blake3, DigestKind::Blake3]),
            Err(InvalidDigester::Repeated(DigestKind::Blake3))
        );
    }
}
