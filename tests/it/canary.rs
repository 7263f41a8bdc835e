//! Secrets do not leak: over a run of every kind of request, at the most verbose log level, no
//! output contains one.

use std::process::Command;

use crate::support::caller::CALLERS;
use crate::support::check;
use crate::support::http1;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Home;
use crate::support::message::Ask;
use crate::support::process::Process;
use crate::support::scene;
use crate::support::stack::{SHAPES, Stack, both_shapes_unprotected};

const CANARY: &str = "c4n4ry-7f3e9a1b5d";

fn asks() -> Vec<Ask> {
    let orders = || Ask::get("/v1/orders");
    let mut asks = Vec::new();
    for secret in [
        CANARY.to_owned(),
        format!("{CANARY}-unknown"),
        CANARY.repeat(40),
        format!("{CANARY} b"),
    ] {
        asks.extend([
            orders().key(&secret),
            orders().key(&secret).key(&secret),
            orders().key(&format!("{secret},{secret}x")),
            orders().header("authorization", &format!("Bearer {secret}")),
            orders().header("authorization", &format!("Basic {secret}")),
            orders().header("authorization", &format!("Basic x, Bearer {secret}")),
            orders().header("cookie", &format!("a=1; api_key={secret}; b=2")),
            orders().header("x_api_key", &secret),
            Ask::get("/public/../x").key(&secret),
            Ask::get("/admin").key(&secret),
            Ask::get("/internal").key(&secret),
            Ask::get("/public/info").key(&secret),
        ]);
        if !secret.contains(' ') {
            asks.extend([
                Ask::get(&format!("/v1/orders?api_key={secret}")),
                Ask::get(&format!("/v1/orders?a=1&api_key={secret}&api_key={secret}")),
                Ask::get(&format!("/public/info?api_key={secret}#")),
            ]);
        }
    }
    asks
}

#[tokio::test]
async fn no_output_contains_a_secret() {
    let config = format!("{}log: {{level: trace, decisions: all}}\n", scene::CONFIG);
    let keys = KeyFile::new().key("canary", CANARY, &["plan: gold"]);
    let mut stack = Stack::start(&config, &keys, both_shapes_unprotected).await;
    for ask in asks() {
        let ask = ask.header("connection-test", "1");
        for shape in SHAPES {
            for caller in CALLERS {
                if ask.path.contains('#') {
                    http1::send(stack.envoy.at(shape), &ask).await;
                    continue;
                }
                let reply = caller.send(stack.envoy.at(shape), &ask).await;
                let whole = format!("{:?}{:?}{}", reply.headers, reply.trailers, reply.text());
                assert!(!whole.contains(CANARY), "{ask:?}: {whole}");
            }
        }
    }
    // What Envoy would never send, and bytes that are not a CheckRequest.
    let channel = check::channel(&stack.keyward.grpc).await;
    for request in [
        check::request(CANARY, "", &[("x-api-key", CANARY)]),
        check::request("GET", CANARY, &[(CANARY, CANARY)]),
    ] {
        let _ = check::check(&channel, request).await;
    }
    let mut outputs = vec![];
    for path in ["/metrics", "/config", "/readyz", "/livez"] {
        outputs.push((path, stack.keyward.fetch(path).await.text()));
    }
    stack.keyward.process.signal("TERM");
    drop(channel);
    drop(stack.envoy);
    stack.keyward.process.end().await;
    assert!(
        stack.keyward.decisions().len() > 100,
        "there was something to log"
    );
    // A method is not a secret, so the log may contain it; only the request above sent a secret as
    // one.
    let log: Vec<String> = stack
        .keyward
        .log()
        .into_iter()
        .map(|mut line| {
            for member in ["method", "path"] {
                if line[member]
                    .as_str()
                    .is_some_and(|text| text.starts_with(CANARY))
                {
                    line[member].take();
                }
            }
            line.to_string()
        })
        .collect();
    outputs.push(("stderr", log.join("\n")));
    outputs.push(("stdout", stack.keyward.process.stdout.text()));
    for (name, text) in outputs {
        let line = text.lines().find(|line| line.contains(CANARY));
        assert_eq!(line, None, "{name}");
    }
}

#[tokio::test]
async fn a_secret_that_was_put_where_a_digest_belongs_is_not_repeated() {
    for digest in [
        CANARY.to_owned(),
        format!("blake3:{CANARY}"),
        format!("{CANARY}:00"),
    ] {
        let keys = KeyFile::new().secrets("k", &[&format!("digest: \"{digest}\"")], &[]);
        let home = Home::new("{}", &keys);
        for command in ["check-config", "serve"] {
            let mut process = Process::start(
                Command::new(env!("CARGO_BIN_EXE_keyward"))
                    .arg(command)
                    .arg("-c")
                    .arg(home.config()),
            );
            let status = process.end().await;
            assert_eq!(status.code(), Some(3), "{command} {digest}");
            assert!(
                !process.output().contains(CANARY),
                "{command}: {}",
                process.output()
            );
        }
    }
}
