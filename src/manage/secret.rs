//! New secrets.
//!
//! Generated from the operating system's randomness, shown once, and wiped from memory when
//! dropped. Their form is that of [`secret_format`](crate::secret_format).

use std::fmt;

use zeroize::Zeroizing;

use crate::authz::digest::{Digester, KeyDigest};
use crate::secret_format::{CHECKSUM_CHARS, PREFIX, RANDOM_CHARS, checksum, digit};

/// A secret that was just generated. It is wiped from memory when it is dropped.
pub struct NewSecret(Zeroizing<String>);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes for a secret: {0}")]
pub struct NoRandomness(getrandom::Error);

// === impl NewSecret ===

impl NewSecret {
    /// A secret made of the operating system's randomness.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate() -> Result<Self, NoRandomness> {
        // Allocated whole, since growing would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(
            PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS,
        ));
        text.push_str(PREFIX);
        let mut random = Zeroizing::new([0_u8; 64]);
        while text.len() < PREFIX.len() + RANDOM_CHARS {
            getrandom::fill(&mut *random).map_err(NoRandomness)?;
            let missing = PREFIX.len() + RANDOM_CHARS - text.len();
            // Bytes from 248 on are discarded: 256 is no multiple of 62, and they would make the
            // first characters more likely.
            let digits = random.iter().filter(|byte| **byte < 248).take(missing);
            text.extend(digits.map(|byte| digit(u32::from(*byte))));
        }
        let sum = checksum(&text);
        text.extend(sum);
        Ok(Self(text))
    }

    /// The secret, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its digest, of the kind that new secrets get.
    pub fn digest(&self, digester: &Digester) -> KeyDigest {
        digester.digest(digester.preferred(), self.0.as_bytes())
    }
}

impl fmt::Debug for NewSecret {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::authz::digest::DigestKind;
    use crate::secret_format::is_intact;

    #[test]
    fn new_secrets_are_visible_ascii_with_their_own_checksum_and_differ() {
        let secrets: Vec<_> = (0..100).map(|_| NewSecret::generate().unwrap()).collect();
        for secret in &secrets {
            let text = secret.expose();
            assert_eq!(text.len(), 41);
            assert!(text.starts_with("kw_") && text.bytes().all(|b| b.is_ascii_graphic()));
            assert!(is_intact(text), "{text}");
            assert!(!format!("{secret:?}").contains(text));
        }
        let different: HashSet<_> = secrets.iter().map(NewSecret::expose).collect();
        assert_eq!(different.len(), 100);
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_repeated() {
        let secret = NewSecret::generate().unwrap();
        for length in [PREFIX.len(), 12, secret.expose().len()] {
            let name = secret.expose().get(..length).unwrap();
            let text = format!("keys: [{{{name}: 1, {name}: 2}}]");
            let read = crate::yaml::tests::read_as::<crate::keys::record::KeysSpec>(&text);
            let problems = read.unwrap_err().to_string();
            assert!(!problems.contains(name), "{problems}");
        }
    }

    #[test]
    fn any_changed_character_shows() {
        let secret = NewSecret::generate().unwrap();
        let text = secret.expose();
        for place in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
            assert!(
                !is_intact(std::str::from_utf8(&changed).unwrap()),
                "at {place}"
            );
        }
        for other in [
            "",
            "kw_",
            text.get(..40).unwrap(),
            &format!("{text}0"),
            "kw_ä",
        ] {
            assert!(!is_intact(other), "{other}");
        }
    }

    #[test]
    fn its_digest_is_the_one_that_it_is_found_by() {
        let digester = Digester::new(vec![DigestKind::Blake3], None).unwrap();
        let secret = NewSecret::generate().unwrap();
        let want = blake3::hash(secret.expose().as_bytes());
        assert_eq!(secret.digest(&digester).hex(), want.to_hex().as_str());
    }
}
