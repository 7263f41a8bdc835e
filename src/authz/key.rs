//! A key's stored facts, and what follows from them at a moment.
//!
//! A `KeyRecord` holds digests, never a secret. It is built from a checked file or answer of a source, so that every
//! field already has its form; whether it is valid *now* is judged at each request, never when it is loaded.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::digest::KeyDigest;
use super::host::HostPattern;
use super::path::PathPattern;
use super::reason::Reason;
use super::scope::Scope;

/// The text is not a name of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has 1 to {max} characters of `{characters}` and does not begin with `_`")]
pub struct InvalidName {
    what: &'static str,
    max: usize,
    characters: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $others:literal) => {
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
                if (1..=$max).contains(&text.len()) && !text.starts_with('_') && text.bytes().all(fits) {
                    return Ok(Self(text.into()));
                }
                Err(InvalidName { what: $what, max: $max, characters: concat!("A-Za-z0-9", $others) })
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
    /// Whom a key stands for.
    ClientName, "a client", 128, "._:@/-"
);
name_type!(
    /// The name of a plan.
    PlanName, "a plan name", 128, "._:@/-"
);

/// When something is valid: from `not_before` on, until just before `expires_at`; an absent end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// The first moment.
    pub not_before: Option<Timestamp>,
    /// The first moment that is too late.
    pub expires_at: Option<Timestamp>,
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
    /// Methods, compared to the letter (RFC 9110 section 9.1).
    pub methods: Option<Box<[Box<str>]>>,
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
    /// Null, a list or a mapping: kept, but no identity header can carry it.
    Structured,
}

/// A key's stored facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's name.
    pub id: KeyId,
    /// Whom it stands for; `None` where the record names nobody, and the id stands in.
    pub client: Option<ClientName>,
    /// Its secrets, at least one.
    pub secrets: Box<[Secret]>,
    /// `false` while its operator has it switched off.
    pub enabled: bool,
    /// Since when it is revoked, for ever.
    pub revoked_at: Option<Timestamp>,
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

/// Why a known key does not count at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotValid {
    /// `key_revoked`, `key_disabled`, `key_not_yet_valid` or `key_expired`.
    pub reason: Reason,
    /// The moment that decided: of the revocation, of the beginning or of the end.
    pub moment: Option<Timestamp>,
}

impl KeyRecord {
    /// Whom the key stands for: its client, or its id where it has none.
    pub fn client(&self) -> &str {
        self.client
            .as_ref()
            .map_or(self.id.as_str(), ClientName::as_str)
    }

