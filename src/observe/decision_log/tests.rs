//! Decisions as they stand in the log, and what a client can do to them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::authz::key::tests::record;
use crate::authz::key::{KeyRecord, MetadataValue};
use crate::authz::reason::Reason;
use crate::observe::log::line::is_unsafe;
use crate::observe::log::tests::{settings, written};
use crate::observe::log::{LogFormat, LogLevel};

/// What is written of a decision, at the level at which the least is.
fn line(record: &CheckRecord<'_>, format: LogFormat) -> String {
    written(settings(format, LogLevel::Error), false, |log| {
        log.decision(record);
    })
}

/// A check of which nothing but the decision is known.
fn bare(reason: Reason) -> CheckRecord<'static> {
    CheckRecord {
        decision: reason.kind(),
        reason,
        status: reason.http_status(),
        key: None,
        rule: None,
        secret: None,
        decision_id: "",
        places: &[],
        hint: None,
        method: b"",
        host: b"",
        path: b"",
        request_id: None,
        source_ip: None,
        duration: Duration::from_micros(7),
        now: Timestamp::from_second(1_790_000_000).unwrap(),
    }
}

fn key() -> KeyRecord {
    KeyRecord {
        client: Some("acme".parse().unwrap()),
        plan: Some("gold".parse().unwrap()),
        ..record("bot")
    }
}

fn full(key: &KeyRecord) -> CheckRecord<'_> {
    CheckRecord {
        key: Some(key),
        rule: Some("admin area"),
        secret: Some("2026-11"),
        decision_id: "0193-7",
        method: b"GET",
        host: b"api.example.com:443",
        path: b"/v1/a",
        request_id: Some(b"a-b-c"),
        source_ip: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))),
        ..bare(Reason::InsufficientScope)
    }
}

#[test]
fn a_decision_has_these_members_in_this_order() {
    let expected = concat!(
        r#"{"ts":"2026-09-21T14:13:20.250000Z","level":"info","msg":"decision","decision":"deny","#,
        r#""reason":"insufficient_scope","status":403,"key_id":"bot","client":"acme","plan":"gold","rule":"admin area","secret":"2026-11","#,
        r#""method":"GET","host":"api.example.com:443","path":"/v1/a","request_id":"a-b-c","decision_id":"0193-7","source_ip":"10.0.0.7","#,
        r#""duration_us":7}"#,
        "\n"
    );
    assert_eq!(line(&full(&key()), LogFormat::Json), expected);
}

