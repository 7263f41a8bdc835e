//! keyward, an upstream, and an Envoy whose listeners connect them to callers.

use super::bootstrap::{Bootstrap, Listener};
use super::envoy::Envoy;
use super::keyfile::KeyFile;
use super::keyward::Keyward;
use super::upstream::Upstream;

pub struct Stack {
    pub envoy: Envoy,
    pub keyward: Keyward,
    pub upstream: Upstream,
}

impl Stack {
    /// `listeners` adds what the test needs to the shipped bootstrap.
    pub async fn start(
        config: &str,
        keys: &KeyFile,
        listeners: impl FnOnce(Bootstrap) -> Bootstrap,
    ) -> Self {
        let upstream = Upstream::start().await;
        let keyward = Keyward::start(config, keys).await;
        let bootstrap = listeners(Bootstrap::new(&keyward.grpc, upstream.address));
        let envoy = Envoy::start(&bootstrap).await;
        Self {
            envoy,
            keyward,
            upstream,
        }
    }
}

/// The two forms in which Envoy sends headers, one listener each: `headers` and `raw`.
pub fn both_shapes(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap
        .listener("headers", |_| {})
        .listener("raw", Listener::raw_headers)
}

/// The same without Envoy's own protection in front.
pub fn both_shapes_unprotected(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap
        .listener("headers", Listener::unprotected)
        .listener("raw", |l| {
            l.unprotected();
            l.raw_headers();
        })
}

pub const SHAPES: [&str; 2] = ["headers", "raw"];
