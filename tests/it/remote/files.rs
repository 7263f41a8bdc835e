//! The files for a connection to a source. Every source reports at start, with member and file, TLS
//! files and system CA certificates that it cannot use; one that is unreadable for a while is read
//! as soon as possible.

use std::fs;

use redis::cmd;
use tempfile::TempDir;

use super::topologies::redis_with_tls;
use super::{Sidecar, keys_url};
use crate::cli::{Run, Workdir};
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

/// A workdir with good TLS files, some of which its configuration names.
fn workdir(source: &str, tls: &str) -> Workdir {
    let workdir = Workdir::new(&format!("source: {{{source}{tls}}}}}\n"), "keys: []\n");
    let authority = Authority::new();
    workdir.write("ca.pem", authority.pem());
    let identity = authority.issue("sidecar");
    workdir.write("tls.crt", identity.cert);
    workdir.write("tls.key", identity.key);
    workdir
}

/// Runs keyward with the system's CA certificates in this file.
fn run_with_authorities(workdir: &Workdir, arguments: &[&str], file: &str) -> Run {
    let mut command = workdir.command(arguments);
    let command = command.env("SSL_CERT_FILE", file);
    Run::of(command.env_remove("SSL_CERT_DIR"))
}

#[test]
fn unusable_files_prevent_the_start_for_every_source() {
    let other = Authority::new().issue("other");
    let broken = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
    let broken_second = [&Authority::new().pem(), broken].concat();
    for (source, at) in [
        (HTTP, "source.http.tls"),
        (REDIS, "source.redis.tls"),
        (CLUSTER, "source.redis.tls"),
        (SENTINEL, "source.redis.tls"),
    ] {
        for (file, content, member) in [
            ("tls.key", &other.key, "key_file"),
            ("ca.pem", &broken_second, "ca_file"),
        ] {
            let workdir = workdir(source, WHOLE);
            workdir.write(file, content);
            for arguments in [&["check-config", "--offline"][..], &["serve"]] {
                let complaint = workdir.run(arguments).complaint(3);
                for hint in [&format!("{at}.{member}: "), file] {
                    assert!(complaint.contains(hint), "{hint}: {complaint}");
                }
            }
        }
    }
}

#[test]
fn unreadable_system_ca_certificates_are_reported_if_they_matter() {
    let (dir, nothing) = (TempDir::new().unwrap(), "");
    let missing = dir.path().join("authorities.pem").display().to_string();
    let http = "source.http.tls.ca_file: the system has no certificate authorities";
    let redis = "source.redis.tls.ca_file: the system has no certificate authorities";
    let cluster = "source.redis.tls: the system's certificate authorities";
    for (source, tls, expected) in [
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
        let workdir = workdir(source, tls);
        let run = run_with_authorities(&workdir, &["check-config", "--offline"], &missing);
        match expected {
            None => assert_eq!(run.code, Some(0), "{source}{tls}: {run:?}"),
            Some(expected) => {
                let complaint = run.complaint(3);
                assert!(complaint.contains(expected), "{source}{tls}: {complaint}");
                assert!(complaint.contains(&missing), "{source}{tls}: {complaint}");
            }
        }
    }
}

#[tokio::test]
async fn system_ca_certificates_do_not_matter_if_another_ca_is_configured() {
    let authority = Authority::new();
    let (_server, port) = redis_with_tls(&authority).await;
    let url = format!("redis: {{url: \"rediss://localhost:{}\"", port.number());
    let workdir = workdir(&url, WHOLE);
    workdir.write("ca.pem", authority.pem());
    let identity = authority.issue("sidecar");
    workdir.write("tls.crt", identity.cert);
    workdir.write("tls.key", identity.key);
    // It looks a key up and has changes pushed.
    let run = run_with_authorities(&workdir, &["check-config"], "missing.pem");
    let output = run.data();
    assert!(output.contains("which answers"), "{output}");
}

/// Puts another secret into a file while keyward cannot open files, and lets it again once it has
/// reported that.
async fn replace_unreadably(sidecar: &Sidecar, file: &str, secret: &str) {
    let process = &sidecar.keyward.process;
    process.limit_open_files(0);
    replace_by_rename(&sidecar.keyward.home.path(file), secret);
    let complaint = format!("{file} cannot be read: Too many open files");
    wait::until("it is reported", async || {
        process.output().contains(&complaint)
    })
    .await;
    process.limit_open_files(1000);
}

#[tokio::test]
async fn a_temporarily_unreadable_token_is_read_later() {
    let service = KeyService::start().await;
    let url = keys_url(service.address);
    let config = format!("source: {{http: {{url: \"{url}\", bearer_token_file: token}}}}\n");
    let home = Home::new(&config, &KeyFile::new());
    fs::write(home.path("token"), "first").unwrap();
    let sidecar = Sidecar::at(home).await;
    sidecar.becomes("made-up", "unknown_key").await;
    replace_unreadably(&sidecar, "token", "second").await;
    let mut number = 0;
    wait::until("the new token is sent", async || {
        number += 1;
        sidecar.outcome(&format!("made-up-{number}")).await;
        let requests = service.take();
        let mut requests = requests.iter();
        requests.any(|request| request.all("authorization") == ["Bearer second"])
    })
    .await;
}

#[tokio::test]
async fn a_temporarily_unreadable_password_is_read_later() {
    let mut server = Server::start(Kind::Redis).await;
    server.protect("first").await;
    let url = server.url();
    let config = format!("source: {{redis: {{url: \"{url}\", password_file: password}}}}\n");
    let home = Home::new(&config, &KeyFile::new());
    fs::write(home.path("password"), "first").unwrap();
    let sidecar = Sidecar::at(home).await;
    sidecar.becomes("made-up", "unknown_key").await;
    let mut another = cmd("ACL");
    another.arg("SETUSER").arg("default").arg(">second");
    server.execute(&another).await;
    replace_unreadably(&sidecar, "password", "second").await;
    wait::until("the new password is in use", async || {
        let output = sidecar.keyward.process.output();
        output.contains("password or certificates changed and are in use")
    })
    .await;
}
