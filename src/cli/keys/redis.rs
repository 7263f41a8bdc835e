//! `keyward keys list|show|rotate|revoke|enable|disable`: keys in Redis.
//!
//! A change is a transaction on the record as it is at that moment, so that it undoes no concurrent
//! change, least of all a revocation. It prints one line about its result.

use std::io::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::command::{AllKeys, Format, KeyState, KeyStoreArgs, NamedKey, Output, RotateKey};
use super::super::{Error, Outcome, print, runtime};
use super::key_store::KeyStore;
use super::{
    IssuedSecret, after_now, digest, duration, print_secret, refuse_secret, whole_seconds,
};
use crate::authz::digest::{DigestKind, KeyDigest};
use crate::authz::key::{KeyId, KeyRecord};
use crate::authz::snapshot::Policy;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keys::record::{KeySpec, SecretSpec};
use crate::manage::record_text::to_item;
use crate::manage::redis_store::{RedisKeyStore, RedisKeyStoreError, StoredKey};
use crate::manage::secret::NewSecret;

/// Keys in Redis, their name in messages, and the configuration that they are managed by.
struct RedisStore {
    keys: RedisKeyStore,
    name: String,
    config: Option<Config>,
}

impl RedisStore {
    fn of(arguments: &KeyStoreArgs) -> Result<Self, Error> {
        match KeyStore::of(arguments)? {
            (KeyStore::Redis(keys, name), config) => Ok(Self {
                keys: *keys,
                name,
                config,
            }),
            (KeyStore::File(_), _) => Err(Error::Usage(
                "this works on keys in Redis (--redis, or a configuration with `source.redis`); keys in a file are read and changed with an editor"
                    .to_owned(),
            )),
        }
    }

    fn policy(&self) -> Option<&Policy> {
        self.config.as_ref().map(|config| &*config.policy)
    }
}

/// Lists all keys: id, client, plan, state, and when the last of their secrets expires.
pub(super) fn list(arguments: &AllKeys, out: &mut impl Write) -> Result<Outcome, Error> {
    let store = RedisStore::of(&arguments.store)?;
    let keys = runtime()?.block_on(store.keys.list())?;
    let now = SystemClock::new().now();
    let policy = store.policy();
    let wanted = |line: &Line| {
        let is_of = |client: &String| line.client == *client;
        let has_state = |state: &KeyState| line.state == Some(*state);
        arguments.client.as_ref().is_none_or(is_of)
            && arguments.state.as_ref().is_none_or(has_state)
    };
    let lines = keys.iter().map(|key| Line::of(key, policy, now));
    let lines: Vec<Line> = lines.filter(wanted).collect();
    let text = match arguments.output.output {
        Format::Text => table(&lines),
        Format::Json => {
            let lines: Vec<Value> = lines.iter().map(Line::json).collect();
            format!("{:#}\n", Value::from(lines))
        }
    };
    print(out, text.as_bytes())?;
    Ok(Outcome::Success)
}

pub(super) fn show(arguments: &NamedKey, out: &mut impl Write) -> Result<Outcome, Error> {
    let store = RedisStore::of(&arguments.store)?;
    let id = id(&arguments.id)?;
    let found = runtime()?.block_on(store.keys.read(&id))?;
    let key = found.ok_or(RedisKeyStoreError::NotFound(id))?;
    let spec = key.spec().map_err(|source| RedisKeyStoreError::Stored {
        name: store.keys.name_of(&key.id),
        source,
    })?;
    let state = Line::of(&key, store.policy(), SystemClock::new().now()).state_text();
    let text = match arguments.output.output {
        Format::Text => format!("# {state}\n{}", to_item(&spec, 0)),
        Format::Json => {
            // Cannot fail: a record has only values that JSON has.
            let mut record = serde_json::to_value(&spec).unwrap_or_default();
            if let Some(members) = record.as_object_mut() {
                members.insert("state".to_owned(), state.into());
            }
            format!("{record:#}\n")
        }
    };
    print(out, text.as_bytes())?;
    Ok(Outcome::Success)
}

/// Adds a secret to a key; the others expire when the overlap is over.
pub(super) fn rotate(arguments: &RotateKey, out: &mut impl Write) -> Result<Outcome, Error> {
    let RotateKey { key, overlap } = arguments;
    let end = after_now("--overlap", duration("--overlap", overlap)?)?;
    let store = RedisStore::of(&key.store)?;
    let id = id(&key.id)?;
    let secret = NewSecret::generate().map_err(|error| Error::Failed(error.to_string()))?;
    let digest = digest(&secret, store.config.as_ref())?;
    let now = SystemClock::new().now();
    let rotating = store.keys.update(&id, store.policy(), |spec| {
        refuse_revoked(&id, spec)?;
        // Drops secrets that have expired, or would not be valid before the overlap is over.
        let begins_in_time =
            |secret: &SecretSpec| secret.not_before.max(spec.not_before) < Some(end);
        let kept: Vec<_> = std::mem::take(&mut spec.secrets)
            .into_iter()
            .filter(|secret| secret.expires_at.is_none_or(|time| time.0 > now))
            .filter(begins_in_time)
            .collect();
        if store.config.is_none() {
            refuse_other_kinds(&id, &kept)?;
        }
        spec.secrets = kept;
        for secret in &mut spec.secrets {
            secret.expires_at = Some(secret.expires_at.map_or(end, |time| time.min(end)));
        }
        spec.secrets.push(SecretSpec {
            digest: digest.to_string(),
            id: None,
            not_before: None,
            expires_at: None,
        });
        Ok::<_, Error>(())
    });
    runtime()?.block_on(rotating)?;
    let issued = IssuedSecret {
        id: &key.id,
        secret: &secret,
        json: json!({
            "id": key.id,
            "secret": secret.expose(),
            "digest": digest.to_string(),
            "others_expire_at": end.to_string(),
            "redis": store.name,
        }),
        place: store.name.clone(),
        help: "rotate the key again",
    };
    print_secret(issued, &key.output, out)
}

