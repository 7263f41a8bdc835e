//! Tells of calls that the HTTP/2 stack refuses for their `:authority`, which it tells nobody but its own debug log.
//!
//! gRPC clients of a Unix socket that send its path as the authority (gRPC's C core, and so Python, C++ and Envoy's
//! `google_grpc`) get a stream error and no word of why. The stack has no hook, so its event is listened to: once, for
//! peers can bring about any number of them, and without its text, which is theirs.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Who tells of malformed requests, at `debug` and of nothing else that is frequent.
pub(super) const TARGET: &str = "h2::server";
/// How its message begins.
const BEGINNING: &str = "malformed headers: malformed authority";
/// What is told instead.
pub(super) const MESSAGE: &str = "a gRPC call was refused, for its :authority is not a host and a port; a client that sends the path of a \
     Unix socket needs the channel argument `grpc.default_authority`, such as `localhost`; this is told once";

/// Whether an event is the stack's, of a request that it refuses.
pub(super) fn is_refusal(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::DEBUG
}

/// Lets the first refusal of an authority pass, and no other refusal.
#[derive(Debug, Default)]
pub(super) struct FirstRefusal(AtomicBool);

impl<S> Filter<S> for FirstRefusal {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if !is_refusal(event.metadata()) {
            return true;
        }
        let mut is_authority = Authority(false);
        if !self.0.load(Ordering::Relaxed) {
            event.record(&mut is_authority);
        }
        is_authority.0 && !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Whether the message tells of an authority.
struct Authority(bool);

impl Visit for Authority {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 |= format!("{value:?}").starts_with(BEGINNING);
    }
}
