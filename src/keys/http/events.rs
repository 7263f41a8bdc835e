//! What the service tells by itself: changes of keys, as server-sent events.
//!
//! Keeps one stream open and says to [`InvalidationLog`] what it hears, and whether it hears anything. That a stream is open means that
//! every change from then on is told in it, so whatever is not understood, or could have been missed, is taken for the worst.

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::super::invalidation::InvalidationLog;
use super::HttpSource;
use super::encoding;
use super::event_stream::{EventStream, Item};
use super::failure::Failure;
use super::settings::EventsUrl;
use crate::authz::key::KeyId;
use crate::backoff::Backoff;

/// Comments closer to one another than this are one sign of life: a server may greet with several.
const SAME_HEARTBEAT: Duration = Duration::from_millis(100);

/// Keeps a stream open and reports what it brings. Never ends.
pub(super) async fn follow(source: &HttpSource, url: &EventsUrl, log: &InvalidationLog) {
    let timing = source.timing;
    let mut backoff = Backoff::new(timing.first_pause, timing.longest_pause);
    loop {
        match open(source, url).await {
            Ok(response) => {
                let since = source.clock.monotonic();
                log.subscribed();
                log.unsubscribed(&hear(source, response, log).await);
                // Only after a while: a server that hangs up at once must not be asked ever faster.
                if source.clock.monotonic().saturating_sub(since) >= timing.longest_pause {
                    backoff.reset();
                }
            }
            Err(failure) => log.unsubscribed(&failure.to_string()),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Opens the stream.
pub(super) async fn open(source: &HttpSource, url: &EventsUrl) -> Result<Response, Failure> {
    let client = source.clients.load_full();
    let request = client.events.get(url.as_url().clone());
    let request = request
        .header(ACCEPT, "text/event-stream")
        .header(ACCEPT_ENCODING, encoding::IDENTITY)
        .header(CACHE_CONTROL, "no-store");
    let opened = tokio::time::timeout(source.timing.open_within, source.authorized(request).send());
    let response = opened.await.map_err(|_| Failure::TIMEOUT)??;
    if response.status() != StatusCode::OK {
        return Err(Failure::of_status(response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream")) {
        return Err(Failure::permanent("its answer is not a stream of events"));
    }
    encoding::require_identity(response.headers())?;
    Ok(response)
}

/// Hears what a stream tells, until it ends; gives why it did.
async fn hear(source: &HttpSource, mut response: Response, log: &InvalidationLog) -> String {
    let mut stream = EventStream::default();
    let mut heartbeats = Heartbeats::default();
    let mut items = Vec::new();
    let mut warned = false;
    // Since when there is the beginning of an event without its end.
    let mut begun: Option<Duration> = None;
    loop {
        let silence = heartbeats.patience(source.timing.least_silence);
        let unfinished = begun.map(|begun| {
            let waited = source.clock.monotonic().saturating_sub(begun);
            source.timing.least_silence.saturating_sub(waited)
        });
        let patience = silence.into_iter().chain(unfinished).min();
        let chunk = match patience {
            None => response.chunk().await,
            Some(patience) => match tokio::time::timeout(patience, response.chunk()).await {
                Ok(chunk) => chunk,
                // A service that forgets the empty line behind an event would never be heard.
                Err(_) if unfinished == Some(patience) => {
                    return "an event has no end, which is an empty line".to_owned();
                }
                Err(_) => return format!("no heartbeat for {patience:?}"),
            },
        };
        let read = match chunk {
            Ok(Some(chunk)) => stream.read(&chunk, &mut items),
            Ok(None) => return "the stream ended".to_owned(),
            Err(error) => return format!("the stream broke off: {}", Failure::from(error)),
        };
        for item in items.drain(..) {
            match item {
                Item::Comment => heartbeats.beat(source.clock.monotonic()),
                Item::Message(data) => match Change::told_by(&data) {
                    Some(Change::Key(id)) => log.key_changed(id.as_str()),
                    Some(Change::All) => log.all_changed(),
                    None => not_understood(log, &mut warned),
                },
                Item::Unknown => not_understood(log, &mut warned),
            }
        }
        if let Err(unreadable) = read {
            return unreadable.to_string();
        }
        begun = match begun {
            _ if !stream.is_within_event() => None,
            None => Some(source.clock.monotonic()),
            begun => begun,
        };
    }
}

/// Takes the worst for granted. Warns once a stream, or whoever sends such events fills our log.
fn not_understood(log: &InvalidationLog, warned: &mut bool) {
    log.all_changed();
    if !std::mem::replace(warned, true) {
        tracing::warn!(
            source = "http",
            "an event is not understood; every key is taken for changed"
        );
    }
}

/// What a message tells.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The key with that id changed or went.
    Key(KeyId),
    /// Any key may have changed.
    All,
}

/// A message as it is written; it may say more than we know of.
#[derive(Deserialize)]
struct Message {
    event: Option<String>,
    key_id: Option<String>,
    all: Option<bool>,
}

impl Change {
    /// What the data of a message says, if it can be understood.
    fn told_by(data: &[u8]) -> Option<Self> {
        let message: Message = serde_json::from_slice(data).ok()?;
        if message.all == Some(true) {
            return Some(Self::All);
        }
        match message.event?.as_str() {
            "invalidate" => Some(Self::Key(message.key_id?.parse().ok()?)),
            _ => None,
        }
    }
}

/// The rhythm of a server's signs of life.
#[derive(Debug, Default)]
struct Heartbeats {
    last: Option<Duration>,
    longest: Option<Duration>,
}

impl Heartbeats {
    /// A sign of life, at that moment of the monotonic clock.
    fn beat(&mut self, now: Duration) {
        let pause = self.last.replace(now).map(|last| now.saturating_sub(last));
        let pause = pause.filter(|pause| *pause >= SAME_HEARTBEAT);
        self.longest = self.longest.max(pause);
    }

    /// How long such a server may be silent; `None` for one that has shown no rhythm.
    fn patience(&self, least: Duration) -> Option<Duration> {
        self.longest.map(|longest| (longest * 3).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_of_a_key_or_of_all_or_is_not_understood() {
        let key = |id: &str| Some(Change::Key(id.parse().unwrap()));
        for (data, want) in [
            (r#"{"event":"invalidate","key_id":"a"}"#, key("a")),
            (
                r#" {"key_id":"a.b","event":"invalidate","at":1} "#,
                key("a.b"),
            ),
            (
                r#"{"event":"invalidate","key_id":"a","all":false}"#,
                key("a"),
            ),
            (r#"{"all":true}"#, Some(Change::All)),
            (r#"{"event":"invalidate","all":true}"#, Some(Change::All)),
            (
                r#"{"event":"invalidate","key_id":"a","all":true}"#,
                Some(Change::All),
            ),
            (r#"{"all":false}"#, None),
            (r#"{"all":"true"}"#, None),
            (r#"{"event":"invalidate"}"#, None),
            (r#"{"event":"invalidate","key_id":null}"#, None),
            (r#"{"event":"invalidate","key_id":7}"#, None),
            (r#"{"event":"invalidate","key_id":""}"#, None),
            (r#"{"event":"invalidate","key_id":"a","key_id":"b"}"#, None),
            (r#"{"event":"Invalidate","key_id":"a"}"#, None),
            (r#"{"event":"created","key_id":"a"}"#, None),
            (r#"{"key_id":"a"}"#, None),
            (r#"{"event":"invalidate","key_id":"a"} {}"#, None),
            (r#"{"event":"invalidate","key_id":"a""#, None),
            ("[]", None),
            ("ping", None),
            ("", None),
        ] {
            assert_eq!(Change::told_by(data.as_bytes()), want, "{data}");
        }
        assert_eq!(
            Change::told_by(b"{\"event\":\"invalidate\",\"key_id\":\"\xff\"}"),
            None
        );
    }

    #[test]
    fn a_server_is_held_to_the_longest_pause_between_its_heartbeats() {
        let least = Duration::from_secs(3);
        for (beats, want) in [
            (&[][..], None),
            (&[500], None),
            (&[500, 500, 520], None),
            (&[0, 500], Some(3000)),
            (&[0, 2000], Some(6000)),
            (&[0, 2000, 3000, 4000], Some(6000)),
            (&[0, 1000, 16_000], Some(45_000)),
        ] {
            let mut heartbeats = Heartbeats::default();
            for beat in beats {
                heartbeats.beat(Duration::from_millis(*beat));
            }
            let want = want.map(Duration::from_millis);
            assert_eq!(heartbeats.patience(least), want, "{beats:?}");
        }
    }
}
