//! Errors of Redis in words that may be logged.
//!
//! Takes an error of redis-rs and gives a sentence made of the error's code and of our own words.
//! The server's text is never repeated: servers quote what they were sent, which may be a password.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

/// Why an operation failed, for operators.
pub(crate) type Cause = Arc<str>;

/// Why changes are not pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The server cannot push, or this user may not ask for it; it answers lookups anyway.
    Refused(Cause),
    /// A failure that may pass.
    Failed(Cause),
}

impl PushError {
    pub(crate) fn into_cause(self) -> Cause {
        match self {
            Self::Refused(why) | Self::Failed(why) => why,
        }
    }
}

impl From<Cause> for PushError {
    fn from(why: Cause) -> Self {
        Self::Failed(why)
    }
}

/// Codes that a server answers with, and what they mean to an operator.
const CODES: [(&str, &str); 17] = [
    ("NOAUTH", "the server wants a password"),
    ("WRONGPASS", "the user or the password is wrong"),
    (
        "NOPERM",
        "the user is not allowed the command or the Redis key",
    ),
    ("WRONGTYPE", "the Redis key does not hold a string"),
    (
        "READONLY",
        "the server is a replica, which cannot be written to",
    ),
    ("LOADING", "the server is still loading its data"),
    ("MASTERDOWN", "the replica has lost its master"),
    (
        "NOREPLICAS",
        "the server has too few replicas to be written to",
    ),
    (
        "MISCONF",
        "the server cannot save its data and refuses writes",
    ),
    ("OOM", "the server's memory is full"),
    ("BUSY", "the server is busy with a script"),
    ("DENIED", "the server is in protected mode"),
    ("CLUSTERDOWN", "the cluster is down"),
    ("TRYAGAIN", "the cluster moves the Redis key just now"),
    (
        "MOVED",
        "the server is one of a cluster; name its nodes under `cluster`",
    ),
    (
        "ASK",
        "the server is one of a cluster; name its nodes under `cluster`",
    ),
    ("NOPROTO", "the server does not speak RESP3"),
];

/// The text of a server that has reached `maxclients`, which has no code of its own.
const TOO_MANY_CLIENTS: &str = "max number of clients reached";

/// Errors of redis-rs itself, and what they mean to an operator.
const KINDS: [(ErrorKind, &str); 5] = [
    (
        ErrorKind::AuthenticationFailed,
        "the user or the password is wrong",
    ),
    (
        ErrorKind::RESP3NotSupported,
        "the server does not speak RESP3",
    ),
    (
        ErrorKind::Parse,
        "the server does not speak Redis' protocol",
    ),
    (
        ErrorKind::ClusterConnectionNotFound,
        "no node of the cluster can be reached",
    ),
    (
        ErrorKind::InvalidClientConfig,
        "the address or the certificates cannot be used",
    ),
];

/// Failures of a connection, in plainer words than the operating system's.
const IO_KINDS: [(io::ErrorKind, &str); 3] = [
    (io::ErrorKind::BrokenPipe, "the connection was closed"),
    (io::ErrorKind::UnexpectedEof, "the connection was closed"),
    (io::ErrorKind::TimedOut, "it takes too long"),
];

/// The error in words of our own, with the server's code where it gave one.
pub(crate) fn describe(error: &RedisError) -> String {
    if let Some(code) = error.code() {
        if error.detail() == Some(TOO_MANY_CLIENTS) {
            return "the server has reached maxclients".to_owned();
        }
        return describe_code(code);
    }
    match KINDS.iter().find(|(kind, _)| *kind == error.kind()) {
        Some((_, words)) => (*words).to_owned(),
        None => describe_cause(error),
    }
}

/// Whether the server does not know the command, or a word of it.
pub(crate) fn is_unknown_command(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    error.code() == Some("ERR") && detail.starts_with("unknown ")
}

/// Whether the server's memory is full. Before version 7 a script's error has no code of its own.
pub(crate) fn is_out_of_memory(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.code() == Some("OOM") || detail.contains("-OOM command not allowed")
}

/// A connection's failure. Nothing in it comes from the server's side of the protocol: redis-rs
/// wraps nothing but errors of the operating system and of TLS, and keeps other details elsewhere.
fn describe_cause(error: &RedisError) -> String {
    // redis-rs hands out its shared pointer to the cause as the cause.
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>())
        .map(|cause| &**cause);
    if let Some(io) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        let words = IO_KINDS.iter().find(|(kind, _)| *kind == io.kind());
        return words.map_or_else(
            || uncapitalized(&io.to_string()),
            |(_, words)| (*words).to_owned(),
        );
    }
    match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(tls) => uncapitalized(&tls.to_string()),
        None if error.is_io_error() => "no connection can be made".to_owned(),
        None => "the server answered with what was not asked for".to_owned(),
    }
}

fn uncapitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next();
    first
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(characters)
        .collect()
}

fn describe_code(code: &str) -> String {
    if let Some((_, words)) = CODES.iter().find(|(known, _)| *known == code) {
        return format!("{words} ({code})");
    }
    // A code is a word in capitals; anything else is the beginning of a text.
    if (1..=16).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        format!("the server refused ({code})")
    } else {
        "the server refused".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn an_error_is_described_by_its_code_and_the_servers_text_is_never_repeated() {
        for (line, want) in [
            (
                "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'canary'",
                "the server refused (ERR)",
            ),
            (
                "ERR max number of clients reached",
                "the server has reached maxclients",
            ),
            ("NOAUTH canary", "the server wants a password (NOAUTH)"),
            (
                "WRONGTYPE canary",
                "the Redis key does not hold a string (WRONGTYPE)",
            ),
            ("NOGOODSLAVE canary", "the server refused (NOGOODSLAVE)"),
            ("canary-in-the-place-of-a-code", "the server refused"),
            ("CANARYCANARYCANARY", "the server refused"),
        ] {
            assert_eq!(describe(&refusal(line)), want, "{line}");
        }
        let detailed = (ErrorKind::Client, "canary", "canary".to_owned());
        let detailed = describe(&RedisError::from(detailed));
        assert!(!detailed.contains("canary"), "{detailed}");
    }
}
