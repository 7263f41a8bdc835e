//! Concurrent commands: each change is complete, and none undoes another.

use std::process::{Child, Stdio};

use serde_json::json;

use crate::cli::{Run, Workdir};
use crate::support::redis::{KINDS, Server, index};

fn spawn(workdir: &Workdir, server: &Server, words: &[&str]) -> Child {
    let url = server.url();
    let words = [&["keys"], words, &["--redis", &url]].concat();
    let mut command = workdir.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Run {
    child.wait_with_output().unwrap().into()
}

#[tokio::test]
async fn no_concurrent_command_undoes_a_revocation() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let workdir = Workdir::empty();
        for round in 0..8 {
            let id = format!("k{round}");
            server.put(&id, &id, json!({"client": "acme"})).await;
            let rotate = ["rotate", &id, "--overlap", "1h"];
            let change = |command| [command, &*id];
            let running = vec![
                spawn(&workdir, &server, &rotate),
                spawn(&workdir, &server, &change("disable")),
                spawn(&workdir, &server, &change("revoke")),
                spawn(&workdir, &server, &change("enable")),
                spawn(&workdir, &server, &rotate),
            ];
            let runs: Vec<Run> = running.into_iter().map(end).collect();
            assert_eq!(runs[2].code, Some(0), "the revocation: {runs:?}");
            let record = server.record(&id).await;
            assert!(record["revoked_at"].is_string(), "{record} after {runs:?}");
            // Every printed secret is there.
            for run in [&runs[0], &runs[4]] {
                let secret = run.stdout.trim_end();
                let rotated = run.code == Some(0);
                let indexed = server.get(&index(secret)).await.is_some();
                assert_eq!(indexed, rotated, "{run:?}");
                assert_eq!(secret.is_empty(), !rotated, "{run:?}");
            }
        }
    }
}

#[tokio::test]
async fn of_concurrent_commands_for_one_new_key_one_succeeds() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let workdir = Workdir::empty();
        for round in 0..4 {
            let id = format!("k{round}");
            let running: Vec<Child> = (0..6)
                .map(|_| spawn(&workdir, &server, &["new", "--id", &id]))
                .collect();
            let mut runs: Vec<Run> = running.into_iter().map(end).collect();
            runs.retain(|run| run.code == Some(0));
            assert_eq!(runs.len(), 1, "{runs:?}");
            let secret = runs[0].stdout.trim_end();
            assert_eq!(server.get(&index(secret)).await.as_deref(), Some(&*id));
            let digest = crate::support::keyfile::digest(secret);
            assert_eq!(server.record(&id).await["secrets"][0]["digest"], digest);
        }
        assert_eq!(
            server.everything().await.len(),
            8,
            "no index without its key"
        );
    }
}
