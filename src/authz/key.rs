//! A key's stored facts, and whether it is valid at a given time.
//!
//! A `KeyRecord` holds digests, never a secret. It is built from a checked file or answer of a
//! source, so every field is well-formed. Whether it is valid *now* is checked at each request,
//! never when it is loaded.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::digest::KeyDigest;
use super::host::HostPattern;
use super::method::Method;
use super::moment::Moment;
use super::path::PathPattern;
use super::reason::Reason;
use super::scope::Scope;

/// The text is not a name of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has 1 to {max} characters of `{characters}`{but}")]
pub struct InvalidName {
    what: &'static str,
    max: usize,
    characters: &'static str,
    but: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $others:literal) => {
        name_type!($(#[$doc])* $name, $what, $max, $others, "_", " and does not begin with `_`");
    };
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $others:literal, $reserved:literal, $but:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || $others.as_bytes().contains(&byte);
                let is_reserved = !$reserved.is_empty() && text.starts_with($reserved);
                if (1..=$max).contains(&text.len()) && !is_reserved && text.bytes().all(fits) {
                    return Ok(Self(text.into()));
                }
                let characters = concat!("A-Za-z0-9", $others);
                Err(InvalidName { what: $what, max: $max, characters, but: $but })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The public name of a key; survives rotation.
    KeyId, "a key id", 64, "._-"
);
name_type!(
    /// The client that a key belongs to.
    ClientName, "a client", 128, "._:@/-"
);
name_type!(
    /// The name of a plan.
    PlanName, "a plan name", 128, "._:@/-"
);

name_type!(
    /// The name of one of a key's secrets.
    SecretId, "a secret's id", 32, "._-", "", ""
);

/// When something is valid: from `not_before` on, until just before `expires_at`; an absent end is
/// open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// The first moment.
    pub not_before: Option<Moment>,
    /// The first moment that is too late.
    pub expires_at: Option<Moment>,
}

impl Validity {
    /// The span in which both hold.
    fn and(self, other: Self) -> Self {
        let later = self.not_before.max(other.not_before);
        let earlier = match (self.expires_at, other.expires_at) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            not_before: later,
            expires_at: earlier,
        }
    }
}

/// One of a key's secrets, as its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The digest under which it is found.
    pub digest: KeyDigest,
    /// Its name in log and metrics, where it has one; unique in the key. Few have one, and a key of
    /// many pays a word each.
    pub id: Option<Box<SecretId>>,
    /// When this secret is valid; the key's own validity holds as well.
    pub validity: Validity,
}

/// What a key may be used for; an absent list is any, and a list is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restrictions {
    /// Networks of the client's address.
    pub ips: Option<Box<[IpNet]>>,
    /// Hosts, compared strictly.
    pub hosts: Option<Box<[HostPattern]>>,
    /// Paths; the request's must be plain where this is given.
    pub paths: Option<Box<[PathPattern]>>,
    /// Methods, compared case-sensitively (RFC 9110 section 9.1).
    pub methods: Option<Box<[Method]>>,
}

impl Restrictions {
    /// Whether the client's address is in one of the networks; an unknown address is in none.
    pub fn allow_ip(&self, address: Option<IpAddr>) -> bool {
        self.ips
            .as_ref()
            .is_none_or(|nets| address.is_some_and(|ip| nets.iter().any(|net| net.contains(&ip))))
    }

    /// Whether the authority, as sent, is one of the hosts.
    pub fn allow_host(&self, authority: &[u8]) -> bool {
        self.hosts
            .as_ref()
            .is_none_or(|hosts| hosts.iter().any(|host| host.matches_strictly(authority)))
    }

    /// Whether the method is one of those listed.
    pub fn allow_method(&self, method: &[u8]) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|name| name.as_bytes() == method))
    }
}

/// A value of a key's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataValue {
    /// A string, number or boolean, as the text that an identity header would carry.
    Scalar(Box<str>),
    /// Null, a list or a mapping, which no identity header can carry.
    Structured,
}

