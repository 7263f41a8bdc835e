//! Users and passwords: authentication, the reports of refusals, and rotation.

use super::server::write_secret;
use super::*;
use crate::redis::client::Progress;

const USER: [&str; 10] = [
    "ACL",
    "SETUSER",
    "keyward",
    "on",
    ">canary1",
    "~keyward:*",
    "+get",
    "+client",
    "+ping",
    "+role",
];

/// A server with the user `keyward` of password `canary1`, and nobody else but ourselves.
async fn server_with_user() -> (Server, RedisSourceSettings) {
    let server = Server::redis().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    run(&mut client, &USER).await;
    let mut settings = settings(&server.url());
    settings.redis.username = Some("keyward".to_owned());
    settings.redis.password_file = Some(server.path("password").into());
    write_secret(&server.path("password"), "canary1\n");
    (server, settings)
}

#[tokio::test]
async fn a_user_with_a_password_file_keeps_the_contract_and_gets_pushes() {
    let (server, settings) = server_with_user().await;
    let source = RedisSource::new(settings, clock()).unwrap();
    assert_eq!(source.probe().await, Ok(Vec::new()));
    keeps_the_contract(&source).await;
    let mut client = server.client().await;
    followed(&source, async |log| {
        until_subscribed(&log).await;
        is_invalidated("a change", &log, async || {
            put(&mut client, &records()[0]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_as_such_and_not_shown() {
    let (server, settings) = server_with_user().await;
    write_secret(&server.path("password"), "canary2");
    let source = RedisSource::new(settings, clock()).unwrap();
    let want = format!(
        "the source failed: 127.0.0.1:{}: the user or the password is wrong (WRONGPASS)",
        server.port
    );
    assert_eq!(source.probe().await.unwrap_err().to_string(), want);
    assert_eq!(failure(&source).await, want);
}

#[tokio::test]
async fn a_lookup_that_the_user_may_not_make_is_reported() {
    let (server, settings) = server_with_user().await;
    let mut client = server.client().await;
    run(
        &mut client,
        &["ACL", "SETUSER", "keyward", "resetkeys", "~other:*"],
    )
    .await;
    let source = RedisSource::new(settings, clock()).unwrap();
    let failed = source.probe().await.unwrap_err().to_string();
    assert!(
        failed.starts_with("the source failed: GET keyward:digest:blake3:"),
        "{failed}"
    );
    assert!(failed.ends_with("(NOPERM)"), "{failed}");
}

#[tokio::test]
async fn a_missing_password_is_reported() {
    let server = Server::redis().await;
    run(
        &mut server.client().await,
        &["CONFIG", "SET", "requirepass", "canary1"],
    )
    .await;
    let failed = failure(&source(&server.url())).await;
    assert!(
        failed.ends_with("the server wants a password (NOAUTH)"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_password_may_change_while_the_source_is_followed() {
    let (server, settings) = server_with_user().await;
    let mut client = server.client().await;
    let source = RedisSource::new(settings, clock()).unwrap();
    followed(&source, async |log| {
        until_subscribed(&log).await;
        assert!(finds_a(&source).await);
        let before = source.client.progress();
        // The operator's order: both passwords are good, the file changes, the old one goes.
        run(&mut client, &["ACL", "SETUSER", "keyward", ">canary2"]).await;
        write_secret(&server.path("password"), "canary2");
        until("the connection is another one", async || {
            let now = source.client.progress();
            now.map(Progress::number) != before.map(Progress::number)
        })
        .await;
        run(&mut client, &["ACL", "SETUSER", "keyward", "<canary1"]).await;
        run(&mut client, &["CLIENT", "KILL", "USER", "keyward"]).await;
        until("a is found", async || finds_a(&source).await).await;
        until_subscribed(&log).await;

        // A password that is wrong leaves the connection that works.
        write_secret(&server.path("password"), "canary3");
        let credentials = source.client.connector().files().load().await.unwrap();
        let refused = source
            .client
            .reconnect_with(&credentials)
            .await
            .unwrap_err();
        assert!(refused.ends_with("(WRONGPASS)"), "{refused}");
        assert!(finds_a(&source).await);
    })
    .await;
}

#[tokio::test]
async fn a_password_that_changed_is_used_at_the_next_connection() {
    let (server, settings) = server_with_user().await;
    let source = RedisSource::new(settings, clock()).unwrap();
    assert!(finds_a(&source).await);
    let mut client = server.client().await;
    run(
        &mut client,
        &["ACL", "SETUSER", "keyward", "<canary1", ">canary2"],
    )
    .await;
    write_secret(&server.path("password"), "canary2");
    run(&mut client, &["CLIENT", "KILL", "USER", "keyward"]).await;
    assert!(
        finds_a(&source).await,
        "the lookup is tried on a new connection"
    );
}
