//! The store of keys: lookups find what is written, no change is partial, and no concurrent change
//! is lost.

use futures_util::future::join_all;

use super::*;
use crate::keys::record::{KeySpec, SecretSpec};

/// A record with these secrets.
pub(super) fn spec(id: &str, secrets: &[&str]) -> KeySpec {
    let secrets = secrets.iter().map(|secret| SecretSpec {
        digest: digest_of(secret).to_string(),
        id: None,
        not_before: None,
        expires_at: None,
    });
    KeySpec {
        secrets: secrets.collect(),
        ..KeySpec::new(id)
    }
}

pub(super) fn keys(url: &str) -> RedisKeyStore {
    RedisKeyStore::new(settings(url).redis, "keyward:", clock()).unwrap()
}

pub(super) fn id(text: &str) -> KeyId {
    text.parse().unwrap()
}

pub(super) async fn updated(
    keys: &RedisKeyStore,
    of: &str,
    change: impl Fn(&mut KeySpec),
) -> Result<Arc<KeyRecord>, RedisKeyStoreError> {
    keys.update(&id(of), None, |spec| {
        change(spec);
        Ok(())
    })
    .await
}

/// All names in Redis, in order.
async fn names(client: &mut MultiplexedConnection) -> Vec<String> {
    let names = run(client, &["KEYS", "*"]).await;
    let mut names: Vec<String> = redis::from_redis_value(names).unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn a_created_key_is_found_listed_and_read() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program, &[]).await;
        let keys = keys(&server.url());
        for (id, secrets) in [("b", &["b"][..]), ("a", &["a", "a2"])] {
            keys.create(&spec(id, secrets), None).await.unwrap();
        }
        keeps_the_contract(&source(&server.url())).await;
        let listed = keys.list().await.unwrap();
        let ids: Vec<_> = listed.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        let read = keys.read(&id("a")).await.unwrap().unwrap();
        assert_eq!(read, listed[0]);
        assert!(read.spec() == Ok(spec("a", &["a", "a2"])));
        assert_eq!(keys.read(&id("c")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_record_that_is_taken_or_invalid_changes_nothing() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    keys.create(&spec("a", &["a"]), None).await.unwrap();
    let before = names(&mut client).await;
    let entry = format!("keyward:digest:{}", digest_of("a"));
    let taken = format!("Redis key `{entry}`: another key has the same secret; make another one");
    for (name, spec, want) in [
        (
            "the id",
            spec("a", &["a", "new"]),
            "there is a key `a` already; choose another id",
        ),
        ("a digest", spec("b", &["new", "a"]), &*taken),
        (
            "no secrets",
            spec("b", &[]),
            "the record is not valid: secrets: ",
        ),
    ] {
        let error = keys.create(&spec, None).await.unwrap_err().to_string();
        assert!(error.starts_with(want), "{name}: {error}");
        assert_eq!(names(&mut client).await, before, "{name}");
        let found = keys.read(&id("a")).await.unwrap().unwrap();
        assert!(found.spec() == Ok(self::spec("a", &["a"])), "{name}");
    }
    keys.create(&spec("b", &["b"]), None).await.unwrap();
    let before = names(&mut client).await;
    for (name, of, change, want) in [
        ("a digest", "b", spec("b", &["new", "a"]), &*taken),
        (
            "no secrets",
            "b",
            spec("b", &[]),
            "Redis key `keyward:key:b`: the record is not valid: secrets: ",
        ),
        (
            "another id",
            "b",
            spec("c", &["b"]),
            "the record is not valid: id: a key keeps its id",
        ),
        ("no such key", "c", spec("c", &["c"]), "there is no key `c`"),
    ] {
        let error = updated(&keys, of, |spec| spec.clone_from(&change)).await;
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(want), "{name}: {error}");
        assert_eq!(names(&mut client).await, before, "{name}");
    }
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_digest_behind() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    keys.create(&spec("a", &["a"]), None).await.unwrap();
    let before = names(&mut client).await;
    let other = redis::Client::open(server.url()).unwrap();
    let mut other = other.get_connection().unwrap();
    let (a, mut tries) = (id("a"), 0);
    // Another writer changes the record between reading and writing of each try, until the last
    // try.
    let outcome = keys.update(&a, None, |spec| {
        tries += 1;
        if tries > 3 {
            return Err(RedisKeyStoreError::Contended(id("a")));
        }
        spec.client = Some(format!("c{tries}"));
        let text = serde_json::to_string(spec).unwrap();
        let set = redis::cmd("SET").arg("keyward:key:a").arg(text).to_owned();
        set.exec(&mut other).unwrap();
        let new = self::spec("a", &[&format!("new{tries}")]);
        spec.secrets.extend(new.secrets);
        Ok(())
    });
    assert!(matches!(
        outcome.await,
        Err(RedisKeyStoreError::Contended(_))
    ));
    assert_eq!(tries, 4);
    assert_eq!(names(&mut client).await, before);
    let stored = keys.read(&a).await.unwrap().unwrap();
    assert_eq!(stored.spec().unwrap().client.as_deref(), Some("c3"));
}

