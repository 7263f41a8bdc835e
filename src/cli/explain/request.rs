//! The request that `explain` decides: made of the arguments, with secrets from files at credential
//! places.
//!
//! A secret is never an argument, for arguments show in process lists and shell histories. Several
//! files replay a request that filled several places, or one place twice.

use std::fs;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::super::Error;
use super::super::command::Explain;
use crate::authz::credential::{CredentialLocation, CredentialPlace, MAX_SECRET_BYTES};
use crate::authz::request::{Headers, RequestAttributes};
use crate::authz::snapshot::Policy;
use crate::authz::token::is_token;
use crate::secret_format::{PREFIX, is_intact};

/// The request's lines, owned, so that the attributes can borrow them.
pub(super) struct ExplainedRequest {
    headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    target: Zeroizing<Vec<u8>>,
    /// What is odd about the secrets themselves, before they are looked up.
    pub(super) flaws: Vec<String>,
}

impl ExplainedRequest {
    pub(super) fn of(arguments: &Explain, policy: &Policy) -> Result<Self, Error> {
        let mut request = Self {
            headers: Vec::new(),
            target: Zeroizing::new(arguments.path.clone().into_bytes()),
            flaws: Vec::new(),
        };
        for line in &arguments.headers {
            let (name, value) = header(line)?;
            request
                .headers
                .push((name.to_owned(), Zeroizing::new(value.as_bytes().to_vec())));
        }
        // No file is read yet, so a value at a credential place came from an argument.
        let filled = policy.credentials.filled(&request.attributes(arguments));
        if let Some(place) = filled.first() {
            return Err(Error::Usage(format!(
                "a secret is never an argument, and --header or --path fills the credential place {place}; put the \
                 secret in a file and give --key-file {place}=FILE"
            )));
        }
        let mut is_stdin_read = false;
        for given in &arguments.key_files {
            let (place, file) = place_and_file(given, policy)?;
            if file == Path::new("-") && std::mem::replace(&mut is_stdin_read, true) {
                return Err(Error::Usage(
                    "--key-file takes - once: there is one standard input".to_owned(),
                ));
            }
            let secret = read_secret(file, place)?;
            request.flaws.extend(flaw(&secret, place, policy));
            request.present(place, &secret);
        }
        Ok(request)
    }

    fn present(&mut self, place: &CredentialPlace, secret: &[u8]) {
        let (name, before): (&str, String) = match &place.location {
            CredentialLocation::Header { name } => (name, String::new()),
            CredentialLocation::Scheme { name, scheme } => (name, format!("{scheme} ")),
            CredentialLocation::Cookie { name } => ("cookie", format!("{name}=")),
            CredentialLocation::Query { name, .. } => {
                let separator = if self.target.contains(&b'?') {
                    '&'
                } else {
                    '?'
                };
                let encoded = Zeroizing::new(percent_encoded(secret));
                let before = format!("{separator}{name}=");
                let parts = [&self.target, before.as_bytes(), encoded.as_bytes()];
                self.target = Zeroizing::new(parts.concat());
                return;
            }
        };
        let value = Zeroizing::new([before.as_bytes(), secret].concat());
        self.headers.push((name.to_owned(), value));
    }

    pub(super) fn attributes<'a>(&'a self, arguments: &'a Explain) -> RequestAttributes<'a> {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_slice()));
        RequestAttributes {
            method: arguments.method.as_bytes(),
            host: arguments.host.as_bytes(),
            target: &self.target,
            scheme: arguments.scheme.as_str().as_bytes(),
            headers: lines.collect::<Headers<'_>>(),
            peer: arguments.source_ip,
            rule: arguments.rule.as_deref().map(str::as_bytes),
        }
    }
}

/// Splits `N: V`.
fn header(line: &str) -> Result<(&str, &str), Error> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    if !is_token(name) || !line.contains(':') {
        return Err(Error::Usage(
            "--header takes a name, a colon and a value, as in 'accept: text/plain'".to_owned(),
        ));
    }
    Ok((name, value.trim()))
}

