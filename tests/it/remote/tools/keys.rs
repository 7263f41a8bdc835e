//! `keyward keys` on Redis and Valkey: secrets go only to stdout, Redis has only digests, and
//! nothing undoes a revocation.

use serde_json::{Value, json};

use super::explained;
use crate::cli::{Run, Workdir};
use crate::support::keyfile::{digest, keyed_digest};
use crate::support::redis::{KINDS, Kind, Server, index};

/// A server, and a workdir with a configuration for it.
async fn workdir(kind: Kind) -> (Server, Workdir) {
    let server = Server::start(kind).await;
    let workdir = Workdir::empty();
    let config = format!(
        "source: {{redis: {{url: \"{}\", timeout: 5s}}}}\nplans: {{gold: {{scopes: [\"plan:read\"]}}}}\n",
        server.url()
    );
    workdir.write("keyward.yaml", config);
    (server, workdir)
}

fn keys(workdir: &Workdir, words: &[&str]) -> Run {
    workdir.run(&[&["keys"], words].concat())
}

/// Every way to name the server: its URL, a configuration, the default configuration.
fn ways(server: &Server) -> [Vec<String>; 3] {
    [
        vec!["--redis".to_owned(), server.url()],
        vec!["-c".to_owned(), "keyward.yaml".to_owned()],
        vec![],
    ]
}

#[tokio::test]
async fn a_new_keys_secret_is_on_stdout_and_its_digest_in_redis() {
    for kind in KINDS {
        let (server, workdir) = workdir(kind).await;
        for (number, way) in ways(&server).iter().enumerate() {
            let id = format!("bot-{number}");
            let mut words = vec!["new", "--id", &id, "--client", "acme", "--scope", "a:b"];
            words.extend(["--expires-in", "90d", "--metadata", "org=42"]);
            words.extend(way.iter().map(String::as_str));
            let printed = keys(&workdir, &words).data();
            let secret = printed.strip_suffix('\n').expect("one line");
            assert!(
                secret.starts_with("kw_") && !secret.contains('\n'),
                "{printed:?}"
            );
            let record = server.record(&id).await;
            assert_eq!(record["id"], id.as_str(), "{record}");
            assert_eq!(record["client"], "acme", "{record}");
            assert_eq!(record["scopes"], json!(["a:b"]), "{record}");
            assert_eq!(record["metadata"]["org"], "42", "{record}");
            assert_eq!(record["secrets"][0]["digest"], digest(secret), "{record}");
            assert_eq!(server.get(&index(secret)).await.as_deref(), Some(&*id));
            let everything = format!("{:?}", server.everything().await);
            assert!(!everything.contains(secret), "{everything}");
            assert_eq!(explained(&workdir, secret), (Some(0), "allowed".into()));
        }
        let again = keys(&workdir, &["new", "--id", "bot-0"]).complaint(1);
        assert!(again.contains("bot-0"), "{again}");
        let no_plan = keys(&workdir, &["new", "--id", "x", "--plan", "silver"]).complaint(2);
        assert!(no_plan.contains("gold"), "{no_plan}");
        assert_eq!(
            server.everything().await.len(),
            6,
            "three records, three indices"
        );
    }
}

