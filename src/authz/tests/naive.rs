//! Naive data: one configuration, its keys and a request, as the strings that an operator and a
//! caller would write.
//!
//! The oracle reads these and nothing else. `build` turns them into the types that the pipeline
//! takes.

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
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) type Texts = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NaivePlace {
    Header(&'static str),
    Scheme(&'static str, &'static str),
    Query(&'static str),
    Cookie(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) enum NaiveAccess {
    Anyone,
    Nobody,
    Require {
        scopes: Texts,
        clients: Option<Texts>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct NaiveRule {
    pub(crate) name: String,
    pub(crate) hosts: Option<Texts>,
    pub(crate) paths: Option<Texts>,
    pub(crate) methods: Option<Texts>,
    pub(crate) access: NaiveAccess,
}

#[derive(Debug, Clone)]
pub(crate) struct NaiveSecret {
    pub(crate) keyed: bool,
    pub(crate) text: String,
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct NaiveKey {
    pub(crate) id: String,
    pub(crate) client: Option<String>,
    pub(crate) secrets: Vec<NaiveSecret>,
    pub(crate) enabled: bool,
    pub(crate) revoked: Option<i64>,
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) plan: Option<String>,
    pub(crate) scopes: Texts,
    pub(crate) ips: Option<Texts>,
    pub(crate) hosts: Option<Texts>,
    pub(crate) paths: Option<Texts>,
    pub(crate) methods: Option<Texts>,
    pub(crate) org: Option<String>,
}

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a configuration has as many switches"
)]
pub(crate) struct World {
    pub(crate) places: Vec<NaivePlace>,
    /// Of every place.
    pub(crate) prefix: Option<&'static str>,
    /// Whether each accepted kind is the keyed one.
    pub(crate) accept: Vec<bool>,
    pub(crate) rules: Vec<NaiveRule>,
    /// `require-key`, `allow-anyone` or `deny`.
    pub(crate) default: &'static str,
    pub(crate) plans: Vec<(String, Texts)>,
    pub(crate) identity: Vec<(&'static str, &'static str)>,
    pub(crate) strip: bool,
    pub(crate) https: bool,
    pub(crate) external_address: bool,
    pub(crate) observe: bool,
    pub(crate) keys: Vec<NaiveKey>,
}

#[derive(Debug, Clone)]
pub(crate) struct NaiveRequest {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) target: Vec<u8>,
    pub(crate) scheme: &'static str,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) rule: Option<String>,
}

pub(crate) fn texts(list: &[&str]) -> Texts {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A key whose one secret is `secret`, and which may do everything.
pub(crate) fn key(id: &str, secret: &str) -> NaiveKey {
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
pub(crate) fn world(keys: Vec<NaiveKey>) -> World {
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
pub(crate) fn request(lines: &[(&str, &str)]) -> NaiveRequest {
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

pub(crate) fn moment(offset: i64) -> Timestamp {
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
    pub(crate) fn snapshot(&self, generation: u64) -> Arc<Snapshot> {
        let policy = self.policy();
        let records = self.keys.iter().map(|key| key.build(&policy.digester));
        let keys = KeyMap::new(records.map(Arc::new).collect()).unwrap();
        Arc::new(Snapshot {
            generation: Generation(generation),
            policy: Arc::new(policy),
            keys: Some(Arc::new(keys)),
        })
    }

    pub(crate) fn policy(&self) -> Policy {
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
    pub(crate) fn attributes(&self) -> RequestAttributes<'_> {
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

    /// The same request as Envoy's `headers` map tells it: duplicates joined by a comma, at the
    /// place of the first.
    pub(crate) fn joined(&self) -> Self {
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
