//! Changes that must succeed in spite of a record's flaws and of lost answers.

use std::cell::Cell;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::create::{id, keys, spec, updated};
use super::*;
use crate::keys::record::KeySpec;

#[tokio::test]
async fn no_content_of_a_record_keeps_its_key_from_being_revoked() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    for (name, record, since) in [
        ("a flaw", json!({"id": "a", "secrets": [], "plan": 7}), now),
        (
            "a member of another version's",
            json!({"id": "a", "later": {"x": [1]}}),
            now,
        ),
        (
            "a moment that is none",
            json!({"id": "a", "revoked_at": "soon"}),
            now,
        ),
        (
            "revoked already",
            json!({"id": "a", "revoked_at": "2020-01-01T00:00:00Z"}),
            "2020-01-01T00:00:00Z".parse().unwrap(),
        ),
        (
            "to be revoked later",
            json!({"id": "a", "revoked_at": "2100-01-01T00:00:00Z"}),
            now,
        ),
    ] {
        let text = record.to_string();
        run(&mut client, &["SET", "keyward:key:a", &text]).await;
        assert_eq!(keys.revoke(&id("a"), now).await.unwrap(), since, "{name}");
        let error = keys.switch(&id("a"), true).await.unwrap_err();
        assert!(
            matches!(error, RedisKeyStoreError::Revoked { .. }),
            "{name}"
        );
        let there = run(&mut client, &["GET", "keyward:key:a"]).await;
        let there: String = redis::from_redis_value(there).unwrap();
        let mut want = record;
        want["revoked_at"] = since.to_string().into();
        // A sidecar whose clock is behind refuses it all the same.
        want["enabled"] = false.into();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&there).unwrap(),
            want,
            "{name}"
        );
    }
    for (record, want) in [
        (
            r#"{"id":"a","enabled":true,"x":1,"enabled":true}"#,
            r#"{"id":"a","enabled":false,"x":1,"revoked_at":"2023-11-14T22:13:20Z"}"#,
        ),
        (
            r#"{"id":"a","revoked_at":1e400}"#,
            r#"{"id":"a","revoked_at":"2023-11-14T22:13:20Z","enabled":false}"#,
        ),
    ] {
        run(&mut client, &["SET", "keyward:key:a", record]).await;
        if record.contains("revoked_at") {
            let error = keys.switch(&id("a"), true).await.unwrap_err();
            assert!(
                matches!(error, RedisKeyStoreError::Revoked { .. }),
                "{error}"
            );
        }
        keys.revoke(&id("a"), now).await.unwrap();
        let there = run(&mut client, &["GET", "keyward:key:a"]).await;
        assert_eq!(redis::from_redis_value::<String>(there).unwrap(), want);
    }
    for (content, why) in [
        ("[]", "it is not a JSON object"),
        (r#"{"id":"b"}"#, "it is not the record of this key"),
    ] {
        run(&mut client, &["SET", "keyward:key:a", content]).await;
        let error = keys.revoke(&id("a"), now).await.unwrap_err().to_string();
        assert!(error.ends_with(why), "{error}");
    }
}

#[tokio::test]
async fn no_number_in_a_record_is_written_in_another_way() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    let digest = digest_of("a").to_string();
    let mut setter = server.client().await;
    let mut stored = async || {
        let there = run(&mut client, &["GET", "keyward:key:a"]).await;
        redis::from_redis_value::<String>(there).unwrap()
    };
    for numbers in ["1.10", "[1, 1e3,-0]", "1e400"] {
        let text = |enabled: &str| {
            format!(
                r#"{{"id":"a","secrets":[{{"digest":"{digest}"}}],"metadata":{{"v": {numbers}}}{enabled}}}"#
            )
        };
        run(&mut setter, &["SET", "keyward:key:a", &text("")]).await;
        // No lookup takes it for a record, and nothing but its switch changes.
        let error = updated(&keys, "a", |_| ()).await.unwrap_err();
        assert!(
            matches!(error, RedisKeyStoreError::Stored { .. }),
            "{error}"
        );
        assert_eq!(stored().await, text(""));
        keys.switch(&id("a"), false).await.unwrap();
        assert_eq!(stored().await, text(",\"enabled\":false"));
        keys.switch(&id("a"), true).await.unwrap();
        assert_eq!(stored().await, text(",\"enabled\":true"));
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        keys.revoke(&id("a"), now).await.unwrap();
        let revoked = format!(",\"enabled\":false,\"revoked_at\":\"{now}\"");
        assert_eq!(stored().await, text(&revoked));
    }
}

