//! Keys that live elsewhere, in an HTTP service, Redis or Valkey: looked up by digest, kept for a while, refused the moment
//! they are revoked, and what becomes of requests while the source fails. keyward is asked over gRPC unless Envoy matters.

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
mod outage;
mod parts;
mod places;
mod push;
mod records;
mod redis;
mod redis_users;
mod revocation;
mod single_flight;
mod tools;
mod unheard;

/// A keyward, and a channel to it.
struct Asked {
    keyward: Keyward,
    channel: Channel,
}

/// A source of one kind as a configuration names it, and a cache that forgets nothing by itself. Lookups have seconds, for
/// machines that are busy.
fn of(kind: &str, url: &str) -> String {
    format!(
        "source: {{{kind}: {{url: \"{url}\", timeout: 5s}}}}\ncache: {{ttl: 1h, negative_ttl: 1h}}\n"
    )
}

/// The URL of a key service at that address.
fn keys_url(address: std::net::SocketAddr) -> String {
    format!("http://{address}/v1/keys/{{digest}}")
}

/// That service with its stream of events.
fn with_events(address: std::net::SocketAddr) -> String {
    let url = keys_url(address);
    format!(
        "source: {{http: {{url: \"{url}\", timeout: 5s, events_url: \"http://{address}/events\"}}}}\ncache: {{ttl: 1h, negative_ttl: 1h}}\n"
    )
}

impl Asked {
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
    async fn said(&self, secret: &str) -> String {
        self.ask(secret).await.said()
    }

    /// Asks until this is said, and prints what was said and when.
    async fn becomes(&self, secret: &str, code: &str) {
        let asked = Instant::now();
        let mut last = String::new();
        let what = format!("{secret} becomes {code}");
        wait::until(&what, async || {
            let said = self.said(secret).await;
            if said != last {
                println!("{secret}: {said} after {:?}", asked.elapsed());
                last.clone_from(&said);
            }
            said == code
        })
        .await;
    }

    /// Asks until the source is said to be unavailable; before that the key is allowed, and nothing else is ever said.
    async fn is_served_until_unavailable(&self, secret: &str) {
        let asked = Instant::now();
        wait::until("the source is said to be unavailable", async || {
            let answer = self.ask(secret).await;
            assert!(
                answer.allowed() || answer.is_source_unavailable(),
                "{answer:?}"
            );
            !answer.allowed()
        })
        .await;
        println!("{secret}: unavailable after {:?}", asked.elapsed());
    }

    async fn metrics(&self) -> Reply {
        self.keyward.fetch("/metrics").await
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sample(&self.metrics().await, name, labels).unwrap_or(0.0)
    }

    /// How many lookups ended so; `found`, `not_found`, `error` or `timeout`.
    async fn lookups(&self, result: &str) -> f64 {
        let result = format!("result=\"{result}\"");
        self.metric("keyward_source_lookups_total", &[&result])
            .await
    }

    /// Waits until a key that is allowed is answered without a lookup.
    async fn answers_from_memory(&self, secret: &str) {
        wait::until("the cache is believed", async || {
            let before = self.lookups("found").await;
            let allowed = self.ask(secret).await.allowed();
            allowed && self.lookups("found").await.to_bits() == before.to_bits()
        })
        .await;
    }
}
