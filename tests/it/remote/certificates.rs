//! Files of TLS, and the system's authorities, that cannot be used: told at start with member and file, by every source alike, and
//! of no concern where others are named.

use tempfile::TempDir;

use super::places::redis_with_tls;
use crate::cli::{Desk, Run};
use crate::support::certs::Authority;

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