#[tokio::test]
async fn a_record_that_lookups_accept_can_be_changed() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    let digest = digest_of("a").to_string();
    let record = json!({"id": "a", "client": 42, "secrets": [{"digest": digest}]});
    run(&mut client, &["SET", "keyward:key:a", &record.to_string()]).await;
    let entry = format!("keyward:digest:{digest}");
    run(&mut client, &["SET", &entry, "a"]).await;
    let found = found(&source(&server.url()), "a").await.unwrap();
    assert!(matches!(found, SourceAnswer::Found(key) if key.client() == "42"));
    let changed = updated(&keys, "a", |spec| spec.scopes = vec!["x".into()]).await;
    assert_eq!(changed.unwrap().client(), "42");
}

/// Runs with the port of a proxy to Redis that loses what is answered to the first command with
/// this word.
async fn losing_the_answer(port: u16, word: &[u8], body: impl AsyncFnOnce(u16)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().port();
    let is_lost = Cell::new(false);
    let serving = async {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                near = listener.accept() => open.push(pass_on(near.unwrap().0, port, word, &is_lost)),
                Some(()) = open.next() => {}
            }
        }
    };
    tokio::select! {
        () = serving => unreachable!("it serves for ever"),
        () = body(proxy) => assert!(is_lost.get()),
    }
}

async fn pass_on(mut near: TcpStream, port: u16, word: &[u8], is_lost: &Cell<bool>) {
    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut there, mut back) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            read = near.read(&mut there) => {
                let Ok(count @ 1..) = read else { return };
                let sent = &there[..count];
                far.write_all(sent).await.unwrap();
                let has_word = sent.windows(word.len()).any(|part| part == word);
                if has_word && !is_lost.replace(true) {
                    // It has been carried out when it is answered, and the connection breaks.
                    _ = far.read(&mut back).await;
                    return;
                }
            }
            read = far.read(&mut back) => {
                let Ok(count @ 1..) = read else { return };
                near.write_all(&back[..count]).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn after_a_lost_answer_the_record_is_read() {
    let server = Server::redis().await;
    let through = |port: u16| keys(&format!("redis://127.0.0.1:{port}"));
    for (id, word) in [("b", &b"keyward:digest"[..]), ("a", b"keyward:key")] {
        losing_the_answer(server.port, word, async |port| {
            let created = through(port).create(&spec(id, &[id]), None).await;
            created.unwrap();
        })
        .await;
    }
    losing_the_answer(server.port, b"KEEPTTL", async |port| {
        let change = |spec: &mut KeySpec| spec.scopes = vec!["x".into()];
        updated(&through(port), "a", change).await.unwrap();
    })
    .await;
    let read = keys(&server.url()).read(&id("a")).await.unwrap().unwrap();
    assert_eq!(read.spec().unwrap().scopes, ["x"]);
}

#[tokio::test]
async fn a_server_without_memory_refuses_to_revoke_and_del_does_it() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program, &[]).await;
        let mut client = server.client().await;
        let keys = keys(&server.url());
        keys.create(&spec("a", &["a"]), None).await.unwrap();
        run(&mut client, &["CONFIG", "SET", "maxmemory", "1"]).await;
        let revoked = keys.revoke(&id("a"), Timestamp::UNIX_EPOCH).await;
        let want = "EVAL keyward:key:a: the server's memory is full (OOM); the key is not revoked: `DEL keyward:key:a` revokes it too, and works when the memory is full";
        assert_eq!(revoked.unwrap_err().to_string(), want);
        run(&mut client, &["DEL", "keyward:key:a"]).await;
        let answer = found(&source(&server.url()), "a").await;
        assert_eq!(answer, Ok(SourceAnswer::NotFound));
    }
}
