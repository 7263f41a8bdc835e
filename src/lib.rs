//! keyward is a function from Envoy's `CheckRequest` to an allow-or-deny `Decision`, with the keys
//! it needs on one side and the records it leaves on the other.
//!
//! ```text
//! CheckRequest ─ envoy/decode ─> RequestAttributes ─ authorizer ─> Decision ─ answer ─ envoy/encode ─> CheckResponse
//!                                                    │     │         └─> observe (metrics, decision log)
//!                      authz/credential, digest ─────┘     └── authz/rule, key, path, host (pure)
//!                           keys (cache ─> source)
//! ```
//!
//! The way of a request is a straight line through the rooms, and no room is entered twice:
//!
//! - [`envoy`]: the wire. Bytes to [`RequestAttributes`](authz::request::RequestAttributes),
//!   decisions to bytes.
//! - [`authorizer`]: the pipeline, one function in the order of a decision.
//! - [`answer`]: what a decision says to caller and upstream: status, headers, body, as plain
//!   values.
//! - [`authz`]: its parts, pure: credentials, digests, keys, rules, paths, hosts, reasons.
//! - [`keys`]: where keys come from: a file, an HTTP service or Redis behind one seam, and what
//!   hears of changes; moka in front.
//! - [`manage`]: what changes keys: new secrets and writes, for the command line alone.
//! - [`observe`]: what is left behind: metrics, the decision log, the log.
//! - [`redis`], [`tls`], [`watch`], [`yaml`]: mechanisms, each once: connections that reconnect;
//!   certificates that rotate; files that are followed; text to typed shapes, or everything that is
//!   wrong with it, and where.
//! - [`backoff`], [`clock`], [`error_chain`], [`secret_format`]: leaves, which import nothing.
//! - [`config`]: `keyward.yaml`, as written and as checked.
//! - [`server`]: builds everything, binds, follows the files, drains. The only place that
//!   constructs.
//! - [`cli`]: the command line.
//!
//! Imports go one way, and a test reads the `use` lines and holds the code to it:
//!
//! ```text
//! cli        -> all but envoy              server     -> all but cli, manage, redis
//! config     -> authz, keys, observe, redis, tls, watch, yaml
//! envoy      -> answer, authorizer, authz, keys, observe
//! authorizer -> authz, keys                answer     -> authz
//! observe    -> authz                      manage     -> authz, keys, redis, watch, yaml
//! keys       -> authz, observe, redis, tls, watch, yaml
//! redis      -> tls, watch                 tls        -> observe, watch
//! authz, watch, yaml and the leaves -> leaves at most
//! ```
//!
//! How it fails: a denial is a value, not an error. An error means that we could not do our job,
//! and ends as a refusal whose reason says so, never as an allow. Every answer but an allow carries
//! a non-zero status, because an empty one would be an allow to Envoy. What is wrong with a file is
//! told whole, and what was in force stays in force.

pub mod answer;
pub mod authorizer;
pub mod authz;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod envoy;
pub mod error_chain;
pub mod keys;
pub mod manage;
pub mod observe;
pub mod redis;
pub mod secret_format;
pub mod server;
pub mod tls;
pub mod watch;
pub mod yaml;
