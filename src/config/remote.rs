//! Checks remote sources of keys: their URLs, and the files that connections need.
//!
//! The types of the sources parse the URLs. No message repeats any of a URL, since it may contain a
//! password. Files are named here and read when a connection is made.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::server::file;
use super::spec::{HttpSpec, RedisSpec, SentinelSpec, TlsClientSpec};
use crate::keys::http::{EventsUrl, HttpSettings, InvalidUrl, UrlTemplate};
use crate::keys::redis::RedisSourceSettings;
use crate::redis::{InvalidRedisUrl, RedisServers, RedisSettings, RedisUrl};
use crate::tls::{ClientIdentityFiles, ClientTlsFiles};
use crate::units::DurationSpec;
use crate::watch::named_file::NamedFile;
use crate::yaml::FieldPath;

/// The checked form of an HTTP source; paths are relative to `base`.
pub(super) fn check_http(spec: &HttpSpec, at: &FieldPath<'_>, base: &Path) -> Option<HttpSettings> {
    let before = at.problems_so_far();
    let url: Option<UrlTemplate> = check_url(&spec.url, KEYS_EXAMPLE, &at.field("url"));
    let events_url: Option<EventsUrl> = spec
        .events_url
        .as_deref()
        .and_then(|text| check_url(text, EVENTS_EXAMPLE, &at.field("events_url")));
    let timeout = check_timeout(spec.timeout, &at.field("timeout"));
    let token = check_file(
        spec.bearer_token_file.as_deref(),
        &at.field("bearer_token_file"),
        base,
    );
    let tls = check_tls(spec.tls.as_ref(), &at.field("tls"), base);
    let is_https = url.as_ref().is_some_and(UrlTemplate::is_https)
        || events_url.as_ref().is_some_and(EventsUrl::is_https);
    if spec.tls.is_some() && url.is_some() && !is_https {
        at.field("tls").problem_with_help(
            "there is no TLS with an `http` URL",
            "write the URL with `https`, or leave `tls` out",
        );
    }
    if spec.max_in_flight == 0 {
        at.field("max_in_flight")
            .problem_with_help("no lookup could be made", "write 1 or more");
    }
    let settings = HttpSettings {
        url: url?,
        timeout,
        bearer_token_file: token,
        tls,
        max_in_flight: spec.max_in_flight,
        events_url,
    };
    (at.problems_so_far() == before).then_some(settings)
}

/// The checked form of a Redis source; paths are relative to `base`.
pub(super) fn check_redis(
    spec: &RedisSpec,
    at: &FieldPath<'_>,
    base: &Path,
) -> Option<RedisSourceSettings> {
    let before = at.problems_so_far();
    let servers = check_servers(spec, at);
    let password_file = check_file(
        spec.password_file.as_deref(),
        &at.field("password_file"),
        base,
    );
    if spec.username.is_some() && spec.password_file.is_none() {
        at.field("username").problem_with_help(
            "a user without a password",
            "name a file with the user's password in `password_file`",
        );
    }
    let tls = check_tls(spec.tls.as_ref(), &at.field("tls"), base);
    if spec.tls.is_some()
        && let Some(servers) = &servers
        && !servers.urls().iter().any(RedisUrl::is_tls)
    {
        at.field("tls").problem_with_help(
            "there is no TLS with a `redis` URL",
            "write the URL with `rediss`, or leave `tls` out",
        );
    }
    let timeout = check_timeout(spec.timeout, &at.field("timeout"));
    let settings = RedisSourceSettings {
        redis: RedisSettings {
            servers: servers?,
            username: spec.username.clone(),
            password_file,
            tls,
        },
        prefix: spec.prefix.clone(),
        timeout,
        push: spec.push,
    };
    (at.problems_so_far() == before).then_some(settings)
}

fn check_servers(spec: &RedisSpec, at: &FieldPath<'_>) -> Option<RedisServers> {
    match (&spec.url, &spec.cluster, &spec.sentinel) {
        (Some(url), None, None) => check_redis_url(url, &at.field("url")).map(RedisServers::One),
        (None, Some(nodes), None) => {
            check_nodes(nodes, &at.field("cluster")).map(RedisServers::Cluster)
        }
        (None, None, Some(sentinel)) => check_sentinel(sentinel, &at.field("sentinel")),
        _ => {
            at.problem_with_help(
                "not one place",
                "name exactly one of `url`, `cluster`, `sentinel`",
            );
            None
        }
    }
}

