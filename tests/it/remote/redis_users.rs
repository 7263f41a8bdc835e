//! What a Redis user must be allowed: no more than the documentation says.

use std::fs;

use redis::cmd;
use serde_json::json;

use super::{Asked, of};
use crate::cli::Desk;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Home;
use crate::support::redis::{KINDS, Server, index, record};

/// The ACL rules that stand in `docs/sources.md` behind these words.
fn rules(behind: &str) -> Vec<String> {
    let text = include_str!("../../../docs/sources.md").replace('\n', " ");
    let (_, rest) = text.split_once(behind).expect("the words are there");
    let rules = rest.split('`').nth(1).expect("rules follow");
    rules.split(' ').map(str::to_owned).collect()
}

/// A user with those rules and no others.
async fn make_user(server: &Server, rules: &[String]) {
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("u").arg("on").arg(">pw");
    user.arg("~keyward:*").arg("-@all").arg(rules);
    server.tell(&user).await;
}

/// The source at that URL with that user, whose password is in the file `password`.
fn with_user(url: &str) -> String {
    of("redis", url).replace(
        "timeout: 5s",
        "timeout: 5s, username: u, password_file: password",
    )
}

#[tokio::test]
async fn a_user_with_the_documented_rules_for_sidecars_is_enough() {
    for kind in KINDS {
        for database in [0, 3] {
            let server = Server::start(kind).await;
            let mut all = rules("user for the sidecars needs");
            if database != 0 {
                all.extend(rules("both need"));
                server.tell(cmd("SWAPDB").arg(0).arg(database)).await;
            }
            make_user(&server, &all).await;
            let url = format!("redis://{}/{database}", server.address());
            let home = Home::new(&with_user(&url), &KeyFile::new());
            fs::write(home.path("password"), "pw").unwrap();
            let asked = Asked::at(home).await;
            let mut client = server.connection().await.unwrap();
            cmd("SELECT")
                .arg(database)
                .exec_async(&mut client)
                .await
                .unwrap();
            let write = async |name: &str, text: &str| {
                let mut client = client.clone();
                cmd("SET")
                    .arg(name)
                    .arg(text)
                    .exec_async(&mut client)
                    .await
                    .unwrap();
            };
            let text = |rest| record("k", "k", rest).to_string();
            write(&index("k"), "k").await;
            write("keyward:key:k", &text(json!({}))).await;
            asked.becomes("k", "allowed").await;
            asked.answers_from_memory("k").await;
            write("keyward:key:k", &text(json!({"enabled": false}))).await;
            asked.becomes("k", "key_disabled").await;
            let failures = asked.lookups("error").await;
            assert!(failures < 0.5, "{kind:?} {database}");
        }
    }
}

#[tokio::test]
async fn a_user_with_the_documented_rules_for_the_command_line_is_enough() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let mut all = rules("user for the sidecars needs");
        all.extend(rules("one for `keyward keys` also"));
        make_user(&server, &all).await;
        let desk = Desk::empty();
        desk.write("keyward.yaml", with_user(&server.url()));
        desk.write("password", "pw");
        let secret = desk.run(&["keys", "new", "--id", "a"]).data();
        for words in [
            &["rotate", "a"][..],
            &["list"],
            &["show", "a"],
            &["disable", "a"],
            &["enable", "a"],
            &["revoke", "a"],
        ] {
            desk.run(&[&["keys"], words].concat()).data();
        }
        assert_eq!(desk.explain_get(&secret, &[]).code, Some(4));
        assert_eq!(desk.run(&["check-config"]).code, Some(0));
    }
}
