//! Finds the secret that a request presents, in the credential places that the operator configured.
//!
//! All places are searched, so that a request with two different secrets is refused whatever their
//! order. The secret is borrowed from the request; nothing here copies or prints it.

use std::fmt;

use zeroize::Zeroize;

use super::digest::hex_digit;
use super::reason::Reason;
use super::request::RequestAttributes;
use place::Presented;

mod directions;
mod place;

pub use place::{CredentialLocation, CredentialPlace, QueryStrip, has_scheme};

/// A secret may have at most this many bytes: far more than any real one, and cheap to hash.
pub const MAX_SECRET_BYTES: usize = 512;

/// The places that are looked at, in the operator's order. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialPlaces {
    places: Box<[CredentialPlace]>,
    directions: Box<str>,
    grpc_directions: Box<str>,
}

impl CredentialPlaces {
    /// These places; `None` for an empty list, since then no caller could present a key.
    pub fn new(places: Vec<CredentialPlace>) -> Option<Self> {
        (!places.is_empty()).then(|| Self {
            directions: directions::of_http(&places).into(),
            grpc_directions: directions::of_grpc(&places).into(),
            places: places.into(),
        })
    }

    /// Where a key belongs, as a sentence for the caller.
    pub fn directions(&self) -> &str {
        &self.directions
    }

    /// Where a key belongs, as the end of a sentence for a gRPC client.
    pub fn grpc_directions(&self) -> &str {
        &self.grpc_directions
    }

    /// Every place, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CredentialPlace> {
        self.places.iter()
    }

    /// Whether one of them is a bearer token (RFC 6750 section 2.1), which decides the challenge.
    pub fn has_bearer(&self) -> bool {
        self.iter().any(|place| {
            matches!(&place.location, CredentialLocation::Scheme { name, scheme }
                if &**name == "authorization" && scheme.eq_ignore_ascii_case("bearer"))
        })
    }

    /// The one secret that the request presents, and where; `None` if every place holds nothing.
    ///
    /// # Errors
    /// `ambiguous_key` if a place is filled twice or two places hold different values,
    /// `malformed_key` if the value cannot be a secret.
    pub fn find<'a>(
        &self,
        request: &RequestAttributes<'a>,
    ) -> Result<Option<Credential<'a>>, Reason> {
        let mut presented: Option<Credential<'a>> = None;
        for place in self.iter() {
            match (place.look(request), &presented) {
                (Presented::Nothing, _) => {}
                (Presented::Twice, _) => return Err(Reason::AmbiguousKey),
                (Presented::One(other), Some(first)) if !first.is_same(&other) => {
                    return Err(Reason::AmbiguousKey);
                }
                (Presented::One(credential), _) => presented = Some(credential),
            }
        }
        match presented {
            Some(credential) if !credential.is_well_formed() => Err(Reason::MalformedKey),
            found => Ok(found),
        }
    }
}

/// A secret as presented, borrowed from the request. It has no `Display`, and `Debug` shows nothing
/// of it.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    bytes: &'a [u8],
    percent_encoded: bool,
}

impl<'a> Credential<'a> {
    /// A secret that is in the request as it is, not percent-encoded.
    pub const fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            percent_encoded: false,
        }
    }

    /// Passes the secret's bytes to `use_bytes`, percent-decoded if they come from the query. A
    /// decoded secret is on the stack meanwhile and is wiped afterwards.
    pub fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        if !self.percent_encoded || !self.bytes.contains(&b'%') {
            return use_bytes(self.bytes);
        }
        let mut buffer = [0; MAX_SECRET_BYTES];
        let mut length = 0;
        for (slot, byte) in buffer.iter_mut().zip(self.decoded()) {
            *slot = byte;
            length += 1;
        }
        let result = use_bytes(buffer.get(..length).unwrap_or_default());
        buffer.zeroize();
        result
    }

    fn decoded(&self) -> PercentDecoded<'a> {
        PercentDecoded {
            rest: self.bytes,
            literal: !self.percent_encoded,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.decoded().eq(other.decoded())
    }

    fn is_well_formed(&self) -> bool {
        let mut length = 0_usize;
        self.decoded().all(|byte| {
            length += 1;
            length <= MAX_SECRET_BYTES && byte.is_ascii_graphic()
        })
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// The bytes of a value, percent-decoded once; a `%` without two hex digits stays one.
struct PercentDecoded<'a> {
    rest: &'a [u8],
    literal: bool,
}

impl Iterator for PercentDecoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && !self.literal
            && let Some((high, low)) = hex_digit(*high).zip(hex_digit(*low))
        {
            self.rest = rest;
            return Some(high << 4 | low);
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}

#[cfg(test)]
pub(crate) mod tests;
