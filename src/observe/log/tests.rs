//! Lines as they are written: their shape, who is heard, and what becomes of them when nobody
//! reads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::line::is_unsafe;
use super::*;

const CANARY: &str = "kw_canary_secret";

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_250).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
        .unwrap()
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(in crate::observe) fn settings(format: LogFormat, level: LogLevel) -> LogSettings {
    LogSettings {
        format,
        level,
        decisions: Decisions::All,
        max_denied: 100,
    }
}

/// What a log writes while `tell` runs as the thread's subscriber.
pub(in crate::observe) fn written(
    settings: LogSettings,
    colour: bool,
    tell: impl FnOnce(&Log),
) -> String {
    let kept = Kept::default();
    let console = Console {
        is_terminal: false,
        colour,
    };
    let (log, flush) = Log::start(settings, console, Arc::new(Still), kept.clone());
    tracing::dispatcher::with_default(&log.dispatch, || tell(&log));
    drop(flush);
    kept.text()
}

#[derive(Debug, thiserror::Error)]
#[error("the file cannot be read")]
struct Outer(#[source] io::Error);

fn tell_of_everything() {
    let error: &(dyn std::error::Error + 'static) = &Outer(io::Error::other("no\nsuch \"file\""));
    tracing::info!(
        grpc = "127.0.0.1:9191",
        ms = 5_u64,
        ratio = 0.5,
        endless = f64::INFINITY,
        ok = true,
        left = -1_i64,
        path = %"a b",
        empty = "",
        sign = "a=b",
        list = ?["x"],
        error,
        "listening on {}", 2
    );
}

#[test]
fn an_event_is_one_flat_json_object() {
    let line = written(settings(LogFormat::Json, LogLevel::Info), true, |_| {
        tell_of_everything();
    });
    let expected = concat!(
        r#"{"ts":"2026-09-21T14:13:20.250000Z","level":"info","msg":"listening on 2","grpc":"127.0.0.1:9191","ms":5,"#,
        r#""ratio":0.5,"endless":"inf","ok":true,"left":-1,"path":"a b","empty":"","sign":"a=b","list":"[\"x\"]","#,
        r#""error":"the file cannot be read: no\nsuch \"file\""}"#,
        "\n"
    );
    assert_eq!(line, expected);
    let Value::Object(members) = serde_json::from_str(&line).unwrap() else {
        panic!("no object: {line}")
    };
    assert!(
        members
            .values()
            .all(|value| !value.is_object() && !value.is_array())
    );
}

#[test]
fn an_event_is_a_line_of_words() {
    let line = written(settings(LogFormat::Text, LogLevel::Info), false, |_| {
        tell_of_everything();
    });
    let expected = concat!(
        r#"2026-09-21T14:13:20.250000Z  INFO listening on 2 grpc=127.0.0.1:9191 ms=5 ratio=0.5 endless=inf ok=true "#,
        r#"left=-1 path="a b" empty="" sign="a=b" list="[\"x\"]" "#,
        r#"error="the file cannot be read: no\nsuch \"file\"""#,
        "\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn colour_is_for_text_and_only_where_asked_for() {
    for (format, colour, expected) in [
        (LogFormat::Text, true, true),
        (LogFormat::Text, false, false),
        (LogFormat::Json, true, false),
        (LogFormat::Json, false, false),
    ] {
        let line = written(settings(format, LogLevel::Info), colour, |_| {
            tracing::warn!(a = 1, "coloured");
        });
        assert_eq!(
            line.contains('\x1b'),
            expected,
            "{format:?} {colour}: {line}"
        );
    }
}

#[test]
fn lines_below_the_level_are_not_written() {
    let tell = |_: &Log| {
        tracing::error!("one");
        tracing::warn!("two");
        tracing::info!("three");
        tracing::debug!("four");
        tracing::trace!("five");
    };
    for (level, lines) in [
        (LogLevel::Error, 1),
        (LogLevel::Warn, 2),
        (LogLevel::Info, 3),
        (LogLevel::Debug, 4),
        (LogLevel::Trace, 5),
    ] {
        let text = written(settings(LogFormat::Json, level), false, tell);
        assert_eq!(text.lines().count(), lines, "{level:?}: {text}");
        assert!(text.lines().next_back().unwrap().contains(&format!(
            "\"level\":{}",
            serde_json::to_string(&level).unwrap()
        )));
    }
}

#[test]
fn other_settings_hold_from_the_next_line_on() {
    let text = written(settings(LogFormat::Json, LogLevel::Warn), false, |log| {
        let tell = || tracing::debug!("told");
        tell();
        log.reconfigure(settings(LogFormat::Text, LogLevel::Debug));
        tell();
        log.reconfigure(settings(LogFormat::Json, LogLevel::Info));
        tell();
    });
    assert_eq!(text, "2026-09-21T14:13:20.250000Z DEBUG told\n");
}

#[test]
fn dependencies_are_heard_from_warn_on_and_without_fields() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let text = written(settings(format, LogLevel::Trace), false, |_| {
            tracing::trace!(target: "h2::codec", header = CANARY, "frame {CANARY}");
            tracing::debug!(target: "hyper::proto", "header {CANARY}");
            tracing::info!(target: "hyper", "header {CANARY}");
            tracing::warn!(target: "tonic", header = CANARY, "a warning");
            tracing::trace_span!("span", CANARY).in_scope(|| tracing::trace!("ours"));
        });
        assert!(!text.contains(CANARY), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("a warning") && text.contains("tonic") && text.contains("ours"),
            "{text}"
        );
    }
}

/// Waits for leave before it takes anything, and tells of what it does.
struct Stalled {
    news: Sender<()>,
    leave: Receiver<()>,
    kept: Kept,
}

impl io::Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.news.send(());
        let _ = self.leave.recv();
        let taken = self.kept.write(bytes);
        let _ = self.news.send(());
        taken
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stalls_holds_nobody_up_and_is_told_what_was_lost() {
    let (news, heard) = channel();
    let (give_leave, leave) = channel();
    let kept = Kept::default();
    let output = Stalled {
        news,
        leave,
        kept: kept.clone(),
    };
    let settings = settings(LogFormat::Json, LogLevel::Info);
    let (log, flush) = Log::start(settings, Console::default(), Arc::new(Still), output);
    tracing::dispatcher::with_default(&log.dispatch, || {
        tracing::info!("in the hands of the thread");
        heard.recv().unwrap();
        for _ in 0..MAX_WAITING_LINES + 3 {
            tracing::info!("waits or is lost");
        }
        drop(give_leave);
        while kept.text().lines().count() < 1 + MAX_WAITING_LINES {
            heard.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        tracing::info!("after");
        tracing::info!("at ease");
    });
    drop(flush);
    let text = kept.text();
    let mut last = text.lines().rev();
    let [at_ease, after] =
        [(); 2].map(|()| serde_json::from_str::<Value>(last.next().unwrap()).unwrap());
    assert_eq!(after["lines_lost"], 3);
    assert!(at_ease.get("lines_lost").is_none());
    assert_eq!(text.lines().count(), 1 + MAX_WAITING_LINES + 2);
}

#[test]
fn what_is_under_way_at_the_end_is_written() {
    let text = written(settings(LogFormat::Json, LogLevel::Info), false, |_| {
        for number in 0..1000 {
            tracing::info!(number, "line");
        }
    });
    let numbers = text.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap()["number"]
            .as_u64()
            .unwrap()
    });
    assert!(numbers.eq(0..1000), "lines are missing or out of order");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_stays_in_its_place(value in any::<String>(), message in any::<String>()) {
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = written(settings(format, LogLevel::Info), false, |_| tracing::info!(value, next = 1, "{message}"));
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains(is_unsafe), "{line:?}");
            if format == LogFormat::Json {
                let members: Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(members["value"].as_str(), Some(&*value));
                prop_assert_eq!(members["msg"].as_str(), Some(&*message));
            }
        }
    }
}
