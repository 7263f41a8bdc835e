//! Watched files are read eventually, whatever made a read fail once: a lack of file descriptors,
//! or replacements without a pause.

use std::time::Duration;

use tokio::time::interval;

use crate::support::certs::Authority;
use crate::support::check;
use crate::support::keyfile::{KeyFile, replace_by_rename};
use crate::support::keyward::{Home, Keyward};
use crate::support::metrics::sample;
use crate::support::scene::key;
use crate::support::wait;

/// Fewer than keyward has open already: it cannot open any more.
const NONE: u32 = 3;
const MANY: u32 = 1024;

async fn with_tls(authority: &Authority) -> Keyward {
    let config = "{server: {grpc: {tls: {cert_file: tls.crt, key_file: tls.key}}}}";
    let home = Home::new(config, &key(KeyFile::new(), "old", &[]));
    authority.issue("localhost").put(home.dir.path());
    home.start().await
}

/// Puts a certificate by `authority` in place, one file after the other.
fn rotate(keyward: &Keyward, authority: &Authority) {
    authority.issue("localhost").put(keyward.home.dir.path());
}

async fn is_trusted_by(keyward: &Keyward, authority: &Authority) -> bool {
    check::tls_channel(&keyward.grpc, authority, None)
        .await
        .is_ok()
}

#[tokio::test]
async fn a_read_that_failed_for_lack_of_file_descriptors_is_retried() {
    let (old, new) = (Authority::new(), Authority::new());
    let keyward = with_tls(&old).await;
    keyward.process.limit_open_files(NONE);
    replace_by_rename(&keyward.home.keys(), key(KeyFile::new(), "new", &[]).text());
    keyward.home.configure(
        "{server: {grpc: {tls: {cert_file: tls.crt, key_file: tls.key}}}, default: deny}",
    );
    rotate(&keyward, &new);
    for what in ["keys", "configuration", "certificates"] {
        let message = format!("{what} not reloaded");
        wait::until(&message, async || {
            let log = keyward.log();
            log.iter()
                .any(|line| line["msg"].as_str().unwrap().starts_with(&message))
        })
        .await;
    }
    keyward.process.limit_open_files(MANY);
    for what in ["keys", "config", "certificates"] {
        wait::until("it is read", async || {
            keyward.reloads(what, "success").await > 0.0
        })
        .await;
    }
    assert!(is_trusted_by(&keyward, &new).await && !is_trusted_by(&keyward, &old).await);
    let ready = keyward.fetch("/readyz").await.text();
    assert_eq!(ready.matches("\"failure\":null").count(), 2, "{ready}");
    let metrics = keyward.fetch("/metrics").await;
    let name = "keyward_certificate_expiry_timestamp_seconds";
    let expiry = sample(&metrics, name, &["member=\"server.grpc.tls\""]);
    assert!(expiry.unwrap() > 0.0);
}

#[tokio::test]
async fn files_that_are_replaced_without_a_pause_are_read() {
    let old = Authority::new();
    let keyward = with_tls(&old).await;
    let new = Authority::new();
    let mut tick = interval(Duration::from_millis(50));
    for turn in 0.. {
        tick.tick().await;
        rotate(&keyward, &new);
        let keys = format!("{}# {turn}\n", key(KeyFile::new(), "new", &[]).text());
        replace_by_rename(&keyward.home.keys(), keys);
        let read = keyward.reloads("certificates", "success").await > 0.0
            && keyward.reloads("keys", "success").await > 0.0;
        if read && is_trusted_by(&keyward, &new).await {
            break;
        }
        assert!(
            turn < 400,
            "nothing is read while somebody replaces the files"
        );
    }
}