/// Reads a secret from a file or, for `-`, from standard input; line breaks at its end are not part
/// of it. What is too long for a secret is not read to its end.
fn read_secret(file: &Path, place: &CredentialPlace) -> Result<Zeroizing<Vec<u8>>, Error> {
    let room = MAX_SECRET_BYTES.saturating_mul(2);
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    // All of it is there from the start, or growing would leave copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(room.saturating_mul(2)));
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut secret)
    } else {
        fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut secret))
    };
    read.map_err(|source| Error::Io {
        // The file's name is left out: an operator may have typed the secret itself in its place.
        what: format!("read the file that --key-file gives for {}", place.handle()),
        source,
    })?;
    while matches!(secret.last(), Some(b'\r' | b'\n')) {
        secret.pop();
    }
    Ok(secret)
}

/// The place that a `--key-file` names, the first where it names none, and the file.
fn place_and_file<'g, 'p>(
    given: &'g str,
    policy: &'p Policy,
) -> Result<(&'p CredentialPlace, &'g Path), Error> {
    let mut places = policy.credentials.iter();
    // A place has no slash but in the name of a parameter, which is looked up first.
    let named = given.split_once('=').and_then(|(name, file)| {
        let mut places = policy.credentials.iter();
        let place = places.find(|place| is_named(place, name))?;
        Some((place, Path::new(file)))
    });
    if let Some(named) = named {
        return Ok(named);
    }
    let handles: Vec<String> = policy
        .credentials
        .iter()
        .map(CredentialPlace::handle)
        .collect();
    match (given.split_once('='), places.next()) {
        (Some((name, _)), _) if !name.contains('/') => Err(Error::Usage(format!(
            "--key-file names no credential place of the configuration before `=`; there are {} (write ./ before a \
             file's name that holds `=`)",
            handles.join(", ")
        ))),
        (_, Some(first)) => Ok((first, Path::new(given))),
        // There is always a place.
        (_, None) => Err(Error::Usage("there is no credential place".to_owned())),
    }
}

fn is_named(place: &CredentialPlace, name: &str) -> bool {
    match place.location {
        CredentialLocation::Header { .. } | CredentialLocation::Scheme { .. } => {
            place.handle().eq_ignore_ascii_case(name)
        }
        CredentialLocation::Query { .. } | CredentialLocation::Cookie { .. } => {
            place.handle() == name
        }
    }
}

/// What is odd about the content of a `--key-file`.
fn flaw(secret: &[u8], place: &CredentialPlace, policy: &Policy) -> Option<String> {
    if secret.is_empty() {
        return Some("is empty: no secret is presented".to_owned());
    }
    if let Some(scheme) = policy.credentials.leading_scheme(secret) {
        return Some(format!(
            "begins with the scheme {scheme}: the file holds the secret alone, and keyward presents it as a {place} has it"
        ));
    }
    if let Some(prefix) = place.prefix.as_deref()
        && !secret.starts_with(prefix.as_bytes())
    {
        return Some(format!(
            "does not begin with {prefix}, the prefix of {place}: there it is no key of keyward's"
        ));
    }
    let text = std::str::from_utf8(secret).ok()?;
    (text.starts_with(PREFIX) && !is_intact(text)).then(|| {
        "holds what looks like a secret of keyward's, but its last characters do not fit the others: it was cut or mistyped"
            .to_owned()
    })
}

/// Everything but the unreserved characters of RFC 3986 section 2.3, percent-encoded.
fn percent_encoded(secret: &[u8]) -> String {
    let room = String::with_capacity(secret.len().saturating_mul(3));
    secret.iter().fold(room, |mut encoded, &byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = std::fmt::Write::write_fmt(&mut encoded, format_args!("%{byte:02X}"));
        }
        encoded
    })
}