fn check_sentinel(spec: &SentinelSpec, at: &FieldPath<'_>) -> Option<RedisServers> {
    if spec.master.is_empty() {
        at.field("master").problem_with_help(
            "the name is empty",
            "write the name by which the sentinels know the master",
        );
    }
    let nodes = check_nodes(&spec.nodes, &at.field("nodes"))?;
    Some(RedisServers::Sentinel {
        master: spec.master.clone(),
        nodes,
    })
}

/// Some nodes, all with TLS or none, since one setting is for all of them.
fn check_nodes(texts: &[String], at: &FieldPath<'_>) -> Option<Vec<RedisUrl>> {
    if texts.is_empty() {
        at.problem_with_help("the list is empty", "name one node or more");
        return None;
    }
    let mut nodes: Vec<RedisUrl> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let at = at.index(index);
        let Some(node) = check_node_url(text, &at) else {
            continue;
        };
        if nodes
            .first()
            .is_some_and(|first| first.is_tls() != node.is_tls())
        {
            at.problem_with_help(
                "some nodes have TLS and some have not",
                "write all of them with redis://, or all with rediss://",
            );
        }
        nodes.push(node);
    }
    (nodes.len() == texts.len()).then_some(nodes)
}

pub(super) fn check_node_url(text: &str, at: &FieldPath<'_>) -> Option<RedisUrl> {
    let node = check_redis_url(text, at)?;
    if node.is_unix() {
        at.problem_with_help(
            "a node cannot be a Unix socket",
            "write redis:// or rediss:// with host and port",
        );
        return None;
    }
    Some(node)
}

/// What a URL of keys looks like.
pub(super) const KEYS_EXAMPLE: &str = "write one such as https://keys.internal/v1/keys/{digest}";
/// What a URL of events looks like.
pub(super) const EVENTS_EXAMPLE: &str = "write one such as https://keys.internal/v1/events";

pub(super) fn check_url<T: FromStr<Err = InvalidUrl>>(
    text: &str,
    example: &'static str,
    at: &FieldPath<'_>,
) -> Option<T> {
    let error = match text.parse() {
        Ok(url) => return Some(url),
        Err(error) => error,
    };
    let help = match error {
        InvalidUrl::Syntax
        | InvalidUrl::Scheme
        | InvalidUrl::NoDigest
        | InvalidUrl::Braces
        | InvalidUrl::BracesInEvents => example,
        InvalidUrl::Userinfo => "put a bearer token in the file that `bearer_token_file` names",
        InvalidUrl::Fragment => "leave out `#` and what follows it",
    };
    at.problem_with_help(error.to_string(), help);
    None
}

pub(super) fn check_redis_url(text: &str, at: &FieldPath<'_>) -> Option<RedisUrl> {
    let error = match text.parse() {
        Ok(url) => return Some(url),
        Err(error) => error,
    };
    let help = match error {
        InvalidRedisUrl::Syntax => {
            "write one such as redis://127.0.0.1:6379/0, rediss://redis.internal:6379 or redis+unix:///run/redis.sock"
        }
        InvalidRedisUrl::Userinfo => {
            "write the user in `username`, and put the password in the file that `password_file` names"
        }
        InvalidRedisUrl::Options => {
            "leave out `?` or `#` and what follows it; behind a socket is database 0"
        }
    };
    at.problem_with_help(error.to_string(), help);
    None
}

pub(super) fn check_timeout(spec: DurationSpec, at: &FieldPath<'_>) -> Duration {
    if spec.0.is_zero() {
        at.problem_with_help("no lookup could be answered in time", "write 1ms or more");
    }
    spec.0
}

/// The path of a file that may be left out; one that is a problem is noted and left out too.
fn check_file(path: Option<&str>, at: &FieldPath<'_>, base: &Path) -> Option<NamedFile> {
    path.and_then(|path| file(path, at, base))
}

/// The files of TLS; what is a problem is noted and left out.
fn check_tls(spec: Option<&TlsClientSpec>, at: &FieldPath<'_>, base: &Path) -> ClientTlsFiles {
    let Some(spec) = spec else {
        return ClientTlsFiles::default();
    };
    let ca = check_file(spec.ca_file.as_deref(), &at.field("ca_file"), base);
    let cert = check_file(spec.cert_file.as_deref(), &at.field("cert_file"), base);
    let key = check_file(spec.key_file.as_deref(), &at.field("key_file"), base);
    match (&spec.cert_file, &spec.key_file) {
        (Some(_), None) => {
            at.problem_with_help("a certificate without its key", "name its `key_file` too");
        }
        (None, Some(_)) => {
            at.problem_with_help("a key without its certificate", "name its `cert_file` too");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let identity = cert.zip(key);
    ClientTlsFiles {
        ca,
        identity: identity.map(|(cert, key)| ClientIdentityFiles { cert, key }),
    }
}
