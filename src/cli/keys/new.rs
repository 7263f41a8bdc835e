//! `keyward keys new`: a record made of the arguments, written to a file or to Redis.
//!
//! Its values are checked when it is written, like those of any record, and a problem with them is
//! wrong usage. The secret is made here and goes to stdout alone.

use std::io::Write;

use serde_json::json;

use super::super::command::NewKey;
use super::super::{Error, Outcome, note, runtime};
use super::key_store::KeyStore;
use super::{IssuedSecret, digest, end_of_lifetime, print_secret, refuse_secret, time};
use crate::clock::{Clock as _, SystemClock};
use crate::keys::record::{KeySpec, SecretSpec};
use crate::manage::append::append_record;
use crate::manage::secret::NewSecret;
use crate::units::TimeSpec;
use crate::yaml::Free;

pub(super) fn run(arguments: &NewKey, out: &mut impl Write) -> Result<Outcome, Error> {
    refuse_secret(&arguments.id)?;
    let (store, config) = KeyStore::of(&arguments.store)?;
    let secret = NewSecret::generate().map_err(|error| Error::Failed(error.to_string()))?;
    let digest = digest(&secret, config.as_ref())?;
    let record = record(
        arguments,
        SecretSpec {
            digest: digest.to_string(),
            id: None,
            not_before: None,
            expires_at: None,
        },
    )?;
    let policy = config.as_ref().map(|config| &*config.policy);
    let (member, place, help) = match store {
        KeyStore::File(file) => {
            let source = config.as_ref().and_then(|config| config.source.path());
            let written = append_record(&file, &record, policy, source.map(AsRef::as_ref))
                .map_err(|error| error.of(&file))?;
            let help = "take the key out of the file and make another";
            ("file", written.display().to_string(), help)
        }
        KeyStore::Redis(keys, name) => {
            runtime()?.block_on(keys.create(&record, policy))?;
            ("redis", name, "rotate the key")
        }
    };
    let issued = IssuedSecret {
        id: &arguments.id,
        secret: &secret,
        json: json!({
            "id": arguments.id,
            "secret": secret.expose(),
            "digest": digest.to_string(),
            member: place,
        }),
        place,
        help,
    };
    if record
        .expires_at
        .is_some_and(|TimeSpec(end)| end <= SystemClock::new().now())
    {
        note("--expires-at is in the past: the key never works");
    }
    print_secret(issued, &arguments.output, out)
}

/// The record that the arguments describe; its values are checked when it is appended.
fn record(arguments: &NewKey, secret: SecretSpec) -> Result<KeySpec, Error> {
    let mut record = KeySpec::new(arguments.id.as_str());
    record.client.clone_from(&arguments.client);
    record.plan.clone_from(&arguments.plan);
    record.scopes.clone_from(&arguments.scopes);
    record.secrets = vec![secret];
    record.not_before = time("--not-before", arguments.not_before.as_deref())?;
    record.expires_at = match &arguments.expires_in {
        None => time("--expires-at", arguments.expires_at.as_deref())?,
        Some(text) => Some(end_of_lifetime("--expires-in", text)?),
    };
    let mut metadata: Vec<(String, Free)> = Vec::with_capacity(arguments.metadata.len());
    for pair in &arguments.metadata {
        let (name, value) = pair
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| {
                Error::Usage(
                    "--metadata takes a name, an equals sign and a value, as in org=42".to_owned(),
                )
            })?;
        if metadata.iter().any(|(other, _)| other == name) {
            return Err(Error::Usage(format!("--metadata gives {name} twice")));
        }
        metadata.push((name.to_owned(), Free(value.into())));
    }
    record.metadata = metadata.into_iter().collect();
    Ok(record)
}
