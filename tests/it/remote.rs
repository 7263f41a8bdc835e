//! Keys in an HTTP service, Redis or Valkey: looked up by digest, cached, refused as soon as they
//! are revoked, and what happens to requests while the source fails. Tests ask keyward over gRPC
//! unless Envoy matters.

use std::time::Instant;

use tonic::transport::Channel;

use crate::support::check::{self, Answer};
use crate::support::keyfile::KeyFile;
use crate::support::keyward::{Home, Keyward};
use crate::support::message::Reply;
use crate::support::metrics::sample;
use crate::support::wait;

mod certificates;
mod configs;
mod files;
mod flood;
mod http;
mod large_bodies;
mod made_up;
mod missed_changes;
mod outage;
mod push;
mod records;
mod redis;
mod redis_users;
mod revocation;
mod single_flight;
mod test_doubles;
mod tools;
mod topologies;

struct Sidecar {
    keyward: Keyward,
    channel: Channel,
}

/// A source of this kind in a configuration, and a cache without expiry. Lookups have seconds, for
/// busy machines.
fn of(kind: &str, url: &str) -> String {
    format!(
        "source: {{{kind}: {{url: \"{url}\", timeout: 5s}}}}\ncache: {{ttl: 1h, negative_ttl: 1h}}\n"
    )
}

fn keys_url(address: std::net::SocketAddr) -> String {
    format!("http://{address}/v1/keys/{{digest}}")
}

/// That service with its event stream.
fn with_events(address: std::net::SocketAddr) -> String {
    let url = keys_url(address);
    format!(
        "source: {{http: {{url: \"{url}\", timeout: 5s, events_url: \"http://{address}/events\"}}}}\ncache: {{ttl: 1h, negative_ttl: 1h}}\n"
    )
}

impl Sidecar {
    async fn start(config: &str) -> Self {
        Self::at(Home::new(config, &KeyFile::new())).await
    }

    async fn at(home: Home) -> Self {
        let keyward = home.start().await;
        let channel = check::channel(&keyward.grpc).await;
        Self { keyward, channel }
    }

    async fn ask(&self, secret: &str) -> Answer {
        check::check(&self.channel, check::with_key(secret))
            .await
            .unwrap()
    }

    /// `allowed` or the reason code.
    async fn outcome(&self, secret: &str) -> String {
        self.ask(secret).await.outcome()
    }

    /// Repeats the check until this is the result, and prints each new result with its time.
    async fn becomes(&self, secret: &str, code: &str) {
        let started = Instant::now();
        let mut last = String::new();
        let what = format!("{secret} becomes {code}");
        wait::until(&what, async || {
            let outcome = self.outcome(secret).await;
            if outcome != last {
                println!("{secret}: {outcome} after {:?}", started.elapsed());
                last.clone_from(&outcome);
            }
            outcome == code
        })
        .await;
    }

    /// Repeats the check until the source is unavailable; before that the key must be allowed.
    async fn is_served_until_unavailable(&self, secret: &str) {
        let started = Instant::now();
        wait::until("the source is reported unavailable", async || {
            let answer = self.ask(secret).await;
            assert!(
                answer.allowed() || answer.is_source_unavailable(),
                "{answer:?}"
            );
            !answer.allowed()
        })
        .await;
        println!("{secret}: unavailable after {:?}", started.elapsed());
    }

    async fn metrics(&self) -> Reply {
        self.keyward.fetch("/metrics").await
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sample(&self.metrics().await, name, labels).unwrap_or(0.0)
    }

    /// The number of lookups with this result: `found`, `not_found`, `error` or `timeout`.
    async fn lookups(&self, result: &str) -> f64 {
        let result = format!("result=\"{result}\"");
        self.metric("keyward_source_lookups_total", &[&result])
            .await
    }

    /// Waits until an allowed key is answered without a lookup.
    async fn answers_from_memory(&self, secret: &str) {
        wait::until("the key is served from the cache", async || {
            let before = self.lookups("found").await;
            let allowed = self.ask(secret).await.allowed();
            allowed && self.lookups("found").await.to_bits() == before.to_bits()
        })
        .await;
    }
}
