//! Warns of what a configuration may say and rarely should: at start, at each reload and by
//! `check-config`.
//!
//! Each warning names its member and what to do. None is about taste: each is about keys that can
//! be read on the network, requests that pass without a decision, or a member without effect. Only
//! a configuration without problems gets warnings.

use std::fs;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::server::{GrpcConfig, ListenAddress};
use super::shadowed::shadowed_by;
use super::source::SourceConfig;
use super::spec::{ConfigSpec, RuleSpec};
use super::{NamedFile, Parts};
use crate::authz::rule::DefaultAccess;
use crate::authz::snapshot::Mode;
use crate::keys::http::{EventsUrl, HttpSettings};
use crate::redis::{RedisServers, RedisSettings, RedisUrl};
use crate::watch::secret_file::likely_mistake;
use crate::yaml::FieldPath;

/// Adds the warnings for a configuration. Reads the files of passwords and tokens.
/// Blocks.
pub(super) fn note(parts: &Parts, top: &FieldPath<'_>) {
    let spec = &parts.spec;
    note_listener(&parts.server.grpc, &top.field("server").field("grpc"));
    let source = top.field("source");
    match &parts.source {
        SourceConfig::File { .. } => {}
        SourceConfig::Http(settings) => note_http(settings, &source.field("http")),
        SourceConfig::Redis(settings) => note_redis(&settings.redis, &source.field("redis")),
    }
    note_openness(spec, &parts.source, top);
    note_shadowed(&spec.rules, &top.field("rules"));
}

/// Notes what is odd about the content of a file that holds a secret.
pub(super) fn warn_of_mistake(content: &[u8], file: &NamedFile, at: &FieldPath<'_>) {
    if let Some(likely_mistake) = likely_mistake(content) {
        at.warning(
            format!(
                "{} {likely_mistake}, which is a part of the secret",
                file.display()
            ),
            "write the file without it if it is not meant, such as with `printf %s`",
        );
    }
}

fn note_secret(file: Option<&NamedFile>, at: &FieldPath<'_>) {
    // A file that cannot be read is reported where it is used.
    if let Some(file) = file
        && let Ok(content) = fs::read(file)
    {
        warn_of_mistake(&Zeroizing::new(content), file, at);
    }
}

fn note_listener(grpc: &GrpcConfig, at: &FieldPath<'_>) {
    let ListenAddress::Tcp(address) = &grpc.address else {
        return;
    };
    if !is_exposed(address) {
        return;
    }
    match &grpc.tls {
        None => at.field("address").warning(
            "gRPC is open to other machines without TLS",
            "give `server.grpc.tls`, or a loopback address",
        ),
        Some(tls) if tls.client_ca.is_none() => at.field("tls").warning(
            "gRPC is open to other machines, and no client must show a certificate",
            "name the authorities of Envoy's certificate in `client_ca_file`, or give a loopback address",
        ),
        Some(_) => {}
    }
}

fn is_exposed(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn note_http(settings: &HttpSettings, at: &FieldPath<'_>) {
    let token = settings.bearer_token_file.as_ref();
    note_secret(token, &at.field("bearer_token_file"));
    let what = if token.is_some() {
        "records and the bearer token cross the network in the clear"
    } else {
        "records cross the network in the clear"
    };
    let events = settings.events_url.as_ref();
    for (name, is_in_clear) in [
        ("url", settings.url.is_in_clear()),
        ("events_url", events.is_some_and(EventsUrl::is_in_clear)),
    ] {
        if is_in_clear {
            at.field(name).warning(
                format!(
                    "{what}: an attacker on the network path can read them and make keys valid"
                ),
                "write the URL with https",
            );
        }
    }
}

fn note_redis(settings: &RedisSettings, at: &FieldPath<'_>) {
    let Some(password) = &settings.password_file else {
        return;
    };
    note_secret(Some(password), &at.field("password_file"));
    let is_in_clear = settings.servers.urls().iter().any(RedisUrl::is_in_clear);
    if is_in_clear {
        let name = match settings.servers {
            RedisServers::One(_) => "url",
            RedisServers::Cluster(_) => "cluster",
            RedisServers::Sentinel { .. } => "sentinel",
        };
        at.field(name).warning(
            "the password crosses the network in the clear: an attacker on the network path can read it and make keys valid",
            "write it with rediss://",
        );
    }
}

/// Where requests pass though nobody has found that they may.
fn note_openness(spec: &ConfigSpec, source: &SourceConfig, top: &FieldPath<'_>) {
    if spec.mode == Mode::Observe {
        top.field("mode").warning(
            "every request is allowed, whatever the decision",
            "write `enforce` to have refusals take effect",
        );
    }
    if spec.default == DefaultAccess::AllowAnyone {
        top.field("default").warning(
            "a request that no rule matches needs no key",
            "write `require-key`, and a rule with `allow: anyone` for what is to be public",
        );
    }
    let is_remote = source.path().is_none();
    if is_remote && !spec.cache.stale_if_error.0.is_zero() {
        top.field("cache").field("stale_if_error").warning(
            format!(
                "while the source is failing, keys that were known pass for up to {} more, those revoked meanwhile too",
                spec.cache.stale_if_error
            ),
            "write 0s to have them refused",
        );
    }
}

fn note_shadowed(rules: &[RuleSpec], at: &FieldPath<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        if let Some((other, _)) = shadowed_by(earlier, rule) {
            at.index(index).warning(
                format!("no request reaches this rule: rules[{other}] matches all that it does, and the first wins"),
                "move it up, unless Envoy routes name it in `context_extensions`",
            );
        }
    }
}
