//! `keyward keys`: managing keys in a file.
//!
//! The secret of a new key is printed once, to standard output and nowhere else, so that `secret=$(keyward keys new …)`
//! works. The record is written first: a secret that was printed is one that works.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::command::{Format, NewKey};
use super::{Error, Outcome, load_config, named_config};
use crate::authz::clock::{Clock, SystemClock};
use crate::authz::digest::{DigestKind, Digester};
use crate::config::Config;
use crate::keys::append::{append_record, written_to};
use crate::keys::record::{KeySpec, SecretSpec};
use crate::keys::secret::NewSecret;
use crate::yaml::{DurationSpec, Free, TimeSpec};

/// Makes a key.
pub(super) fn new(arguments: &NewKey, out: &mut impl Write) -> Result<Outcome, Error> {
    let config = config_for(arguments)?;
    let of_config = || {
        config
            .as_ref()
            .and_then(|config| config.source.path().map(Path::to_owned))
    };
    let Some(file) = arguments.file.clone().or_else(of_config) else {
        return Err(Error::NoConfig);
    };
    let secret = NewSecret::generate().map_err(|error| Error::Failed(error.to_string()))?;
    let digest = match &config {
        Some(config) => secret.digest(&config.policy.digester),
        None => secret.digest(&plain_digester()?),
    };
    let record = record(
        arguments,
        SecretSpec {
            digest: digest.to_string(),
            not_before: None,
            expires_at: None,
        },
    )?;
    let policy = config.as_ref().map(|config| &*config.policy);
    let written = append_record(&file, &record, policy)?;

    let text = match arguments.output.output {
        Format::Text => format!("{}\n", secret.expose()),
        Format::Json => {
            let made = json!({
                "id": arguments.id,
                "secret": secret.expose(),
                "digest": digest.to_string(),
                "file": written.display().to_string(),
            });
            format!("{made}\n")
        }
    };
    let text = Zeroizing::new(text);
    // A closed pipe is a failure here: nobody will ever see the secret.
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|source| Error::SecretLost {
        id: arguments.id.clone(),
        file: written,
        source,
    })?;
    Ok(Outcome::Success)
}

/// The configuration whose pepper and plans the key is made by.
///
/// With `--file` none is needed, but one that is named is used, and so is one at a usual place if the file is among its keys:
/// whoever serves by it would refuse a digest that was made without its pepper. One with a problem is an error,
/// for nobody can tell whether it is the file's.
fn config_for(arguments: &NewKey) -> Result<Option<Config>, Error> {
    let Some(file) = &arguments.file else {
        return load_config(&arguments.config).map(Some);
    };
    let is_named = named_config(&arguments.config).is_some();
    match load_config(&arguments.config) {
        Err(Error::NoConfig) => Ok(None),
        Ok(config) => {
            let source = config.source.path();
            let is_its = source.is_some_and(|source| is_among(file, source));
            Ok(Some(config).filter(|_| is_named || is_its))
        }
        Err(error) => Err(error),
    }
}

/// Whether a record added to `file` is one of `source`'s; each may be a directory, and neither need be there yet.
fn is_among(file: &Path, source: &Path) -> bool {
    let written = written_to(file);
    let inside = written.parent().map(or_here).and_then(resolved);
    let places = [resolved(&written), inside];
    resolved(source).is_some_and(|source| places.contains(&Some(source)))
}

/// The path without links, as far as it is there.
fn resolved(path: impl AsRef<Path>) -> Option<PathBuf> {
    let path = path.as_ref();
    let of_directory = || {
        let directory = or_here(path.parent()?).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(of_directory)
}

/// The parent of a bare name is the directory that we are in.
fn or_here(parent: &Path) -> &Path {
    if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    }
}

/// What is used where no configuration says otherwise.
fn plain_digester() -> Result<Digester, Error> {
    Digester::new(vec![DigestKind::Blake3], None).map_err(|error| Error::Failed(error.to_string()))
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
        Some(text) => Some(after_now(text)?),
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

fn time(argument: &str, text: Option<&str>) -> Result<Option<TimeSpec>, Error> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|error| Error::Usage(format!("{argument}: {error}")))
    };
    text.map(parse).transpose()
}

fn after_now(text: &str) -> Result<TimeSpec, Error> {
    let duration: DurationSpec = text
        .parse()
        .map_err(|error| Error::Usage(format!("--expires-in: {error}")))?;
    let now = SystemClock::new().now();
    let end = now.checked_add(duration.0).map_err(|_| {
        Error::Usage("--expires-in: that is later than any date that can be written".to_owned())
    })?;
    // Whole seconds read better, and no key needs less.
    Ok(TimeSpec(
        jiff::Timestamp::from_second(end.as_second()).unwrap_or(end),
    ))
}