#[tokio::test]
async fn json_has_what_programs_need_and_show_and_list_print_no_secret() {
    for kind in KINDS {
        let (_server, workdir) = workdir(kind).await;
        let made = keys(
            &workdir,
            &["new", "--id", "a", "--plan", "gold", "--output", "json"],
        )
        .json();
        let secret = made["secret"].as_str().unwrap().to_owned();
        assert_eq!(
            (&made["id"], &made["digest"]),
            (&"a".into(), &digest(&secret).into())
        );
        keys(&workdir, &["new", "--id", "b", "--client", "acme"]).data();
        let shown = keys(&workdir, &["show", "a", "--output", "json"]).json();
        assert_eq!(
            (&shown["id"], &shown["plan"]),
            (&"a".into(), &"gold".into())
        );
        assert_eq!(shown["secrets"][0]["digest"], digest(&secret));
        let text = keys(&workdir, &["show", "a"]).data();
        assert!(text.contains('a') && text.contains("gold"), "{text}");
        let listed = keys(&workdir, &["list"]).data();
        for id in ["a", "b", "acme"] {
            assert!(
                listed.split_whitespace().any(|word| word == id),
                "{id}: {listed}"
            );
        }
        let as_json = keys(&workdir, &["list", "--output", "json"])
            .json()
            .to_string();
        assert!(
            as_json.contains("\"a\"") && as_json.contains("\"b\""),
            "{as_json}"
        );
        let rotated = keys(&workdir, &["rotate", "a", "--output", "json"]).json();
        assert_eq!(rotated["id"], "a");
        let second = rotated["secret"].as_str().unwrap();
        assert_eq!(rotated["digest"], digest(second));
        assert_ne!(second, secret);
        for printed in [text, listed, as_json, shown.to_string()] {
            assert!(!printed.contains(&secret), "{printed}");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_never_enabled_again() {
    for kind in KINDS {
        let (server, workdir) = workdir(kind).await;
        let secret = keys(&workdir, &["new", "--id", "a"]).data();
        keys(&workdir, &["disable", "a"]);
        assert_eq!(server.record("a").await["enabled"], false);
        assert_eq!(
            explained(&workdir, &secret),
            (Some(4), "key_disabled".into())
        );
        assert_eq!(keys(&workdir, &["enable", "a"]).code, Some(0));
        assert_eq!(explained(&workdir, &secret), (Some(0), "allowed".into()));
        assert_eq!(keys(&workdir, &["revoke", "a"]).code, Some(0));
        let revoked = server.record("a").await;
        assert!(revoked["revoked_at"].is_string(), "{revoked}");
        assert_eq!(
            explained(&workdir, &secret),
            (Some(4), "key_revoked".into())
        );
        let complaint = keys(&workdir, &["enable", "a"]).complaint(1);
        assert!(complaint.contains("revoked"), "{complaint}");
        assert_eq!(server.record("a").await, revoked, "nothing was changed");
        assert_eq!(
            explained(&workdir, &secret),
            (Some(4), "key_revoked".into())
        );
    }
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_for_as_long_as_they_overlap() {
    for kind in KINDS {
        let (server, workdir) = workdir(kind).await;
        let first = keys(&workdir, &["new", "--id", "a", "--client", "acme"]).data();
        let second = keys(&workdir, &["rotate", "a", "--overlap", "1h"]).data();
        for secret in [&first, &second] {
            assert_eq!(explained(&workdir, secret), (Some(0), "allowed".into()));
        }
        let record = server.record("a").await;
        let of = |secret: &str| {
            let secrets = record["secrets"].as_array().unwrap().iter();
            let mut found = secrets.filter(|s| s["digest"] == digest(secret.trim_end()));
            found.next().expect("the secret is in the record").clone()
        };
        assert!(of(&first)["expires_at"].is_string(), "{record}");
        assert_eq!(of(&second)["expires_at"], Value::Null, "{record}");
        assert_eq!(record["client"], "acme", "the rest stays");
        let third = keys(&workdir, &["rotate", "a", "--overlap", "0s"]).data();
        assert_eq!(
            explained(&workdir, &second),
            (Some(4), "key_expired".into())
        );
        assert_eq!(explained(&workdir, &third), (Some(0), "allowed".into()));
    }
}

#[tokio::test]
async fn a_key_that_is_not_valid_yet_can_be_rotated() {
    let (server, workdir) = workdir(Kind::Redis).await;
    let later = "2100-01-01T00:00:00Z";
    let lost = keys(&workdir, &["new", "--id", "a", "--not-before", later]).data();
    let secret = keys(&workdir, &["rotate", "a", "--overlap", "1h"]).data();
    let not_yet = (Some(4), "key_not_yet_valid".into());
    assert_eq!(explained(&workdir, &secret), not_yet);
    assert_eq!(explained(&workdir, &lost), (Some(4), "unknown_key".into()));
    let secrets = &server.record("a").await["secrets"];
    assert_eq!(secrets.as_array().unwrap().len(), 1, "{secrets}");
}

#[tokio::test]
async fn a_pepper_makes_keyed_digests_in_redis_too() {
    let (server, workdir) = workdir(Kind::Redis).await;
    let pepper = "0123456789abcdef0123456789abcdef";
    workdir.write("pepper", pepper);
    let config = format!(
        "{}digest: {{pepper_file: pepper}}\n",
        workdir.read("keyward.yaml")
    );
    workdir.write("keyward.yaml", config);
    let secret = keys(&workdir, &["new", "--id", "a"]).data();
    let keyed = keyed_digest(secret.trim_end(), pepper.as_bytes());
    assert_eq!(server.record("a").await["secrets"][0]["digest"], keyed);
    let index = format!("keyward:digest:{keyed}");
    assert_eq!(server.get(&index).await.as_deref(), Some("a"));
    assert_eq!(explained(&workdir, &secret), (Some(0), "allowed".into()));
}

#[tokio::test]
async fn a_key_with_keyed_digests_is_not_rotated_without_their_pepper() {
    let (server, workdir) = workdir(Kind::Redis).await;
    let keyed = keyed_digest("s", b"0123456789abcdef0123456789abcdef");
    let record = json!({"id": "a", "secrets": [{"digest": keyed}]});
    server.set("keyward:key:a", &record.to_string()).await;
    let elsewhere = Workdir::empty();
    let complaint = keys(&elsewhere, &["rotate", "a", "--redis", &server.url()]).complaint(2);
    assert!(
        complaint.contains("pepper") && complaint.contains("-c"),
        "{complaint}"
    );
    // The record would not fit a configuration without it.
    let complaint = keys(&workdir, &["rotate", "a"]).complaint(1);
    assert!(complaint.contains("digest.accept"), "{complaint}");
    assert_eq!(server.record("a").await, record);
}

#[tokio::test]
async fn a_default_configuration_is_used_for_any_spelling_of_its_server_and_a_note_says_if_not() {
    let (server, workdir) = workdir(Kind::Redis).await;
    workdir.write("pepper", "0123456789abcdef0123456789abcdef");
    let config = format!(
        "{}digest: {{pepper_file: pepper}}
",
        workdir.read("keyward.yaml")
    );
    workdir.write("keyward.yaml", config);
    let url = server.url();
    let in_other_words = url.strip_suffix("/0").unwrap();
    keys(&workdir, &["new", "--id", "a", "--redis", in_other_words]).data();
    let record = server.record("a").await.to_string();
    assert!(record.contains("blake3-keyed:"), "{record}");
    let other = Server::start(Kind::Redis).await;
    let run = keys(&workdir, &["new", "--id", "a", "--redis", &other.url()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr.starts_with("note: ") && run.stderr.contains("-c"),
        "{run:?}"
    );
    assert!(run.stdout.starts_with("kw_"), "{run:?}");
}

#[tokio::test]
async fn the_list_shows_the_state_that_keyward_would_find() {
    let (server, workdir) = workdir(Kind::Redis).await;
    let record = json!({"id": "a", "plan": "silver", "secrets": [{"digest": digest("s")}]});
    server.set("keyward:key:a", &record.to_string()).await;
    let listed = keys(&workdir, &["list"]).data();
    assert!(
        listed.contains("invalid") && listed.contains("gold"),
        "{listed}"
    );
}

#[tokio::test]
async fn each_state_has_one_name_in_every_output() {
    let (server, workdir) = workdir(Kind::Redis).await;
    for (id, more) in [
        ("active", json!({})),
        ("disabled", json!({"enabled": false})),
        ("revoked", json!({"revoked_at": "2026-01-01T00:00:00Z"})),
        ("expired", json!({"expires_at": "2026-01-01T00:00:00Z"})),
        (
            "not_yet_valid",
            json!({"not_before": "9000-01-01T00:00:00Z"}),
        ),
    ] {
        let secrets = json!([{"digest": digest(id)}]);
        let mut record = json!({"id": id, "client": "acme", "secrets": secrets});
        let members = more.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(members);
        server
            .set(&format!("keyward:key:{id}"), &record.to_string())
            .await;
        let shown = keys(&workdir, &["show", id, "--output", "json"]).json();
        assert_eq!((&shown["id"], &shown["state"]), (&id.into(), &id.into()));
        let text = keys(&workdir, &["show", id]).data();
        assert!(text.starts_with(&format!("# {id}\n- id: {id}\n")), "{text}");
        let of_state = [
            "list", "--state", id, "--client", "acme", "--output", "json",
        ];
        let listed = keys(&workdir, &of_state).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(
            (&listed[0]["id"], &listed[0]["state"]),
            (&id.into(), &id.into())
        );
    }
    let all = keys(&workdir, &["list", "--client", "acme", "--output", "json"]).json();
    assert_eq!(all.as_array().map(Vec::len), Some(5));
    let others = keys(&workdir, &["list", "--client", "other", "--output", "json"]).json();
    assert_eq!(others, json!([]));
    let state = |words: &[&str]| keys(&workdir, words).json()["state"].clone();
    assert_eq!(
        state(&["disable", "active", "--output", "json"]),
        "disabled"
    );
    assert_eq!(state(&["enable", "active", "--output", "json"]), "active");
    assert_eq!(state(&["enable", "expired", "--output", "json"]), "expired");
    assert_eq!(state(&["revoke", "active", "--output", "json"]), "revoked");
}

#[test]
fn a_secret_given_as_an_id_is_not_repeated() {
    let workdir = Workdir::empty();
    let secret = "kw_0123456789abcdefghijklmnopqrstuvABCDEF";
    for words in [
        &["new", "--id", secret][..],
        &["show", secret],
        &["rotate", secret],
        &["revoke", secret],
        &["enable", secret],
    ] {
        let url = ["--redis", "redis://127.0.0.1:1"];
        let complaint = keys(&workdir, &[words, &url].concat()).complaint(2);
        assert!(!complaint.contains("kw_0"), "{complaint}");
    }
}

#[tokio::test]
async fn a_failed_command_changes_nothing() {
    let (mut server, workdir) = workdir(Kind::Redis).await;
    let url = server.url();
    for command in ["show", "revoke", "enable", "disable", "rotate"] {
        let complaint = keys(&workdir, &[command, "made-up"]).complaint(1);
        assert!(complaint.contains("made-up"), "{command}: {complaint}");
    }
    assert_eq!(server.everything().await, []);
    // A replica refuses writes.
    let mut replica = redis::cmd("REPLICAOF");
    replica.arg("127.0.0.1").arg(server.address().port());
    server.execute(&replica).await;
    let complaint = keys(&workdir, &["new", "--id", "a", "--redis", &url]).complaint(1);
    assert!(!complaint.contains("kw_"), "{complaint}");
    assert_eq!(server.everything().await, []);
    server.kill().await;
    for words in [&["new", "--id", "a"][..], &["list"], &["revoke", "a"]] {
        let complaint = keys(&workdir, words).complaint(1);
        assert!(!complaint.contains("kw_"), "{complaint}");
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_never_printed() {
    let workdir = Workdir::empty();
    workdir.write(
        "keyward.yaml",
        "source: {redis: {url: \"redis://:canary@127.0.0.1\"}}\n",
    );
    for arguments in [
        &["check-config"][..],
        &["serve"],
        &["keys", "list"],
        &["keys", "new", "--id", "a"],
    ] {
        let complaint = workdir.run(arguments).complaint(3);
        assert!(!complaint.contains("canary"), "{complaint}");
        assert!(complaint.contains("password_file"), "{complaint}");
    }
    for url in [
        "redis://:canary@127.0.0.1",
        "rediss://canary:canary@127.0.0.1",
        "redis+unix:///s?pass=canary",
        "http://canary",
        "canary",
    ] {
        for words in [&["list"][..], &["new", "--id", "a"], &["revoke", "a"]] {
            let run = workdir.run(&[&["keys"], words, &["--redis", url]].concat());
            let complaint = run.complaint(2);
            assert!(!complaint.contains("canary"), "{complaint}");
        }
    }
    let both = [
        "keys",
        "list",
        "--redis",
        "redis://127.0.0.1",
        "--file",
        "keys.yaml",
    ];
    workdir.run(&both).complaint(2);
}
