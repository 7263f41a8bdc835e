//! One whole configuration, by which a check is decided.
//!
//! A reload builds a new `Snapshot` and swaps one pointer. A check takes one `Arc` of it at its
//! start and never looks again, so that it sees one generation and never two.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credential::CredentialPlaces;
use super::digest::Digester;
use super::identity::IdentityHeaders;
use super::key::{KeyRecord, PlanName};
use super::key_map::KeyMap;
use super::request::RequestAttributes;
use super::rule::Rules;
use super::scope::Scope;

/// Counts the snapshots of a process, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The active configuration and, for a file source, its keys.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number; what was prepared under another generation is not used.
    pub generation: Generation,
    /// How requests are decided.
    pub policy: Arc<Policy>,
    /// The keys of a file source; `None` where keys are looked up at a remote source.
    pub keys: Option<Arc<KeyMap>>,
}

/// Whether refusals are enforced or only recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Enforced.
    #[default]
    Enforce,
    /// Recorded in metrics, log and metadata, while every request is allowed.
    Observe,
}

/// Which address is used as the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddress {
    /// Envoy's direct peer.
    #[default]
    Peer,
    /// The header `x-envoy-external-address`, which Envoy sets to the trusted client. Only with
    /// `use_remote_address: true` and callers outside `internal_address_config`: otherwise Envoy
    /// passes on what the caller wrote there, and `allow_ips` can be forged.
    XEnvoyExternalAddress,
}

impl ClientAddress {
    /// The client's address; `None` where it is not known.
    pub fn of(self, request: &RequestAttributes<'_>) -> Option<IpAddr> {
        match self {
            Self::Peer => request.peer.map(|address| address.to_canonical()),
            Self::XEnvoyExternalAddress => {
                let value = request.headers.single("x-envoy-external-address")?;
                let address: IpAddr = std::str::from_utf8(value).ok()?.parse().ok()?;
                Some(address.to_canonical())
            }
        }
    }
}

/// The realm of a challenge: visible ASCII and spaces without `"` and `\`, so that it fits in a
/// quoted string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm(Box<str>);

impl Realm {
    /// That realm; `None` if it could break out of a quoted string.
    pub fn new(text: &str) -> Option<Self> {
        let fits =
            |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && !matches!(byte, b'"' | b'\\');
        text.bytes().all(fits).then(|| Self(text.into()))
    }

    /// The realm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What keys that refer to a plan get from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Scopes, added to the key's own.
    pub scopes: Box<[Scope]>,
}

/// The plans by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plans(pub BTreeMap<PlanName, Plan>);

impl Plans {
    /// The scopes of a key: its plan's, then its own, each once.
    pub fn scopes_of<'k>(&'k self, record: &'k KeyRecord) -> impl Iterator<Item = &'k Scope> {
        let plan = self.scopes_of_plan(record);
        let in_plan: HashSet<&Scope> = plan.iter().collect();
        let own = record
            .scopes
            .iter()
            .filter(move |scope| !in_plan.contains(scope));
        plan.iter().chain(own)
    }

    /// Whether a key has that scope, from its plan or by itself.
    pub fn grant(&self, record: &KeyRecord, scope: &Scope) -> bool {
        self.scopes_of_plan(record).contains(scope) || record.scopes.contains(scope)
    }

    fn scopes_of_plan(&self, record: &KeyRecord) -> &[Scope] {
        let plan = record.plan.as_ref().and_then(|name| self.0.get(name));
        plan.map_or(&[], |plan| &plan.scopes)
    }
}

/// How requests are decided: the checked form of a configuration's rules and names.
#[derive(Debug)]
pub struct Policy {
    /// Where a request may carry a secret.
    pub credentials: CredentialPlaces,
    /// How secrets become digests.
    pub digester: Digester,
    /// The rules and what holds without one.
    pub rules: Rules,
    /// The plans.
    pub plans: Plans,
    /// The headers by which the upstream learns who the caller is.
    pub identity: IdentityHeaders,
    /// Whether credentials are removed before the request goes upstream.
    pub strip_credentials: bool,
    /// Whether a valid key that came over plain HTTP is refused.
    pub require_https: bool,
    /// The realm of challenges.
    pub realm: Realm,
    /// Which address is used as the client's.
    pub client_address: ClientAddress,
    /// Whether refusals are enforced.
    pub mode: Mode,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::authz::credential::CredentialLocation;
    use crate::authz::digest::DigestKind;

    /// A policy with the configuration's defaults.
    pub(crate) fn policy() -> Policy {
        Policy {
            credentials: CredentialPlaces::new(vec![
                CredentialLocation::Header {
                    name: "x-api-key".into(),
                }
                .into(),
                CredentialLocation::Scheme {
                    name: "authorization".into(),
                    scheme: "Bearer".into(),
                }
                .into(),
            ])
            .unwrap(),
            digester: Digester::new(vec![DigestKind::Blake3], None).unwrap(),
            rules: Rules::default(),
            plans: Plans::default(),
            identity: IdentityHeaders::new(vec![
                (
                    "x-keyward-key-id".parse().unwrap(),
                    "key.id".parse().unwrap(),
                ),
                (
                    "x-keyward-client".parse().unwrap(),
                    "key.client".parse().unwrap(),
                ),
                (
                    "x-keyward-scopes".parse().unwrap(),
                    "key.scopes".parse().unwrap(),
                ),
                (
                    "x-keyward-plan".parse().unwrap(),
                    "key.plan".parse().unwrap(),
                ),
            ])
            .unwrap(),
            strip_credentials: true,
            require_https: false,
            realm: Realm::new("keyward").unwrap(),
            client_address: ClientAddress::Peer,
            mode: Mode::Enforce,
        }
    }

    #[test]
    fn a_realm_cannot_leave_its_quotes() {
        assert!(Realm::new("my realm").is_some());
        for text in ["a\"b", "a\\b", "a\r\n", "é"] {
            assert!(Realm::new(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_key_has_each_of_very_many_scopes_once_the_plans_first() {
        use crate::authz::key::tests::record;
        let scopes = |from: usize| -> Box<[Scope]> {
            let names = (from..from + 30_000).map(|number| format!("s{number}"));
            names.map(|name| name.parse().unwrap()).collect()
        };
        let mut key = record("a");
        key.plan = Some("gold".parse().unwrap());
        key.scopes = scopes(15_000);
        let plan = Plan { scopes: scopes(0) };
        let plans = Plans([("gold".parse().unwrap(), plan)].into());
        let all = plans.scopes_of(&key).map(Scope::as_str);
        assert!(all.eq((0..45_000).map(|number| format!("s{number}"))));
        for (scope, is_granted) in [("s0", true), ("s44999", true), ("s45000", false)] {
            assert_eq!(
                plans.grant(&key, &scope.parse().unwrap()),
                is_granted,
                "{scope}"
            );
        }
    }
}
