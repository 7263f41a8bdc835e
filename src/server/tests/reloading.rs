//! Tests of files that change under a running server.

use std::fs;
use std::os::unix::fs::symlink;

use super::running::{Home, Running, allows, keys, until};
use crate::server::orders::Order;

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
    server.order(Order::Reload).await;
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
