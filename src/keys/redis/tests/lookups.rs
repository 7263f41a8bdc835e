//! What lookups find, over each kind of connection, and what they make of data that is not as it
//! should be.

use std::fs;

use super::*;

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = Server::redis().await;
    fill(&mut server.client().await).await;
    keeps_the_contract(&source(&server.url())).await;
}

#[tokio::test]
async fn valkey_keeps_the_contract() {
    let server = Server::start(Program::Valkey, &[]).await;
    fill(&mut server.client().await).await;
    keeps_the_contract(&source(&server.url())).await;
}

#[tokio::test]
async fn the_contract_is_kept_while_the_source_is_followed() {
    let server = Server::redis().await;
    fill(&mut server.client().await).await;
    let source = source(&server.url());
    followed(&source, async |_| keeps_the_contract(&source).await).await;
}

#[tokio::test]
async fn a_unix_socket_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = Server::start(Program::Redis, &["--unixsocket", socket]).await;
    fill(&mut server.client().await).await;
    let source = source(&format!("redis+unix://{socket}"));
    keeps_the_contract(&source).await;
    followed(&source, async |log| until_subscribed(&log).await).await;
}

#[tokio::test]
async fn another_database_is_another_set_of_keys() {
    let server = Server::redis().await;
    let url = format!("redis://127.0.0.1:{}/3", server.port);
    let mut connection = redis::Client::open(url.as_str())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    fill(&mut connection).await;
    keeps_the_contract(&source(&url)).await;
    let answer = found(&source(&server.url()), "a").await;
    assert_eq!(answer, Ok(SourceAnswer::NotFound));
}

#[tokio::test]
async fn unusable_files_are_reported_by_member_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("it");
    let no_password = "source.redis.password_file: PATH does not hold a password: it is empty, longer than a line or not UTF-8";
    for (content, is_password, want) in [
        (
            None,
            true,
            "source.redis.password_file: PATH cannot be read",
        ),
        (Some("\n"), true, no_password),
        (Some("canary\ncanary"), true, no_password),
        (
            Some("canary"),
            false,
            "source.redis.tls.ca_file: PATH holds no certificate in PEM form",
        ),
    ] {
        match content {
            None => assert!(!file.exists()),
            Some(content) => fs::write(&file, content).unwrap(),
        }
        let mut settings = settings("redis://127.0.0.1:1");
        if is_password {
            settings.redis.password_file = Some(file.clone().into());
        } else {
            settings.redis.tls.ca = Some(file.clone().into());
        }
        let error = RedisSource::new(settings, clock())
            .err()
            .unwrap()
            .to_string();
        assert_eq!(error, want.replace("PATH", file.to_str().unwrap()));
    }
}

#[tokio::test]
async fn invalid_data_is_reported_and_never_a_key() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let source = source(&server.url());
    let digest = digest_of("a");
    let entry = format!("keyward:digest:{digest}");
    let record = |id: &str| format!(r#"{{"id":"{id}","secrets":[{{"digest":"{digest}"}}]}}"#);
    let long = format!("{}{}", record("a"), " ".repeat(MAX_RECORD_BYTES));
    for (name, id, text, want) in [
        (
            "no index entry",
            None,
            Some(record("a")),
            Ok(SourceAnswer::NotFound),
        ),
        ("no record", Some("a"), None, Ok(SourceAnswer::NotFound)),
        (
            "an id that is none",
            Some("canary!"),
            None,
            Ok(invalid(&entry, "it does not hold the id of a key")),
        ),
        (
            "another key's record",
            Some("a"),
            Some(record("b")),
            Ok(invalid(
                "keyward:key:a",
                "it holds the record of the key `b`",
            )),
        ),
        (
            "a record without the digest",
            Some("a"),
            Some(record("a").replace(&digest.to_string(), &digest_of("b").to_string())),
            Ok(invalid(
                "keyward:key:a",
                "key `a`: secrets: the digest that was asked for is not among them",
            )),
        ),
        (
            "not JSON",
            Some("a"),
            Some("canary".to_owned()),
            Ok(invalid("keyward:key:a", "not JSON at line 1 column 1")),
        ),
        (
            "a digest twice",
            Some("a"),
            Some(record("a").replace("[{", &format!(r#"[{{"digest":"{digest}"}},{{"#))),
            Ok(invalid(
                "keyward:key:a",
                "key `a`: secrets[1].digest: this key has the same digest twice; keep one",
            )),
        ),
        (
            "too deep",
            Some("a"),
            Some("[".repeat(10_000)),
            Ok(invalid("keyward:key:a", "not JSON at line 1 column 128")),
        ),
        (
            "too long",
            Some("a"),
            Some(long),
            Ok(invalid("keyward:key:a", "it holds more than 256 KiB")),
        ),
        (
            "empty",
            Some("a"),
            Some(String::new()),
            Ok(invalid("keyward:key:a", "not JSON at line 1 column 0")),
        ),
    ] {
        run(&mut client, &["FLUSHALL"]).await;
        if let Some(id) = id {
            run(&mut client, &["SET", &entry, id]).await;
        }
        if let Some(text) = text {
            run(&mut client, &["SET", "keyward:key:a", &text]).await;
        }
        assert_eq!(found(&source, "a").await, want, "{name}");
    }

    let not_utf8 = redis::cmd("SET")
        .arg("keyward:key:a")
        .arg(b"\xff")
        .to_owned();
    not_utf8.query_async::<()>(&mut client).await.unwrap();
    let want = Ok(invalid("keyward:key:a", "it does not hold UTF-8"));
    assert_eq!(found(&source, "a").await, want);

    run(&mut client, &["DEL", "keyward:key:a"]).await;
    run(&mut client, &["RPUSH", "keyward:key:a", "x"]).await;
    let want = |name: &str| Ok(invalid(name, "it does not hold a string"));
    assert_eq!(found(&source, "a").await, want("keyward:key:a"));
    run(&mut client, &["DEL", &entry]).await;
    run(&mut client, &["RPUSH", &entry, "x"]).await;
    assert_eq!(found(&source, "a").await, want(&entry));
}
