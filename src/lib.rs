//! keyward is a function from Envoy's `CheckRequest` to an allow-or-deny `Decision`, with the keys
//! it needs on one side and the records it leaves on the other.
//!
//! ```text
//! CheckRequest ── envoy/decode ──> RequestAttributes
//!                                       │
//! authz/credential, authz/digest ──> authorizer ──> Decision ──> observe (metrics, log)
//! keys (cache ──> source) ─────────>    │               │
//! authz/rule, key, path, host ─────>    │             answer ── envoy/encode ──> CheckResponse
//! ```
//!
//! A request passes through the top-level modules in a straight line, each once:
//!
//! - [`envoy`]: the wire: bytes to [`RequestAttributes`](authz::request::RequestAttributes), and
//!   answers to bytes.
//! - [`authorizer`]: the pipeline: one function in the order of a decision.
//! - [`answer`]: what caller and upstream receive: status, headers, body, as plain values.
//! - [`authz`]: the pure parts of a decision: credentials, digests, keys, rules, paths, hosts,
//!   reasons.
//! - [`keys`]: looks keys up in a file, an HTTP service or Redis, behind one trait, with a cache in
//!   front.
//! - [`manage`]: changes keys: new secrets and writes, for the command line only.
//! - [`observe`]: metrics, the decision log, the log.
//! - [`http`], [`redis`], [`tls`], [`watch`], [`yaml`]: mechanisms, each implemented once: answers
//!   over HTTP; connections that reconnect; certificates that rotate; files that are watched; text
//!   to typed values, or all problems of the text with their positions.
//! - [`backoff`], `caught_panic`, [`clock`], [`error_chain`], `mutex`, [`secret_format`],
//!   [`units`]: leaves, which import nothing.
//! - [`config`]: `keyward.yaml`, as written and as checked.
//! - [`server`]: builds everything from a configuration, binds, reloads, drains.
//! - [`cli`]: the command line.
//!
//! Imports go one way; a test reads the `use` lines and checks it:
//!
//! ```text
//! cli        -> all but envoy              server     -> all but cli, manage, redis
//! config     -> authz, keys, observe, redis, tls, watch, yaml
//! envoy      -> answer, authorizer, authz, observe
//! authorizer -> authz, keys                answer     -> authz
//! observe    -> authz                      manage     -> authz, keys, redis, watch, yaml
//! keys       -> authz, http, observe, redis, tls, watch, yaml
//! redis      -> tls, watch                 tls        -> observe, watch
//! authz, http, watch, yaml and the leaves -> leaves at most
//! ```
//!
//! How it fails: a denial is a value, not an error. An error means that keyward could not do its
//! job, and ends as a refusal whose reason says so, never as an allow. Every answer but an allow
//! has a non-zero status, because Envoy takes an empty one for an allow. All problems of a file are
//! reported at once, and the active state is kept.
//!
//! # Glossary
//!
//! The words of Envoy, HTTP and Redis mean here what they mean there. Besides:
//!
//! - *key*, *secret*, *client*, *plan*, *rule*: a key is a record with a public id; a secret is
//!   what a caller presents (`Credential`), and a key may have several; a client owns keys; a plan
//!   (`Plan`) gives them scopes; a rule (`Rule`) says what a request needs.
//! - *record*: what is stored of a key: `KeySpec` as written, `KeyRecord` once checked.
//! - *credential place* (`CredentialPlace`): where a request may carry a secret: a header, a query
//!   parameter or a cookie, with the prefix that keyward's secrets have there, if any.
//! - *digest* (`KeyDigest`): the hash of a secret, the only form that is stored, sent or logged.
//!   The *digester* (`Digester`) computes it, keyed with the *pepper* (`Pepper`) if there is one.
//! - *policy* (`Policy`): how requests are decided: the checked form of rules, plans, credential
//!   places and the like.
//! - *snapshot* (`Snapshot`): a policy and, for a file source, its keys, with its *generation*
//!   (`Generation`). A check uses one snapshot from start to end.
//! - *grant*, *refusal*, *reason* (`Grant`, `Refusal`, `Reason`): a decision is an allow with a
//!   grant, or a deny with a refusal, whose reason also says whether keyward could not decide.
//! - *trace* (`Trace`): receives the steps of a decision for `explain`; nothing while serving.
//! - *source* (`KeySource`): a file, an HTTP service or Redis, which holds the keys.
//! - *key cache* (`KeyCache`): what the authorizer asks: the keys of a file, or entries in front of
//!   a remote source. It gives a `CachedKey`: the record, with what the server prepared for it
//!   (`PreparedKey`).
//! - *entry store* (`EntryStore`): what lookups returned, an *entry* (`Entry`) per digest. The
//!   *negative cache* is its part for digests that no key has (`NegativeEntry`).
//! - *recently known*: a digest that a lookup found within the last hour.
//! - *single-flight* (`SingleFlight`): concurrent lookups of one digest are one lookup.
//! - *lookup slots* (`LookupSlots`): limit concurrent lookups; a recently known digest preempts the
//!   lookup of an unknown one.
//! - *circuit breaker* (`Breaker`): *closed*, lookups go to the source; *open*, they fail at once,
//!   while *probes* test the source; *half-open*, a few recently known digests go through.
//! - *invalidation log* (`InvalidationLog`): counts the changes that a source pushes as *versions*
//!   (`Version`), for all keys and for each *bucket* (`Bucket`), to which ids and digests are
//!   hashed.
//! - *validity* of an entry (`EntryValidity`), by its version: *valid*; *due for revalidation*,
//!   since a change may have been missed; *outdated*, since its key has changed.
//! - *subscription* (`SubscriptionState`): whether pushes arrive. `/readyz` calls it `armed`,
//!   `lost`, `refused`, `off`.
//! - *heartbeat*: what shows that a quiet connection works: ROLE or PING each second (Redis), a
//!   comment of the server (server-sent events).
//! - *stale-if-error*: how long an entry stays usable while its lookups fail.
//! - *watched file* (`WatchedFile`): a file that is read again when it changes. Its *settle
//!   tracker* (`SettleTracker`, a debounce) compares *fingerprints* (`Fingerprint`) and decides
//!   when.
//! - *reload* (`Reloader`): reads files again and swaps the *live state* (`LiveState`), of which
//!   the snapshot is a part.
//! - *drain* (`DrainTimes`): the time between SIGTERM and the closing of listeners.
//! - *connection limit*, *permit* (`ConnectionLimit`, `Permit`): a listener's connections.
//! - *reconnecting client* (`RedisClient`): one connection for all commands, replaced when it
//!   fails, its server stops being a master, or its credentials change.
//! - *backoff with jitter* (`Backoff`): pauses between attempts that double, shortened at random.

#![cfg_attr(
    test,
    allow(
        clippy::too_many_lines,
        reason = "a table of cases, or a scene told from its beginning to its end"
    )
)]

pub mod answer;
pub mod authorizer;
pub mod authz;
pub mod backoff;
mod caught_panic;
pub mod cli;
pub mod clock;
pub mod config;
pub mod envoy;
pub mod error_chain;
pub mod http;
pub mod keys;
pub mod manage;
mod mutex;
pub mod observe;
pub mod redis;
pub mod secret_format;
pub mod server;
pub mod tls;
pub mod units;
pub mod watch;
pub mod yaml;