#[test]
fn the_places_of_several_secrets_are_a_list() {
    let places = ["x-api-key".to_owned(), "query:k".to_owned()];
    let record = CheckRecord {
        places: &places,
        ..bare(Reason::AmbiguousKey)
    };
    let json = line(&record, LogFormat::Json);
    assert!(
        json.contains(r#","places":["x-api-key","query:k"],"#),
        "{json}"
    );
    let text = line(&record, LogFormat::Text);
    assert!(
        text.contains(r#" places=["x-api-key","query:k"] "#),
        "{text}"
    );
    let hinted = CheckRecord {
        hint: Some("header a has no scheme B in front"),
        ..bare(Reason::MissingKey)
    };
    let json = line(&hinted, LogFormat::Json);
    assert!(
        json.contains(r#","hint":"header a has no scheme B in front","#),
        "{json}"
    );
}

#[test]
fn a_decision_is_a_line_of_words() {
    let expected = concat!(
        "2026-09-21T14:13:20.250000Z  INFO decision decision=deny reason=insufficient_scope status=403 key_id=bot ",
        "client=acme plan=gold rule=\"admin area\" secret=2026-11 method=GET host=api.example.com:443 path=/v1/a request_id=a-b-c decision_id=0193-7 ",
        "source_ip=10.0.0.7 duration_us=7\n"
    );
    assert_eq!(line(&full(&key()), LogFormat::Text), expected);
}

#[test]
fn what_is_not_known_is_absent() {
    let line = line(&bare(Reason::SourceUnavailable), LogFormat::Json);
    let expected = concat!(
        r#"{"ts":"2026-09-21T14:13:20.250000Z","level":"warn","msg":"decision","decision":"error","#,
        r#""reason":"source_unavailable","status":503,"duration_us":7}"#,
        "\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn a_key_without_a_client_stands_for_itself() {
    let line = line(
        &CheckRecord {
            key: Some(&record("k")),
            ..bare(Reason::Allowed)
        },
        LogFormat::Json,
    );
    assert!(
        line.contains(r#""key_id":"k","client":"k","duration_us""#),
        "{line}"
    );
}

#[test]
fn only_the_decisions_asked_for_leave_a_line() {
    for (decisions, allow, deny, error) in [
        (Decisions::All, true, true, true),
        (Decisions::Denied, false, true, true),
        (Decisions::None, false, false, false),
    ] {
        let included = DecisionKind::ALL.map(|decision| decisions.include(decision));
        assert_eq!(included, [allow, deny, error], "{decisions:?}");
    }
}

#[test]
fn what_a_client_sent_is_cut_and_made_safe() {
    let long = vec![b'a'; 5000];
    let cases: [(&str, &[u8], &str, &str); 9] = [
        (
            "a query that was not cut off",
            b"/p?api_key=s3cret",
            "/p",
            "/p",
        ),
        (
            "a forged line",
            b"/\n{\"msg\":\"decision\"}",
            "/\n{\"msg\":\"decision\"}",
            "\"/\\n{\\\"msg\\\":\\\"decision\\\"}\"",
        ),
        (
            "a forged member",
            b"/ decision=allow",
            "/ decision=allow",
            "\"/ decision=allow\"",
        ),
        (
            "a terminal escape",
            b"/\x1b[2J\x7f\x00",
            "/\x1b[2J\x7f\0",
            "\"/\\u001b[2J\\u007f\\u0000\"",
        ),
        (
            "a C1 control",
            "/\u{9b}31m".as_bytes(),
            "/\u{9b}31m",
            "\"/\\u009b31m\"",
        ),
        (
            "text that runs backwards",
            "/\u{202e}x".as_bytes(),
            "/\u{202e}x",
            "\"/\\u202ex\"",
        ),
        (
            "not UTF-8",
            b"/\xff\xfe",
            "/\u{fffd}\u{fffd}",
            "\"/\u{fffd}\u{fffd}\"",
        ),
        ("letters", "/é".as_bytes(), "/é", "\"/é\""),
        ("a backslash", b"/a\\x41", "/a\\x41", "\"/a\\\\x41\""),
    ];
    for (case, path, json, text) in cases {
        let record = CheckRecord {
            path,
            ..bare(Reason::RouteDenied)
        };
        let members: Value = serde_json::from_str(&line(&record, LogFormat::Json)).unwrap();
        assert_eq!(members["path"], json, "{case}");
        let told = line(&record, LogFormat::Text);
        assert!(
            told.contains(&format!(" path={text} duration_us=7")),
            "{case}: {told}"
        );
    }
    let record = CheckRecord {
        method: &long,
        host: &long,
        path: &long,
        request_id: Some(&long),
        ..bare(Reason::RouteDenied)
    };
    let members: Value = serde_json::from_str(&line(&record, LogFormat::Json)).unwrap();
    for (member, limit) in [
        ("method", MAX_METHOD),
        ("host", MAX_HOST),
        ("path", MAX_PATH),
        ("request_id", MAX_REQUEST_ID),
    ] {
        assert_eq!(
            members[member],
            format!("{}…", "a".repeat(limit)),
            "{member}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_make_one_line_that_holds_no_digest(
        method in any::<Vec<u8>>(),
        host in any::<Vec<u8>>(),
        path in any::<Vec<u8>>(),
        query in "[a-z]{24}",
        request_id in any::<Vec<u8>>(),
        rule in any::<String>(),
    ) {
        let mut key = key();
        key.metadata = [("org".into(), MetadataValue::Scalar(query.as_str().into()))].into();
        let path = [&path[..], b"?k=", query.as_bytes()].concat();
        let record = CheckRecord {
            rule: Some(&rule),
            method: &method,
            host: &host,
            path: &path,
            request_id: Some(&request_id),
            ..full(&key)
        };
        for format in [LogFormat::Json, LogFormat::Text] {
            let told = line(&record, format);
            let one = told.strip_suffix('\n').unwrap();
            prop_assert!(!one.contains(is_unsafe), "{:?}", one);
            prop_assert!(!one.contains(&query) && !one.contains(&key.secrets[0].digest.hex()));
            prop_assert!(one.len() < 20_000);
        }
        let members: Value = serde_json::from_str(&line(&record, LogFormat::Json)).unwrap();
        prop_assert_eq!(&members["decision"], "deny");
        prop_assert_eq!(&members["rule"], &rule);
    }
}
