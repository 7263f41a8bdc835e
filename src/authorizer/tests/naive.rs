//! Naive data: one configuration, its keys and a request, as the strings that an operator and a caller would write.
//!
//! The oracle reads these and nothing else. `build` turns them into the types that the pipeline takes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::authz::credential::{CredentialLocation, CredentialPlace, CredentialPlaces, QueryStrip};
use crate::authz::digest::{DigestKind, Digester, Pepper};
use crate::authz::identity::IdentityHeaders;
use crate::authz::key::{KeyRecord, MetadataValue, Restrictions, Secret, Validity};
use crate::authz::key_map::KeyMap;
use crate::authz::method::Method;
use crate::authz::request::{Headers, RequestAttributes};
use crate::authz::rule::{Access, DefaultAccess, RequestMatch, Requirement, Rule, Rules};
use crate::authz::snapshot::{ClientAddress, Generation, Mode, Plan, Plans, Policy, Snapshot};

/// The tests' now, in seconds since 1970; moments are told relative to it.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) type Texts = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum NaivePlace {
    Header(&'static str),
    Scheme(&'static str, &'static str),
    Query(&'static str),
    Cookie(&'static str),
}

#[derive(Debug, Clone)]
pub(super) enum NaiveAccess {
    Anyone,
    Nobody,
    Require {
        scopes: Texts,
        clients: Option<Texts>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct NaiveRule {
    pub(super) name: String,
    pub(super) hosts: Option<Texts>,
    pub(super) paths: Option<Texts>,
    pub(super) methods: Option<Texts>,
    pub(super) access: NaiveAccess,
}

#[derive(Debug, Clone)]
pub(super) struct NaiveSecret {
    pub(super) keyed: bool,
    pub(super) text: String,
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct NaiveKey {
    pub(super) id: String,
    pub(super) client: Option<String>,
    pub(super) secrets: Vec<NaiveSecret>,
    pub(super) enabled: bool,
    pub(super) revoked: Option<i64>,
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) plan: Option<String>,
    pub(super) scopes: Texts,
    pub(super) ips: Option<Texts>,
    pub(super) hosts: Option<Texts>,
    pub(super) paths: Option<Texts>,
    pub(super) methods: Option<Texts>,
    pub(super) org: Option<String>,
}

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a configuration has as many switches"
)]
pub(super) struct World {
    pub(super) places: Vec<NaivePlace>,
    /// Of every place.
    pub(super) prefix: Option<&'static str>,
    /// Whether each accepted kind is the keyed one.
    pub(super) accept: Vec<bool>,
    pub(super) rules: Vec<NaiveRule>,
    /// `require-key`, `allow-anyone` or `deny`.
    pub(super) default: &'static str,
    pub(super) plans: Vec<(String, Texts)>,
    pub(super) identity: Vec<(&'static str, &'static str)>,
    pub(super) strip: bool,
    pub(super) https: bool,
    pub(super) external_address: bool,
    pub(super) observe: bool,
    pub(super) keys: Vec<NaiveKey>,
}

#[derive(Debug, Clone)]
pub(super) struct NaiveRequest {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) target: Vec<u8>,
    pub(super) scheme: &'static str,
    pub(super) lines: Vec<(String, String)>,
    pub(super) peer: Option<IpAddr>,
    pub(super) rule: Option<String>,
}

pub(super) fn texts(list: &[&str]) -> Texts {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A key whose one secret is `secret`, and which may do everything.
pub(super) fn key(id: &str, secret: &str) -> NaiveKey {
    NaiveKey {
        id: id.to_owned(),
        client: None,
        secrets: vec![NaiveSecret {
            keyed: false,
            text: secret.to_owned(),
            from: None,
            until: None,
        }],
        enabled: true,
        revoked: None,
        from: None,
        until: None,
        plan: None,
        scopes: vec![],
        ips: None,
        hosts: None,
        paths: None,
        methods: None,
        org: None,
    }
}

/// A configuration with the defaults and these keys.
pub(super) fn world(keys: Vec<NaiveKey>) -> World {
    World {
        places: vec![
            NaivePlace::Header("x-api-key"),
            NaivePlace::Scheme("authorization", "Bearer"),
        ],
        prefix: None,
        accept: vec![false],
        rules: vec![],
        default: "require-key",
        plans: vec![],
        identity: vec![
            ("x-keyward-key-id", "key.id"),
            ("x-keyward-client", "key.client"),
        ],
        strip: true,
        https: false,
        external_address: false,
        observe: false,
        keys,
    }
}

/// `GET h/a` with these header lines.
pub(super) fn request(lines: &[(&str, &str)]) -> NaiveRequest {
    NaiveRequest {
        method: "GET".to_owned(),
        host: "h".to_owned(),
        target: b"/a".to_vec(),
        scheme: "http",
        lines: lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        peer: None,
        rule: None,
    }
}

pub(super) fn moment(offset: i64) -> Timestamp {
    Timestamp::from_second(NOW).unwrap() + SignedDuration::from_secs(offset)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(list: &Texts) -> Box<[T]> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn methods(list: &Texts) -> Box<[Method]> {
    list.iter().map(|text| text.as_str().into()).collect()
}

fn validity(from: Option<i64>, until: Option<i64>) -> Validity {
    Validity {
        not_before: from.map(moment).map(Into::into),
        expires_at: until.map(moment).map(Into::into),
    }
}

fn kind(keyed: bool) -> DigestKind {
    if keyed {
        DigestKind::Blake3Keyed
    } else {
        DigestKind::Blake3
    }
}

impl NaivePlace {
    fn build(&self, prefix: Option<&str>) -> CredentialPlace {
        let location = match *self {
            Self::Header(name) => CredentialLocation::Header { name: name.into() },
            Self::Scheme(name, scheme) => CredentialLocation::Scheme {
                name: name.into(),
                scheme: scheme.into(),
            },
            Self::Query(name) => CredentialLocation::Query {
                name: name.into(),
                strip: QueryStrip::Parameter,
            },
            Self::Cookie(name) => CredentialLocation::Cookie { name: name.into() },
        };
        CredentialPlace {
            location,
            prefix: prefix.map(Into::into),
        }
    }
}

impl NaiveRule {
    fn build(&self) -> Rule {
        Rule {
            name: self.name.as_str().into(),
            matches: RequestMatch {
                hosts: self.hosts.as_ref().map(parsed),
                paths: self.paths.as_ref().map(parsed),
                methods: self.methods.as_ref().map(methods),
            },
            access: match &self.access {
                NaiveAccess::Anyone => Access::Anyone,
                NaiveAccess::Nobody => Access::Nobody,
                NaiveAccess::Require { scopes, clients } => Access::Key(Requirement {
                    scopes: parsed(scopes),
                    clients: clients.as_ref().map(parsed),
                }),
            },
        }
    }
}

impl NaiveKey {
    fn build(&self, digester: &Digester) -> KeyRecord {
        let restrictions = Restrictions {
            ips: self.ips.as_ref().map(parsed),
            hosts: self.hosts.as_ref().map(parsed),
            paths: self.paths.as_ref().map(parsed),
            methods: self.methods.as_ref().map(methods),
        };
        let secrets = self.secrets.iter().map(|secret| Secret {
            id: None,
            digest: digester.digest(kind(secret.keyed), secret.text.as_bytes()),
            validity: validity(secret.from, secret.until),
        });
        let org = self.org.iter();
        KeyRecord {
            id: self.id.parse().unwrap(),
            client: self.client.as_ref().map(|name| name.parse().unwrap()),
            secrets: secrets.collect(),
            enabled: self.enabled,
            revoked_at: self.revoked.map(moment).map(Into::into),
            validity: validity(self.from, self.until),
            plan: self.plan.as_ref().map(|name| name.parse().unwrap()),
            scopes: parsed(&self.scopes),
            restrictions: (restrictions != Restrictions::default()).then(|| Box::new(restrictions)),
            metadata: org
                .map(|org| ("org".into(), MetadataValue::Scalar(org.as_str().into())))
                .collect(),
        }
    }
}

impl World {
    pub(super) fn snapshot(&self, generation: u64) -> Arc<Snapshot> {
        let policy = self.policy();
        let records = self.keys.iter().map(|key| key.build(&policy.digester));
        let keys = KeyMap::new(records.map(Arc::new).collect()).unwrap();
        Arc::new(Snapshot {
            generation: Generation(generation),
            policy: Arc::new(policy),
            keys: Some(Arc::new(keys)),
        })
    }

    pub(super) fn policy(&self) -> Policy {
        let pepper = Pepper::new(&[7; 32]).unwrap();
        let kinds = self.accept.iter().map(|keyed| kind(*keyed)).collect();
        let plans: BTreeMap<_, _> = self
            .plans
            .iter()
            .map(|(name, scopes)| {
                let scopes = parsed(scopes);
                (name.parse().unwrap(), Plan { scopes })
            })
            .collect();
        let identity = self
            .identity
            .iter()
            .map(|(name, field)| (name.parse().unwrap(), field.parse().unwrap()));
        Policy {
            credentials: CredentialPlaces::new(
                self.places
                    .iter()
                    .map(|place| place.build(self.prefix))
                    .collect(),
            )
            .unwrap(),
            digester: Digester::new(kinds, Some(pepper)).unwrap(),
            rules: Rules {
                list: self.rules.iter().map(NaiveRule::build).collect(),
                default: match self.default {
                    "require-key" => DefaultAccess::RequireKey,
                    "allow-anyone" => DefaultAccess::AllowAnyone,
                    _ => DefaultAccess::Deny,
                },
            },
            plans: Plans(plans),
            identity: IdentityHeaders::new(identity.collect()).unwrap(),
            strip_credentials: self.strip,
            require_https: self.https,
            client_address: if self.external_address {
                ClientAddress::XEnvoyExternalAddress
            } else {
                ClientAddress::Peer
            },
            mode: if self.observe {
                Mode::Observe
            } else {
                Mode::Enforce
            },
            ..crate::authz::snapshot::tests::policy()
        }
    }
}

impl NaiveRequest {
    pub(super) fn attributes(&self) -> RequestAttributes<'_> {
        let headers: Headers<'_> = self
            .lines
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        RequestAttributes {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            target: &self.target,
            scheme: self.scheme.as_bytes(),
            headers,
            peer: self.peer,
            rule: self.rule.as_deref().map(str::as_bytes),
        }
    }

    /// The same request as Envoy's `headers` map tells it: duplicates joined by a comma, at the place of the first.
    pub(super) fn joined(&self) -> Self {
        let mut lines: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.lines {
            let lower = name.to_ascii_lowercase();
            match lines.iter_mut().find(|(earlier, _)| *earlier == lower) {
                Some((_, joined)) => *joined = format!("{joined},{value}"),
                None => lines.push((lower, value.clone())),
            }
        }
        Self {
            lines,
            ..self.clone()
        }
    }
}
