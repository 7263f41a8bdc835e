//! The files that a source is reached with. Those of TLS, and the system's authorities, that cannot be used are told at start with
//! member and file, by every source alike; one that cannot be read for a while is read when it can.

use std::fs;

use redis::cmd;
use tempfile::TempDir;

use super::places::redis_with_tls;
use super::{Asked, keys_url};
use crate::cli::{Desk, Run};
use crate::support::certs::Authority;
use crate::support::key_service::KeyService;
use crate::support::keyfile::{KeyFile, replace_by_rename};
use crate::support::keyward::Home;
use crate::support::redis::{Kind, Server};
use crate::support::wait;

const HTTP: &str = "http: {url: \"https://localhost:1/{digest}\"";
const REDIS: &str = "redis: {url: \"rediss://localhost:1\"";
const CLUSTER: &str = "redis: {cluster: [\"rediss://localhost:1\"]";
const SENTINEL: &str = "redis: {sentinel: {master: m, nodes: [\"rediss://localhost:1\"]}";

const WHOLE: &str = ", tls: {ca_file: ca.pem, cert_file: tls.crt, key_file: tls.key}";

/// A desk with good files of TLS, whose configuration names some of them.
fn desk(source: &str, tls: &str) -> Desk {
    let desk = Desk::new(&format!("source: {{{source}{tls}}}}}\n"), "keys: []\n");
    let authority = Authority::new();
    desk.write("ca.pem", authority.pem());
    let identity = authority.issue("sidecar");
    desk.write("tls.crt", identity.cert);
    desk.write("tls.key", identity.key);
    desk
}

/// Runs keyward where the system's authorities are in that file.
fn run_with_authorities(desk: &Desk, arguments: &[&str], file: &str) -> Run {
    let mut command = desk.command(arguments);
    let command = command.env("SSL_CERT_FILE", file);
    Run::of(command.env_remove("SSL_CERT_DIR"))
}

#[test]
fn files_that_cannot_be_used_end_the_start_whatever_the_source() {
    let stranger = Authority::new().issue("stranger");
    let broken = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
    let broken_second = [&Authority::new().pem(), broken].concat();
    for (source, at) in [
        (HTTP, "source.http.tls"),
        (REDIS, "source.redis.tls"),
        (CLUSTER, "source.redis.tls"),
        (SENTINEL, "source.redis.tls"),
    ] {
        for (file, content, member) in [
            ("tls.key", &stranger.key, "key_file"),
            ("ca.pem", &broken_second, "ca_file"),
        ] {
            let desk = desk(source, WHOLE);
            desk.write(file, content);
            for arguments in [&["check-config", "--offline"][..], &["serve"]] {
                let complaint = desk.run(arguments).complaint(3);
                for hint in [&format!("{at}.{member}: "), file] {
                    assert!(complaint.contains(hint), "{hint}: {complaint}");
                }
            }
        }
    }
}

#[test]
fn authorities_of_the_system_that_cannot_be_read_are_told_where_they_matter() {
    let (dir, nothing) = (TempDir::new().unwrap(), "");
    let missing = dir.path().join("authorities.pem").display().to_string();
    let http = "source.http.tls.ca_file: the system has no certificate authorities";
    let redis = "source.redis.tls.ca_file: the system has no certificate authorities";
    let cluster = "source.redis.tls: the system's certificate authorities";
    for (source, tls, told) in [
        (HTTP, nothing, Some(http)),
        (HTTP, WHOLE, None),
        (REDIS, nothing, Some(redis)),
        (REDIS, WHOLE, None),
        (SENTINEL, nothing, Some(redis)),
        (SENTINEL, WHOLE, None),
        (CLUSTER, nothing, Some(cluster)),
        (CLUSTER, WHOLE, Some(cluster)),
        (&CLUSTER.replace("rediss", "redis"), nothing, None),
    ] {
        let desk = desk(source, tls);
        let run = run_with_authorities(&desk, &["check-config", "--offline"], &missing);
        match told {
            None => assert_eq!(run.code, Some(0), "{source}{tls}: {run:?}"),
            Some(told) => {
                let complaint = run.complaint(3);
                assert!(complaint.contains(told), "{source}{tls}: {complaint}");
                assert!(complaint.contains(&missing), "{source}{tls}: {complaint}");
            }
        }
    }
}

#[tokio::test]
async fn authorities_of_the_system_are_of_no_concern_to_a_server_whose_own_is_named() {
    let authority = Authority::new();
    let (_server, port) = redis_with_tls(&authority).await;
    let url = format!("redis: {{url: \"rediss://localhost:{}\"", port.number());
    let desk = desk(&url, WHOLE);
    desk.write("ca.pem", authority.pem());
    let identity = authority.issue("sidecar");
    desk.write("tls.crt", identity.cert);
    desk.write("tls.key", identity.key);
    // It looks a key up and has changes pushed.
    let run = run_with_authorities(&desk, &["check-config"], "missing.pem");
    let said = run.data();
    assert!(said.contains("which answers"), "{said}");
}

/// Puts another secret into a file while keyward may not open any, and lets it again when it has said so.
async fn replace_unreadably(asked: &Asked, file: &str, secret: &str) {
    let process = &asked.keyward.process;
    process.limit_open_files(0);
    replace_by_rename(&asked.keyward.home.path(file), secret);
    let complaint = format!("{file} cannot be read: Too many open files");
    wait::until("it is told", async || process.output().contains(&complaint)).await;
    process.limit_open_files(1000);
}

#[tokio::test]
async fn a_token_that_could_not_be_read_for_a_while_is_read_when_it_can() {
    let service = KeyService::start().await;
    let url = keys_url(service.address);
    let config = format!("source: {{http: {{url: \"{url}\", bearer_token_file: token}}}}\n");
    let home = Home::new(&config, &KeyFile::new());
    fs::write(home.path("token"), "first").unwrap();
    let asked = Asked::at(home).await;
    asked.becomes("nobody", "unknown_key").await;
    replace_unreadably(&asked, "token", "second").await;
    let mut number = 0;
    wait::until("the new token is sent", async || {
        number += 1;
        asked.said(&format!("nobody-{number}")).await;
        let requests = service.take();
        let mut requests = requests.iter();
        requests.any(|request| request.all("authorization") == ["Bearer second"])
    })
    .await;
}

#[tokio::test]
async fn a_password_that_could_not_be_read_for_a_while_is_read_when_it_can() {
    let mut server = Server::start(Kind::Redis).await;
    server.protect("first").await;
    let url = server.url();
    let config = format!("source: {{redis: {{url: \"{url}\", password_file: password}}}}\n");
    let home = Home::new(&config, &KeyFile::new());
    fs::write(home.path("password"), "first").unwrap();
    let asked = Asked::at(home).await;
    asked.becomes("nobody", "unknown_key").await;
    let mut another = cmd("ACL");
    another.arg("SETUSER").arg("default").arg(">second");
    server.tell(&another).await;
    replace_unreadably(&asked, "password", "second").await;
    wait::until("the new password is in use", async || {
        let output = asked.keyward.process.output();
        output.contains("password or certificates changed and are in use")
    })
    .await;
}
