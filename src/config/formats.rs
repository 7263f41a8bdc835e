//! The kinds of text in a configuration: what editors check, and what the loader checks.
//!
//! Each check is the one that the module runs on the value anyway, here with nothing around it:
//! what it notes is what is wrong with the text alone.

use std::path::Path;

use super::{credentials, policy, remote, rules, server};
use crate::authz::identity::{IdentityField, IdentityName};
use crate::keys::http::{EventsUrl, UrlTemplate};
use crate::keys::record::schema::TOKEN;
use crate::units::DurationSpec;
use crate::yaml::{Check, Format, parses};

const fn format(name: &'static str, pattern: &'static str, check: Check) -> Format {
    Format {
        name,
        pattern,
        check,
    }
}

/// All of them.
pub(super) const ALL: &[Format] = &[
    LISTENER,
    SOCKET_MODE,
    ADMIN,
    FILE,
    REALM,
    HEADER,
    SCHEME,
    QUERY,
    COOKIE,
    PREFIX,
    KEYS_URL,
    EVENTS_URL,
    REDIS_URL,
    NODE_URL,
    SOME_TIME,
    RULE_NAME,
    IDENTITY_NAME,
    IDENTITY_FIELD,
];

macro_rules! address {
    () => {
        concat!(
            r"(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
            r"|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
        )
    };
}

/// An IP address and a port, or the path of a socket.
pub(super) const LISTENER: Format = format(
    "listener-address",
    concat!("^(unix:.*[^/]|", address!(), ")$"),
    |text, at| _ = server::check_address(text, at, Path::new(""), None),
);
pub(super) const SOCKET_MODE: Format = format("octal-mode", "^0*[0-7]{1,3}$", |text, at| {
    server::check_mode(text, at);
});
/// An IP address and a port.
pub(super) const ADMIN: Format = format(
    "admin-address",
    concat!("^", address!(), "$"),
    |text, at| _ = server::check_admin(text, None, at),
);
/// A path that is not empty.
pub(super) const FILE: Format = format("file-path", r"[^\x00]", |text, at| {
    server::file(text, at, Path::new(""));
});
pub(super) const REALM: Format = format("realm", r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$", |text, at| {
    _ = policy::check_realm(text, at);
});
pub(super) const HEADER: Format = format("credential-header", TOKEN, |text, at| {
    credentials::check_header_name(text, at);
});
pub(super) const SCHEME: Format = format("authentication-scheme", TOKEN, |text, at| {
    credentials::check_scheme(text, at);
});
/// A query parameter's name as it stands in a URL.
pub(super) const QUERY: Format = format(
    "query-parameter",
    r"^[\x21-\x22\x24-\x25\x27-\x3c\x3e-\x7e]+$",
    |text, at| _ = credentials::check_query(text, None, at),
);
pub(super) const COOKIE: Format = format("cookie-name", TOKEN, |text, at| {
    credentials::check_cookie(text, at);
});
pub(super) const PREFIX: Format = format(
    "secret-prefix",
    r"^[!#$&-+\-./0-:<-_a-~]{1,64}$",
    |text, at| _ = credentials::check_prefix(text, at),
);
/// A URL of keys, with its place for a digest.
pub(super) const KEYS_URL: Format = format(
    "keys-url",
    r"^https?://[^/?#@\s{}]+[/?]([^#{}]|\{kind\}|\{digest\})*$",
    |text, at| _ = remote::check_url::<UrlTemplate>(text, remote::KEYS_EXAMPLE, at),
);
/// A URL of events.
pub(super) const EVENTS_URL: Format = format(
    "events-url",
    r"^https?://[^/?#@\s{}]+([/?][^#{}]*)?$",
    |text, at| _ = remote::check_url::<EventsUrl>(text, remote::EVENTS_EXAMPLE, at),
);
/// A URL of a Redis server.
pub(super) const REDIS_URL: Format = format(
    "redis-url",
    r"^((redis|valkey)s?://[^?#@\s]+|((redis|valkey)\+)?unix://[^?#\s]+)$",
    |text, at| _ = remote::check_redis_url(text, at),
);
/// A URL of a node, which is no socket.
pub(super) const NODE_URL: Format = format(
    "redis-node-url",
    r"^(redis|valkey)s?://[^?#@\s]+$",
    |text, at| _ = remote::check_node_url(text, at),
);
/// A duration that is not nothing.
pub(super) const SOME_TIME: Format = format(
    "time-span-above-zero",
    r"^0*[1-9][0-9]*(ms|s|m|h|d)$",
    |text, at| {
        if let Some(time) = at.note(text.parse::<DurationSpec>()) {
            remote::check_timeout(time, at);
        }
    },
);
pub(super) const RULE_NAME: Format =
    format("rule-name", r"^[^\x00-\x1f\x7f-\x9f]+$", rules::check_name);
pub(super) const IDENTITY_NAME: Format = format("identity-header", TOKEN, parses::<IdentityName>);
pub(super) const IDENTITY_FIELD: Format = format(
    "identity-field",
    r"^key\.(id|client|scopes|plan|metadata\..+)$",
    parses::<IdentityField>,
);
