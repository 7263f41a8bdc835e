//! `keyward keys`: managing keys in a file or in Redis.
//!
//! The secret of a new key is printed once, to stdout and nowhere else, so that `secret=$(keyward
//! keys new …)` works. The record is written first, so that a printed secret works.

mod key_store;
mod new;
mod redis;

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::command::{Format, KeysCommand, Output};
use super::{Error, Outcome};
use crate::authz::digest::{DigestKind, Digester, KeyDigest};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::manage::secret::NewSecret;
use crate::secret_format::looks_like_one;
use crate::units::{DurationSpec, TimeSpec};

pub(super) fn run(command: &KeysCommand, out: &mut impl Write) -> Result<Outcome, Error> {
    match command {
        KeysCommand::New(arguments) => new::run(arguments, out),
        KeysCommand::List(arguments) => redis::list(arguments, out),
        KeysCommand::Show(arguments) => redis::show(arguments, out),
        KeysCommand::Rotate(arguments) => redis::rotate(arguments, out),
        KeysCommand::Revoke(arguments) => redis::revoke(arguments, out),
        KeysCommand::Enable(arguments) => redis::switch(arguments, true, out),
        KeysCommand::Disable(arguments) => redis::switch(arguments, false, out),
    }
}

/// A new secret, and what is printed about it.
struct IssuedSecret<'s> {
    id: &'s str,
    secret: &'s NewSecret,
    json: serde_json::Value,
    place: String,
    /// What to do if it cannot be printed.
    help: &'static str,
}

fn print_secret(
    issued: IssuedSecret<'_>,
    output: &Output,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let text = match output.output {
        Format::Text => format!("{}\n", issued.secret.expose()),
        Format::Json => format!("{}\n", issued.json),
    };
    let text = Zeroizing::new(text);
    // Here a closed pipe is a failure: the secret is lost.
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|source| Error::SecretLost {
        id: issued.id.to_owned(),
        place: issued.place,
        help: issued.help,
        source,
    })?;
    Ok(Outcome::Success)
}

/// The digest of a new secret, of the configuration's kind; a plain one without a configuration.
fn digest(secret: &NewSecret, config: Option<&Config>) -> Result<KeyDigest, Error> {
    match config {
        Some(config) => Ok(secret.digest(&config.policy.digester)),
        None => Digester::new(vec![DigestKind::Blake3], None)
            .map(|digester| secret.digest(&digester))
            .map_err(|error| Error::Failed(error.to_string())),
    }
}

/// Refuses a secret that is given as an id, without repeating it.
fn refuse_secret(id: &str) -> Result<(), Error> {
    if !looks_like_one(id) {
        return Ok(());
    }
    Err(Error::Usage(
        "that looks like a secret, which is never an argument, and not like a key's id; `keyward explain --key-file -` tells whose it is"
            .to_owned(),
    ))
}

fn time(argument: &str, text: Option<&str>) -> Result<Option<TimeSpec>, Error> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|error| Error::Usage(format!("{argument}: {error}")))
    };
    text.map(parse).transpose()
}

/// The duration that an argument gives. clap passes negative ones on, so that our error explains.
fn duration(argument: &str, text: &str) -> Result<Duration, Error> {
    if text.starts_with('-') {
        return Err(Error::Usage(format!(
            "{argument}: it cannot be negative; write a span such as 90d"
        )));
    }
    text.parse()
        .map(|duration: DurationSpec| duration.0)
        .map_err(|error| Error::Usage(format!("{argument}: {error}")))
}

/// The end of a lifetime that begins now. Ends are whole seconds, so less than one is nothing.
fn end_of_lifetime(argument: &str, text: &str) -> Result<TimeSpec, Error> {
    let lifetime = duration(argument, text)?;
    if lifetime < Duration::from_secs(1) {
        return Err(Error::Usage(format!(
            "{argument}: a lifetime below one second makes a key that never works; write one such as 90d, or leave it out for a \
             key without an end"
        )));
    }
    after_now(argument, lifetime)
}

/// The moment that is so far from now, in whole seconds: no key needs more precision.
fn after_now(argument: &str, duration: Duration) -> Result<TimeSpec, Error> {
    let now = SystemClock::new().now();
    let end = now.checked_add(duration).map_err(|_| {
        Error::Usage(format!(
            "{argument}: that is later than any date that can be written"
        ))
    })?;
    Ok(whole_seconds(end))
}

fn whole_seconds(time: Timestamp) -> TimeSpec {
    TimeSpec(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
