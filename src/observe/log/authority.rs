//! Explains, once, why the HTTP/2 stack refuses a call: its `:authority` is not a host and a port.
//!
//! Some gRPC clients send the path of a Unix socket as the authority: gRPC's C core, and so Python,
//! C++ and Envoy's `google_grpc`. They get a stream error without a reason. The stack reports it
//! only as an event at `debug`, so this filter lets the first such event pass, and the formatter
//! writes our text in its place: peers can cause any number of these events and choose their text.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// The stack's target for malformed requests.
pub(super) const TARGET: &str = "h2::server";
/// How its message begins.
const BEGINNING: &str = "malformed headers: malformed authority";
/// The text that is logged instead.
pub(super) const MESSAGE: &str = "a gRPC call was refused, for its :authority is not a host and a port; a client that sends the path of a \
     Unix socket needs the channel argument `grpc.default_authority`, such as `localhost`; this is logged once";

/// Whether an event is the stack's report of a malformed request.
pub(super) fn is_refusal(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::DEBUG
}

/// Lets the first malformed authority pass, and no other malformed request.
#[derive(Debug, Default)]
pub(super) struct FirstAuthorityError(AtomicBool);

impl<S> Filter<S> for FirstAuthorityError {
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

/// Whether the message is about an authority.
struct Authority(bool);

impl Visit for Authority {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 |= format!("{value:?}").starts_with(BEGINNING);
    }
}
