//! Tests of files that change under a running server.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};

use super::running::{Home, Running, allows, keys, until};
use crate::clock::{Clock as _, SystemClock};
use crate::server::signals::Signal;
use crate::watch::SETTLE_TIME;

async fn reloads(server: &Running, what: &str, result: &str) -> f64 {
    server
        .metric(&format!(
            "keyward_reloads_total{{result=\"{result}\",what=\"{what}\"}}"
        ))
        .await
}

#[tokio::test]
async fn keys_put_in_place_by_rename_are_in_force_at_once() {
    let server = Home::new("", &["alice"]).start().await;
    let channel = server.connect().await;
    server.home.place("keys.yaml", &keys(&["bob"]));
    until("bob is known", async || allows(&channel, "bob").await).await;
    assert!(!allows(&channel, "alice").await);
    assert!(reloads(&server, "keys", "success").await > 0.0);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_the_next_good_one_heals_it() {
    let server = Home::new("", &["alice"]).start().await;
    let channel = server.connect().await;
    for bad in ["", "keys: [", "keys: 7"] {
        let before = reloads(&server, "keys", "failure").await;
        server.home.place("keys.yaml", bad);
        until("it is noticed", async || {
            reloads(&server, "keys", "failure").await > before
        })
        .await;
        assert!(allows(&channel, "alice").await, "{bad:?}");
    }
    assert!(server.metric("keyward_source_up{source=\"file\"}").await < 0.5);
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"));
    server.home.place("keys.yaml", &keys(&["bob"]));
    until("bob is known", async || allows(&channel, "bob").await).await;
    assert!(server.metric("keyward_source_up{source=\"file\"}").await > 0.5);
}

#[tokio::test]
async fn kubernetes_swaps_are_followed_again_and_again() {
    let home = Home::new("source: {file: {path: mounted/keys.yaml}}", &[]);
    let mount = home.path("mounted");
    fs::create_dir(&mount).unwrap();
    symlink("..data/keys.yaml", mount.join("keys.yaml")).unwrap();
    let swap = |number: usize, id: &str| {
        let version = mount.join(format!("..{number}"));
        fs::create_dir(&version).unwrap();
        fs::write(version.join("keys.yaml"), keys(&[id])).unwrap();
        symlink(format!("..{number}"), mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        if let Some(before) = number.checked_sub(1) {
            fs::remove_dir_all(mount.join(format!("..{before}"))).unwrap();
        }
    };
    swap(0, "k0");
    let server = home.start().await;
    let channel = server.connect().await;
    for number in 1..4 {
        let id = format!("k{number}");
        swap(number, &id);
        until("the swap is seen", async || allows(&channel, &id).await).await;
        assert!(!allows(&channel, &format!("k{}", number - 1)).await);
    }
}

#[tokio::test]
async fn a_new_configuration_is_in_force_with_the_keys_that_fit_it() {
    let server = Home::new("", &["alice"]).start().await;
    let channel = server.connect().await;
    server.home.configure("default: allow-anyone");
    until("anyone passes", async || allows(&channel, "nobody").await).await;
    assert!(server.get("/config").await.contains("allow-anyone"));
    // A key of a plan that is not there yet, and then the plan: whichever is noticed first.
    let gold = keys(&["carol"]).replace("id: carol", "id: carol, plan: gold");
    server.home.place("keys.yaml", &gold);
    until("the keys are refused", async || {
        reloads(&server, "keys", "failure").await > 0.0
    })
    .await;
    server.home.configure("plans: {gold: {scopes: [a]}}");
    until("a key is asked for", async || {
        !allows(&channel, "nobody").await
    })
    .await;
    assert!(allows(&channel, "carol").await);
    // The plan goes before the key that refers to it: refused until the key has gone too.
    server.home.configure("realm: other");
    until("the plan is missed", async || {
        reloads(&server, "config", "failure").await > 0.0
    })
    .await;
    server.home.place("keys.yaml", &keys(&["alice"]));
    until("both are in force", async || {
        server.get("/config").await.contains("\"other\"")
    })
    .await;
    assert!(allows(&channel, "alice").await);
}

#[tokio::test]
async fn a_change_that_needs_a_restart_is_refused_whole() {
    let server = Home::new("", &["alice"]).start().await;
    let channel = server.connect().await;
    server
        .home
        .configure("default: allow-anyone\ncache: {capacity: 7}");
    until("it is refused", async || {
        reloads(&server, "config", "failure").await > 0.0
    })
    .await;
    assert!(!allows(&channel, "nobody").await);
}

#[tokio::test]
async fn an_order_reads_everything_whether_it_changed_or_not() {
    let server = Home::new("", &["alice"]).start().await;
    server.send(Signal::Reload).await;
    until("both are read", async || {
        reloads(&server, "config", "success").await > 0.0
            && reloads(&server, "keys", "success").await > 0.0
    })
    .await;
}

#[tokio::test]
async fn keys_of_a_directory_come_and_go_with_its_files() {
    let home = Home::new("source: {file: {path: keys.d}}", &[]);
    fs::create_dir(home.path("keys.d")).unwrap();
    fs::write(home.path("keys.d/a.yaml"), keys(&["alice"])).unwrap();
    let server = home.start().await;
    let channel = server.connect().await;
    server.home.place("keys.d/b.yml", &keys(&["bob"]));
    until("the second file counts", async || {
        allows(&channel, "bob").await
    })
    .await;
    fs::remove_file(server.home.path("keys.d/a.yaml")).unwrap();
    until("the first is gone", async || {
        !allows(&channel, "alice").await
    })
    .await;
    assert!(allows(&channel, "bob").await);
}

/// A server of a directory with these files of keys.
async fn of_directory(files: &[(&str, &[&str])]) -> Running {
    let home = Home::new("source: {file: {path: keys.d}}", &[]);
    fs::create_dir(home.path("keys.d")).unwrap();
    for (name, ids) in files {
        fs::write(home.path("keys.d").join(name), keys(ids)).unwrap();
    }
    home.start().await
}

/// What `/readyz` says keeps the keys from being as the files have them.
async fn failure(server: &Running) -> String {
    let answer = server.get("/readyz").await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let failure = &body["source"]["failure"];
    failure.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_bad_file_of_a_directory_keeps_no_other_from_taking_effect() {
    let server = of_directory(&[("a.yaml", &["alice", "anna"]), ("b.yaml", &["bob"])]).await;
    let channel = server.connect().await;
    server.home.place("keys.d/b.yaml", "keys: [");
    until("it is noticed", async || {
        failure(&server).await.contains("keys.d/b.yaml:")
    })
    .await;
    server.home.place("keys.d/a.yaml", &keys(&["anna"]));
    until("alice is gone", async || !allows(&channel, "alice").await).await;
    assert!(allows(&channel, "anna").await && allows(&channel, "bob").await);
    let failed = reloads(&server, "keys", "failure").await;
    assert!(
        failed > 1.0,
        "a reload with a file at fault is a failure: {failed}"
    );
    assert!(server.metric("keyward_source_up{source=\"file\"}").await < 0.5);
    server.home.place("keys.d/b.yaml", &keys(&["bill"]));
    until("the second is mended", async || {
        allows(&channel, "bill").await
    })
    .await;
    until("all is well", async || failure(&server).await.is_empty()).await;
    assert!(!allows(&channel, "bob").await);
}

#[tokio::test]
async fn a_file_that_clashes_is_judged_again_when_the_other_changes() {
    let server = of_directory(&[("a.yaml", &["x", "a"]), ("b.yaml", &["b"])]).await;
    let channel = server.connect().await;
    server.home.place("keys.d/b.yaml", &keys(&["x"]));
    until("it is noticed", async || {
        failure(&server)
            .await
            .contains("keys.d/b.yaml:2:10: keys[0].id: another key")
    })
    .await;
    assert!(allows(&channel, "x").await && allows(&channel, "b").await);
    server.home.place("keys.d/a.yaml", &keys(&["a"]));
    until("both are in force", async || {
        failure(&server).await.is_empty()
    })
    .await;
    assert!(allows(&channel, "x").await && !allows(&channel, "b").await);
}

#[tokio::test]
async fn a_file_that_is_renamed_takes_its_keys_along_without_a_failure() {
    let server = of_directory(&[("a.yaml", &["a"]), ("b.yaml", &["b"])]).await;
    let channel = server.connect().await;
    let path = |name: &str| server.home.path("keys.d").join(name);
    fs::rename(path("a.yaml"), path("c.yaml")).unwrap();
    until("it is read", async || {
        reloads(&server, "keys", "success").await > 0.0
    })
    .await;
    assert!(allows(&channel, "a").await && allows(&channel, "b").await);
    assert!(reloads(&server, "keys", "failure").await < 0.5);
    fs::remove_file(path("b.yaml")).unwrap();
    until("its keys are gone", async || !allows(&channel, "b").await).await;
    assert!(allows(&channel, "a").await);
}

#[tokio::test]
async fn a_directory_that_is_empty_or_missing_changes_nothing_and_may_come_back() {
    let server = of_directory(&[("a.yaml", &["a"])]).await;
    let channel = server.connect().await;
    let path = |name: &str| server.home.path(name);
    fs::remove_file(path("keys.d/a.yaml")).unwrap();
    until("it is noticed", async || {
        failure(&server)
            .await
            .contains("no keys file in this directory")
    })
    .await;
    fs::remove_dir(path("keys.d")).unwrap();
    until("that too", async || {
        failure(&server).await.contains("cannot be read")
    })
    .await;
    assert!(allows(&channel, "a").await);
    fs::create_dir(path("keys.d")).unwrap();
    server.home.place("keys.d/b.yaml", &keys(&["b"]));
    until("it is back", async || allows(&channel, "b").await).await;
    until("what is gone for good is", async || {
        !allows(&channel, "a").await
    })
    .await;
    assert_eq!(failure(&server).await, "");
}

#[tokio::test]
async fn a_neighbour_put_in_place_is_no_reason_to_read_a_half_written_file() {
    let server = of_directory(&[("a.yaml", &["a"])]).await;
    let channel = server.connect().await;
    let half = server.home.path("keys.d/half.yaml");
    let clock = SystemClock::new();
    for turn in 0..10 {
        // A file that somebody goes on writing in place, and neighbours that come by rename
        // meanwhile.
        fs::write(&half, format!("{}# {turn}", keys(&["open"]))).unwrap();
        let written = clock.monotonic();
        let id = format!("b{turn}");
        server.home.place("keys.d/b.yaml", &keys(&[&id]));
        until("the neighbour counts", async || allows(&channel, &id).await).await;
        let is_read = allows(&channel, "open").await;
        // A machine that held this writer up for so long has let the file stand still.
        if clock.monotonic().saturating_sub(written) >= SETTLE_TIME {
            break;
        }
        assert!(!is_read, "half a file was read");
    }
    until("it stands still", async || allows(&channel, "open").await).await;
}

#[tokio::test]
async fn a_configuration_is_put_in_force_with_the_last_whole_state_of_a_bad_file() {
    let server = of_directory(&[("a.yaml", &["a"]), ("b.yaml", &["b"])]).await;
    let channel = server.connect().await;
    server.home.place("keys.d/b.yaml", "keys: [");
    until("it is noticed", async || !failure(&server).await.is_empty()).await;
    server
        .home
        .configure("source: {file: {path: keys.d}}\ndefault: allow-anyone");
    until("anyone passes", async || allows(&channel, "nobody").await).await;
    assert!(failure(&server).await.contains("b.yaml"));
}

/// A self-signed certificate that expires in that year, and its key, PEM.
fn pair(year: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 6, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn certificates_are_counted_shown_and_tried_again_until_they_fit() {
    let (certificate, key) = pair(2040);
    let home = Home::new(
        "server: {grpc: {address: \"127.0.0.1:0\", tls: {cert_file: cert, key_file: key}}, admin: {address: \"127.0.0.1:0\"}}",
        &["alice"],
    );
    fs::write(home.path("cert"), certificate).unwrap();
    fs::write(home.path("key"), key).unwrap();
    let server = home.start().await;
    let expiry = "keyward_certificate_expiry_timestamp_seconds{member=\"server.grpc.tls\"}";
    let year = async || {
        let end = Duration::from_secs_f64(server.metric(expiry).await);
        Timestamp::UNIX_EPOCH
            .saturating_add(end)
            .unwrap()
            .to_string()
    };
    assert!(year().await.starts_with("2040-"));
    assert!(
        server
            .get("/readyz")
            .await
            .contains("\"certificates\":{\"expires_at\":\"2040-")
    );

    let (certificate, key) = pair(2050);
    server.home.place("cert", &certificate);
    until("a pair that does not fit is a failure", async || {
        reloads(&server, "certificates", "failure").await > 0.0
    })
    .await;
    assert!(
        server
            .get("/readyz")
            .await
            .contains("cannot be used with the certificate")
    );
    assert!(year().await.starts_with("2040-"));
    server.home.place("key", &key);
    until("the new pair is in use", async || {
        year().await.starts_with("2050-")
    })
    .await;
    assert!(reloads(&server, "certificates", "success").await > 0.0);
    assert!(server.get("/readyz").await.contains("\"failure\":null}"));
    let before = reloads(&server, "certificates", "success").await;
    server.send(Signal::Reload).await;
    until("SIGHUP reads them too", async || {
        reloads(&server, "certificates", "success").await > before
    })
    .await;
}