#[tokio::test]
async fn no_concurrent_change_is_lost() {
    let server = Server::redis().await;
    let keys = keys(&server.url());
    keys.create(&spec("a", &["a"]), None).await.unwrap();
    let changes = (0..20).map(|number| {
        let url = server.url();
        async move {
            let keys = self::keys(&url);
            let secret = format!("secret{number}");
            updated(&keys, "a", |spec| {
                spec.scopes.push(format!("scope{number}"));
                spec.secrets.extend(self::spec("a", &[&secret]).secrets);
            })
            .await
        }
    });
    for outcome in join_all(changes).await {
        outcome.unwrap();
    }
    let source = source(&server.url());
    let Ok(SourceAnswer::Found(record)) = found(&source, "a").await else {
        panic!("a is gone");
    };
    assert_eq!(record.scopes.len(), 20);
    for number in 0..20 {
        let secret = format!("secret{number}");
        let answer = found(&source, &secret).await;
        assert_eq!(
            answer,
            Ok(SourceAnswer::Found(Arc::clone(&record))),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn while_a_secret_is_replaced_the_old_or_the_new_one_is_found() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    keys.create(&spec("a", &["secret0"]), None).await.unwrap();
    let source = source(&server.url());
    let is_found = async |number: usize| {
        let answer = found(&source, &format!("secret{number}")).await;
        matches!(answer, Ok(SourceAnswer::Found(_)))
    };
    for number in 0..50 {
        let (old, new) = (number, number + 1);
        let rotate = updated(&keys, "a", |spec| {
            spec.secrets = self::spec("a", &[&format!("secret{new}")]).secrets;
        });
        let look = async {
            // The old one first: once it is not found the new one must be.
            while is_found(old).await {}
            assert!(is_found(new).await, "neither {old} nor {new}");
        };
        let (rotated, ()) = tokio::join!(rotate, look);
        rotated.unwrap();
    }
    let left = [
        format!("keyward:digest:{}", digest_of("secret50")),
        "keyward:key:a".to_owned(),
    ];
    assert_eq!(names(&mut client).await, left);
}

#[tokio::test]
async fn a_record_that_expires_does_so_after_a_change_too() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    keys.create(&spec("a", &["a"]), None).await.unwrap();
    run(&mut client, &["EXPIRE", "keyward:key:a", "1000"]).await;
    updated(&keys, "a", |spec| spec.enabled = false)
        .await
        .unwrap();
    let left = run(&mut client, &["TTL", "keyward:key:a"]).await;
    assert!(matches!(left, Value::Int(1..=1000)), "{left:?}");
}

#[tokio::test]
async fn a_list_has_one_prefix_and_only_possible_records() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let mut settings = settings(&server.url());
    settings.prefix = "[ab]*?:".to_owned();
    let keys = RedisKeyStore::new(settings.redis, &settings.prefix, clock()).unwrap();
    for number in 0..2500 {
        run(
            &mut client,
            &["SET", &format!("[ab]*?:key:k{number:04}"), "x"],
        )
        .await;
    }
    for other in [
        "a:key:x",
        "axy:key:y",
        "[ab]*?:key:not an id",
        "[ab]*?:digest:x",
    ] {
        run(&mut client, &["SET", other, "x"]).await;
    }
    run(&mut client, &["RPUSH", "[ab]*?:key:list", "x"]).await;
    let listed = keys.list().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|key| key.id.to_string()).collect();
    let want: Vec<_> = (0..2500).map(|number| format!("k{number:04}")).collect();
    assert_eq!(ids, want);
}

#[tokio::test]
async fn a_value_that_cannot_be_changed_is_reported_and_not_shown() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    let keys = keys(&server.url());
    for (content, want) in [
        (
            "canary",
            "Redis key `keyward:key:a`: the record is not valid: not JSON at line 1 column 1",
        ),
        (
            r#"{"id":"a","secrets":"canary"}"#,
            "Redis key `keyward:key:a`: the record is not valid: key `a`: secrets: expected a list, found a string",
        ),
        (
            r#"{"id":"b","secrets":[]}"#,
            "Redis key `keyward:key:a`: the record is not valid: it is the record of another key",
        ),
    ] {
        run(&mut client, &["SET", "keyward:key:a", content]).await;
        let error = updated(&keys, "a", |spec| spec.enabled = false).await;
        assert_eq!(error.unwrap_err().to_string(), want);
        let stored = keys.read(&id("a")).await.unwrap().unwrap();
        let there = run(&mut client, &["GET", "keyward:key:a"]).await;
        assert_eq!(there, Value::BulkString(content.into()));
        assert!(!format!("{stored:?}").contains("canary"));
    }
    run(&mut client, &["DEL", "keyward:key:a"]).await;
    run(&mut client, &["RPUSH", "keyward:key:a", "canary"]).await;
    let error = updated(&keys, "a", |spec| spec.enabled = false).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "GET keyward:key:a: the Redis key does not hold a string (WRONGTYPE)"
    );
}

#[tokio::test]
async fn a_replica_is_told_from_a_master() {
    let master = Server::redis().await;
    let port = master.port.to_string();
    keys(&master.url())
        .create(&spec("a", &["a"]), None)
        .await
        .unwrap();
    let replica = Server::start(Program::Redis, &["--replicaof", "127.0.0.1", &port]).await;
    let keys = keys(&replica.url());
    until("the replica has the key", async || {
        matches!(keys.read(&id("a")).await, Ok(Some(_)))
    })
    .await;
    let read_only = "the server is a replica, which cannot be written to (READONLY)";
    let error = keys.create(&spec("b", &["b"]), None).await.unwrap_err();
    let want = format!("SET keyward:digest:{}: {read_only}", digest_of("b"));
    assert_eq!(error.to_string(), want);
    let error = updated(&keys, "a", |spec| spec.enabled = false).await;
    let want = format!("EVAL keyward:key:a: {read_only}");
    assert_eq!(error.unwrap_err().to_string(), want);
}