pub(super) fn revoke(arguments: &NamedKey, out: &mut impl Write) -> Result<Outcome, Error> {
    let now = whole_seconds(SystemClock::new().now()).0;
    let store = RedisStore::of(&arguments.store)?;
    let since = runtime()?.block_on(store.keys.revoke(&id(&arguments.id)?, now))?;
    let body = json!({"id": arguments.id, "state": "revoked", "revoked_at": since.to_string()});
    print_result(
        &format!("{} is revoked since {since}", arguments.id),
        &body,
        &arguments.output,
        out,
    )
}

pub(super) fn switch(
    arguments: &NamedKey,
    on: bool,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let store = RedisStore::of(&arguments.store)?;
    let id = id(&arguments.id)?;
    let found = runtime()?.block_on(async {
        store.keys.switch(&id, on).await?;
        store.keys.read(&id).await
    })?;
    // An enabled key may have expired nevertheless. If it is gone, another client removed it.
    let key = found.ok_or(RedisKeyStoreError::NotFound(id))?;
    let state = Line::of(&key, store.policy(), SystemClock::new().now()).state_text();
    let body = json!({"id": arguments.id, "state": state});
    print_result(
        &format!("{} is {state}", arguments.id),
        &body,
        &arguments.output,
        out,
    )
}

fn refuse_revoked(id: &KeyId, spec: &KeySpec) -> Result<(), RedisKeyStoreError> {
    let revoked = spec.revoked_at.map(|since| RedisKeyStoreError::Revoked {
        id: id.clone(),
        since: since.to_string(),
    });
    revoked.map_or(Ok(()), Err)
}

/// Without a configuration there is no pepper, and a plain digest beside keyed ones would make the
/// whole record invalid.
fn refuse_other_kinds(id: &KeyId, secrets: &[SecretSpec]) -> Result<(), Error> {
    let digests = secrets
        .iter()
        .map(|secret| secret.digest.parse::<KeyDigest>());
    let mut kinds = digests.filter_map(|digest| Some(digest.ok()?.kind()));
    match kinds.find(|kind| *kind != DigestKind::Blake3) {
        None => Ok(()),
        Some(kind) => Err(Error::Usage(format!(
            "the digests of the key `{id}` are of kind {kind}: name the configuration that has their pepper with -c"
        ))),
    }
}

fn id(text: &str) -> Result<KeyId, Error> {
    refuse_secret(text)?;
    text.parse()
        .map_err(|error| Error::Usage(format!("that is not a key's id: {error}")))
}

fn print_result(
    text: &str,
    body: &Value,
    output: &Output,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let text = match output.output {
        Format::Text => format!("{text}\n"),
        Format::Json => format!("{body}\n"),
    };
    print(out, text.as_bytes())?;
    Ok(Outcome::Success)
}

/// In place of the state of a record that is not valid.
const INVALID: &str = "invalid";

/// A key's line of the list.
struct Line {
    id: String,
    client: String,
    plan: String,
    /// `None` where its record is not valid.
    state: Option<KeyState>,
    expires_at: Option<Timestamp>,
    problem: Option<String>,
}

impl Line {
    fn of(key: &StoredKey, policy: Option<&Policy>, now: Timestamp) -> Self {
        let mut line = Self {
            id: key.id.to_string(),
            client: String::new(),
            plan: String::new(),
            state: None,
            expires_at: None,
            problem: None,
        };
        match key.record(policy) {
            Ok(record) => {
                record.client().clone_into(&mut line.client);
                line.plan = record
                    .plan
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                line.state = Some(state(&record, now));
                line.expires_at = record.expires_at();
            }
            Err(invalid) => line.problem = Some(invalid.problem.to_string()),
        }
        line
    }

    fn state_text(&self) -> &'static str {
        self.state.map_or(INVALID, KeyState::as_str)
    }

    fn json(&self) -> Value {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        json!({
            "id": self.id,
            "client": some(&self.client),
            "plan": some(&self.plan),
            "state": self.state_text(),
            "expires_at": self.expires_at.map(|time| time.to_string()),
            "problem": self.problem,
        })
    }
}

/// `active` if one of its secrets is valid, else the state of the first.
fn state(record: &KeyRecord, now: Timestamp) -> KeyState {
    let mut states = record.secrets.iter().map(|secret| {
        let judged = record.check(Some(secret), now);
        judged.map_or_else(
            |not_valid| KeyState::of(not_valid.reason),
            |()| KeyState::Active,
        )
    });
    let first = states.next().unwrap_or(KeyState::Expired);
    if states.any(|state| state == KeyState::Active) {
        return KeyState::Active;
    }
    first
}

/// The list as a table for people.
fn table(lines: &[Line]) -> String {
    let rows: Vec<[String; 5]> = lines
        .iter()
        .map(|line| {
            let end = line.expires_at.map(|time| time.to_string());
            [
                line.id.clone(),
                line.client.clone(),
                line.plan.clone(),
                line.state_text().to_owned(),
                line.problem.clone().or(end).unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["ID", "CLIENT", "PLAN", "STATE", "EXPIRES"].map(str::to_owned);
    let all: Vec<&[String; 5]> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    all.into_iter().map(line).collect()
}
