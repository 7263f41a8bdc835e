//! Receives the changes of keys that the service sends as server-sent events.
//!
//! Keeps one stream open, and reports changes, and whether there is a stream, to the
//! [`InvalidationLog`]. An open stream promises every change from its opening on. So an event that
//! is not understood counts as a change of all keys, and a stream that may have missed one is
//! closed: one that lacks its heartbeat, that is not text, or in which an event does not end.

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::HttpSource;
use super::settings::EventsUrl;
use crate::authz::key::KeyId;
use crate::backoff::Backoff;
use crate::http::encoding;
use crate::http::event_stream::{EventStream, Item};
use crate::http::failure::Failure;
use crate::keys::invalidation::InvalidationLog;

/// Comments closer to one another than this are one heartbeat: a server may begin with several.
const SAME_HEARTBEAT: Duration = Duration::from_millis(100);

/// Keeps a stream open and reports what it brings. Never ends.
///
/// Entries are valid from the moment at which the response's head is there: the service sends each
/// change after that, and lookups that began before are from an earlier version. When the stream
/// ends, entries are due for revalidation at once, and not when reopening fails: in between a
/// change may be missed.
pub(super) async fn follow(source: &HttpSource, url: &EventsUrl, log: &InvalidationLog) {
    let timing = source.timing;
    let mut backoff = Backoff::new(timing.min_backoff, timing.max_backoff);
    loop {
        match open(source, url).await {
            Ok(response) => {
                let opened_at = source.clock.monotonic();
                log.subscribed();
                log.unsubscribed(&receive(source, response, log).await);
                // Not for a server that hangs up at once: it would be asked in a tight loop.
                if source.clock.monotonic().saturating_sub(opened_at) >= timing.max_backoff {
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
    let opened = tokio::time::timeout(
        source.timing.connect_timeout,
        source.authorized(request).send(),
    );
    let response = opened.await.map_err(|_| Failure::timeout())??;
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

/// Reports what a stream brings until it ends; gives why it did.
async fn receive(source: &HttpSource, mut response: Response, log: &InvalidationLog) -> String {
    let mut stream = EventStream::default();
    let mut heartbeats = Heartbeats::default();
    let mut items = Vec::new();
    let mut has_warned = false;
    let mut unfinished_since: Option<Duration> = None;
    loop {
        let silence = heartbeats.longest_silence(source.timing.min_silence);
        let unfinished = unfinished_since.map(|since| {
            let waited = source.clock.monotonic().saturating_sub(since);
            source.timing.min_silence.saturating_sub(waited)
        });
        let chunk = match silence.into_iter().chain(unfinished).min() {
            None => response.chunk().await,
            Some(wait) => match tokio::time::timeout(wait, response.chunk()).await {
                Ok(chunk) => chunk,
                // Without the empty line behind it an event would never be seen.
                Err(_) if unfinished == Some(wait) => {
                    return "an event has no end, which is an empty line".to_owned();
                }
                Err(_) => return format!("no heartbeat for {wait:?}"),
            },
        };
        let read = match chunk {
            Ok(Some(chunk)) => stream.read(&chunk, &mut items),
            Ok(None) => return "the stream ended".to_owned(),
            Err(error) => return format!("the stream broke off: {}", Failure::from(error)),
        };
        for item in items.drain(..) {
            let change = match item {
                Item::Comment => {
                    heartbeats.beat(source.clock.monotonic());
                    continue;
                }
                Item::Message(data) => Change::parse(&data),
                Item::Unknown => None,
            };
            match change {
                Some(Change::Key(id)) => log.key_changed(id.as_str()),
                Some(Change::All) => log.all_changed(),
                None => report_unknown(log, &mut has_warned),
            }
        }
        if let Err(unreadable) = read {
            return unreadable.to_string();
        }
        unfinished_since = stream
            .is_within_event()
            .then(|| unfinished_since.unwrap_or_else(|| source.clock.monotonic()));
    }
}

/// Warns once a stream, or a service that sends such events fills our log.
fn report_unknown(log: &InvalidationLog, has_warned: &mut bool) {
    log.all_changed();
    if !std::mem::replace(has_warned, true) {
        tracing::warn!(
            source = "http",
            "an event is not understood; every key counts as changed"
        );
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The key with that id changed, or there is none any more.
    Key(KeyId),
    /// Any key may have changed.
    All,
}

/// The data of a message; unknown members are ignored.
#[derive(Deserialize)]
struct Message {
    event: Option<String>,
    key_id: Option<String>,
    all: Option<bool>,
}

impl Change {
    /// The change in the data of a message, if it is understood.
    fn parse(data: &[u8]) -> Option<Self> {
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

/// The interval of a server's heartbeats, which it does not announce.
#[derive(Debug, Default)]
struct Heartbeats {
    last: Option<Duration>,
    max_backoff: Option<Duration>,
}

impl Heartbeats {
    /// There was a heartbeat, at that moment of the monotonic clock.
    fn beat(&mut self, now: Duration) {
        let pause = self.last.replace(now).map(|last| now.saturating_sub(last));
        let pause = pause.filter(|pause| *pause >= SAME_HEARTBEAT);
        self.max_backoff = self.max_backoff.max(pause);
    }

    /// How long the server may be silent; `None` for one without regular heartbeats.
    fn longest_silence(&self, least: Duration) -> Option<Duration> {
        self.max_backoff.map(|pause| (pause * 3).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_of_a_key_or_of_all_or_not_understood() {
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
            assert_eq!(Change::parse(data.as_bytes()), want, "{data}");
        }
        assert_eq!(
            Change::parse(b"{\"event\":\"invalidate\",\"key_id\":\"\xff\"}"),
            None
        );
    }

    #[test]
    fn a_stream_may_be_silent_for_three_times_its_longest_pause() {
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
            assert_eq!(heartbeats.longest_silence(least), want, "{beats:?}");
        }
    }
}