/// A key's stored facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's name.
    pub id: KeyId,
    /// The client it belongs to; `None` where the record names none, and the id is used instead.
    pub client: Option<ClientName>,
    /// Its secrets, at least one.
    pub secrets: Box<[Secret]>,
    /// `false` while its operator has it disabled.
    pub enabled: bool,
    /// Since when it is revoked, permanently.
    pub revoked_at: Option<Moment>,
    /// When the key as a whole is valid.
    pub validity: Validity,
    /// The plan that it follows.
    pub plan: Option<PlanName>,
    /// Its own scopes; the plan's are added.
    pub scopes: Box<[Scope]>,
    /// What it may be used for; `None` is anything.
    pub restrictions: Option<Box<Restrictions>>,
    /// What its operator wants to know of it, in the order of the record.
    pub metadata: Box<[(Box<str>, MetadataValue)]>,
}

/// Why a known key is not valid at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyNotValid {
    /// `key_revoked`, `key_disabled`, `key_not_yet_valid` or `key_expired`.
    pub reason: Reason,
    /// The moment that decided: of the revocation, of the beginning or of the end.
    pub moment: Option<Timestamp>,
}

impl KeyRecord {
    /// The client that the key belongs to, or its id where it has none.
    pub fn client(&self) -> &str {
        self.client
            .as_ref()
            .map_or(self.id.as_str(), ClientName::as_str)
    }

    /// Whether it is revoked, from whatever moment on, or disabled.
    pub fn is_revoked_or_disabled(&self) -> bool {
        self.revoked_at.is_some() || !self.enabled
    }

    /// The index among its secrets of the one with that digest.
    pub fn secret_with(&self, digest: &KeyDigest) -> Option<usize> {
        let mut secrets = self.secrets.iter();
        secrets.position(|secret| secret.digest == *digest)
    }

    /// Whether the key is valid at that time, presented as that one of its secrets. Without a
    /// secret it is unknown: a record is found by one of its digests, and were it not, no validity
    /// of a secret could be checked.
    ///
    /// # Errors
    /// The first reason against it, in the order of a decision (the table in docs/decisions.md).
    pub fn check(&self, secret: Option<&Secret>, now: Timestamp) -> Result<(), KeyNotValid> {
        let now = Moment::from(now);
        if let Some(revoked_at) = self.revoked_at.filter(|at| *at <= now) {
            return Err(KeyNotValid {
                reason: Reason::KeyRevoked,
                moment: Some(revoked_at.into()),
            });
        }
        if !self.enabled {
            return Err(KeyNotValid {
                reason: Reason::KeyDisabled,
                moment: None,
            });
        }
        let Some(secret) = secret else {
            return Err(KeyNotValid {
                reason: Reason::UnknownKey,
                moment: None,
            });
        };
        let validity = self.validity.and(secret.validity);
        if let Some(not_before) = validity.not_before.filter(|at| now < *at) {
            return Err(KeyNotValid {
                reason: Reason::KeyNotYetValid,
                moment: Some(not_before.into()),
            });
        }
        if let Some(expires_at) = validity.expires_at.filter(|at| *at <= now) {
            return Err(KeyNotValid {
                reason: Reason::KeyExpired,
                moment: Some(expires_at.into()),
            });
        }
        Ok(())
    }

    /// The last moment at which any of its secrets is valid; `None` if one never expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let ends = self
            .secrets
            .iter()
            .map(|secret| self.validity.and(secret.validity).expires_at);
        ends.collect::<Option<Vec<_>>>()
            .and_then(|ends| ends.into_iter().max())
            .map(Timestamp::from)
    }

    /// The value of that metadata member, if it is a scalar.
    pub fn metadata_scalar(&self, name: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find_map(|(member, value)| match value {
                MetadataValue::Scalar(text) if &**member == name => Some(&**text),
                MetadataValue::Scalar(_) | MetadataValue::Structured => None,
            })
    }
}

#[cfg(test)]
pub(crate) mod tests;