    /// Whether the key counts at that moment, presented as the secret with that digest.
    ///
    /// # Errors
    /// The first reason against it, in the order of section 5 of the contract.
    pub fn judge(&self, digest: &KeyDigest, now: Timestamp) -> Result<(), NotValid> {
        if let Some(revoked_at) = self.revoked_at.filter(|at| *at <= now) {
            return Err(NotValid {
                reason: Reason::KeyRevoked,
                moment: Some(revoked_at),
            });
        }
        if !self.enabled {
            return Err(NotValid {
                reason: Reason::KeyDisabled,
                moment: None,
            });
        }
        // A record is found by one of its digests; were it not, no secret's validity would vouch for this one.
        let Some(secret) = self.secrets.iter().find(|secret| secret.digest == *digest) else {
            return Err(NotValid {
                reason: Reason::UnknownKey,
                moment: None,
            });
        };
        let validity = self.validity.and(secret.validity);
        if let Some(not_before) = validity.not_before.filter(|at| now < *at) {
            return Err(NotValid {
                reason: Reason::KeyNotYetValid,
                moment: Some(not_before),
            });
        }
        if let Some(expires_at) = validity.expires_at.filter(|at| *at <= now) {
            return Err(NotValid {
                reason: Reason::KeyExpired,
                moment: Some(expires_at),
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
pub(crate) mod tests {
    use super::*;
    use crate::authz::digest::DigestKind;

    /// A key with one secret that never expires.
    pub(crate) fn record(id: &str) -> KeyRecord {
        KeyRecord {
            id: id.parse().unwrap(),
            client: None,
            secrets: [Secret {
                digest: digest_of(id),
                validity: Validity::default(),
            }]
            .into(),
            enabled: true,
            revoked_at: None,
            validity: Validity::default(),
            plan: None,
            scopes: Box::default(),
            restrictions: None,
            metadata: Box::default(),
        }
    }

    /// The digest of a secret that equals the id of its key.
    pub(crate) fn digest_of(secret: &str) -> KeyDigest {
        KeyDigest::new(DigestKind::Blake3, blake3::hash(secret.as_bytes()).into())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn span(not_before: Option<i64>, expires_at: Option<i64>) -> Validity {
        Validity {
            not_before: not_before.map(at),
            expires_at: expires_at.map(at),
        }
    }

    #[test]
    fn validity_begins_at_not_before_and_ends_at_expires_at() {
        let mut key = record("a");
        key.validity = span(Some(10), Some(20));
        for (now, reason) in [
            (9, Some(Reason::KeyNotYetValid)),
            (10, None),
            (19, None),
            (20, Some(Reason::KeyExpired)),
            (21, Some(Reason::KeyExpired)),
        ] {
            assert_eq!(
                key.judge(&digest_of("a"), at(now)).err().map(|e| e.reason),
                reason,
                "at {now}"
            );
        }
    }

    #[test]
    fn the_narrower_of_key_and_secret_decides() {
        let mut key = record("a");
        key.validity = span(Some(10), Some(40));
        key.secrets[0].validity = span(Some(20), Some(30));
        let judged = |now| {
            key.judge(&digest_of("a"), at(now))
                .map_err(|e| (e.reason, e.moment))
        };
        assert_eq!(judged(15), Err((Reason::KeyNotYetValid, Some(at(20)))));
        assert_eq!(judged(25), Ok(()));
        assert_eq!(judged(35), Err((Reason::KeyExpired, Some(at(30)))));
    }

    #[test]
    fn revoked_comes_before_disabled_before_validity() {
        let mut key = record("a");
        key.validity = span(None, Some(5));
        key.enabled = false;
        key.revoked_at = Some(at(10));
        let judged = |key: &KeyRecord, now| key.judge(&digest_of("a"), at(now)).unwrap_err().reason;
        assert_eq!(judged(&key, 9), Reason::KeyDisabled);
        assert_eq!(judged(&key, 10), Reason::KeyRevoked);
        key.enabled = true;
        assert_eq!(judged(&key, 9), Reason::KeyExpired);
    }

    #[test]
    fn a_record_does_not_vouch_for_a_digest_that_it_does_not_hold() {
        let judged = record("a").judge(&digest_of("b"), at(0));
        assert_eq!(judged.unwrap_err().reason, Reason::UnknownKey);
    }

    #[test]
    fn the_last_moment_of_a_key_is_that_of_its_longest_secret() {
        let mut key = record("a");
        assert_eq!(key.expires_at(), None);
        let secret = |end| Secret {
            digest: digest_of("a"),
            validity: span(None, end),
        };
        key.secrets = [secret(Some(10)), secret(Some(20))].into();
        assert_eq!(key.expires_at(), Some(at(20)));
        key.validity = span(None, Some(15));
        assert_eq!(key.expires_at(), Some(at(15)));
        key.secrets = [secret(Some(10)), secret(None)].into();
        assert_eq!(key.expires_at(), Some(at(15)));
        key.validity = Validity::default();
        assert_eq!(key.expires_at(), None);
    }

    #[test]
    fn an_unknown_address_is_in_no_network() {
        let nets = Restrictions {
            ips: Some(["10.0.0.0/8".parse().unwrap()].into()),
            ..Restrictions::default()
        };
        assert!(nets.allow_ip(Some("10.1.2.3".parse().unwrap())));
        assert!(!nets.allow_ip(Some("11.1.2.3".parse().unwrap())));
        assert!(!nets.allow_ip(None));
        assert!(Restrictions::default().allow_ip(None));
    }

    #[test]
    fn names_keep_to_their_characters() {
        for (id, good) in [
            ("a", true),
            ("A.b_c-9", true),
            ("", false),
            ("_a", false),
            ("a b", false),
            ("a:b", false),
        ] {
            assert_eq!(id.parse::<KeyId>().is_ok(), good, "{id}");
        }
        assert!("k".repeat(64).parse::<KeyId>().is_ok());
        assert!("k".repeat(65).parse::<KeyId>().is_err());
        assert!("acme:team@example.com/x".parse::<ClientName>().is_ok());
        assert_eq!(
            "".parse::<KeyId>().unwrap_err().to_string(),
            "a key id has 1 to 64 characters of `A-Za-z0-9._-` and does not begin with `_`"
        );
    }
}
