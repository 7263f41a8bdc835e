//! The permissions of a Redis user: those that the documentation lists are enough.

use std::fs;

use redis::cmd;
use serde_json::json;

use super::{Sidecar, of};
use crate::cli::Workdir;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Home;
use crate::support::redis::{KINDS, Server, index, record};

/// The ACL rules that follow these words in `docs/sources.md`.
fn rules(behind: &str) -> Vec<String> {
    let text = include_str!("../../../docs/sources.md").replace('\n', " ");
    let (_, rest) = text.split_once(behind).expect("the words are there");
    let rules = rest.split('`').nth(1).expect("rules follow");
    rules.split(' ').map(str::to_owned).collect()
}

/// Creates a user with exactly these rules.
async fn make_user(server: &Server, rules: &[String]) {
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("u").arg("on").arg(">pw");
    user.arg("~keyward:*").arg("-@all").arg(rules);
    server.execute(&user).await;
}

/// The source at this URL with this user, whose password is in the file `password`.
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
                server.execute(cmd("SWAPDB").arg(0).arg(database)).await;
            }
            make_user(&server, &all).await;
            let url = format!("redis://{}/{database}", server.address());
            let home = Home::new(&with_user(&url), &KeyFile::new());
            fs::write(home.path("password"), "pw").unwrap();
            let sidecar = Sidecar::at(home).await;
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
            sidecar.becomes("k", "allowed").await;
            sidecar.answers_from_memory("k").await;
            write("keyward:key:k", &text(json!({"enabled": false}))).await;
            sidecar.becomes("k", "key_disabled").await;
            let failures = sidecar.lookups("error").await;
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
        let workdir = Workdir::empty();
        workdir.write("keyward.yaml", with_user(&server.url()));
        workdir.write("password", "pw");
        let secret = workdir.run(&["keys", "new", "--id", "a"]).data();
        for words in [
            &["rotate", "a"][..],
            &["list"],
            &["show", "a"],
            &["disable", "a"],
            &["enable", "a"],
            &["revoke", "a"],
        ] {
            workdir.run(&[&["keys"], words].concat()).data();
        }
        assert_eq!(workdir.explain_get(&secret, &[]).code, Some(4));
        assert_eq!(workdir.run(&["check-config"]).code, Some(0));
    }
}
