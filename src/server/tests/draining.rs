//! Tests of how a server ends.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::running::{Home, allows, serving, until};
use crate::server::error::ServeError;
use crate::server::signals::Signal;

fn patient(drain: &str, deadline: &str) -> Home {
    let listeners = "grpc: {address: \"127.0.0.1:0\"}, admin: {address: \"127.0.0.1:0\"}";
    Home::new(
        &format!("server: {{{listeners}, drain: {drain}, deadline: {deadline}}}"),
        &["alice"],
    )
}

#[tokio::test]
async fn without_a_connection_the_end_comes_at_once() {
    let mut server = patient("1h", "2h").start().await;
    drop(server.connect().await);
    server.send(Signal::Terminate).await;
    server.ended().await.unwrap();
    assert_eq!(
        server.get("/livez").await,
        "",
        "the admin listener is closed"
    );
}

#[tokio::test]
async fn while_it_drains_everyone_is_told_and_checks_are_answered() {
    let mut server = patient("1h", "2h").start().await;
    let channel = server.connect().await;
    assert!(serving(&channel).await);
    server.send(Signal::Terminate).await;
    until("health says so", async || !serving(&channel).await).await;
    assert!(
        server
            .get("/readyz")
            .await
            .contains("\"reason\":\"draining\"")
    );
    assert!(allows(&channel, "alice").await);
    let another = server.connect().await;
    assert!(
        allows(&another, "alice").await,
        "new connections are taken in"
    );
    assert!(!server.has_ended());
    drop((channel, another));
    server.ended().await.unwrap();
}

#[tokio::test]
async fn after_the_drain_connections_are_sent_away_and_health_watches_end() {
    let mut server = patient("10ms", "1h").start().await;
    let channel = server.connect().await;
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = HealthClient::new(channel.clone())
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    server.send(Signal::Terminate).await;
    // The channel is kept: it is the server that ends the connection.
    server.ended().await.unwrap();
    TcpStream::connect(&server.grpc).await.unwrap_err();
}

#[tokio::test]
async fn what_never_ends_is_cut_off_at_the_deadline() {
    let mut server = patient("10ms", "200ms").start().await;
    // A whole preface and then nothing: the connection can't be closed in an orderly way.
    let mut stuck = TcpStream::connect(&server.grpc).await.unwrap();
    stuck
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    server.send(Signal::Terminate).await;
    server.ended().await.unwrap();
}

#[tokio::test]
async fn an_interrupt_during_the_drain_ends_it_at_once_and_as_a_failure() {
    let mut server = patient("1h", "2h").start().await;
    let _channel = server.connect().await;
    server.send(Signal::Terminate).await;
    server.send(Signal::Interrupt).await;
    let ended = server.ended().await;
    assert!(matches!(ended, Err(ServeError::DrainCutShort)), "{ended:?}");
}

#[tokio::test]
async fn a_second_order_to_stop_changes_nothing() {
    let mut server = patient("1h", "2h").start().await;
    let channel = server.connect().await;
    server.send(Signal::Terminate).await;
    server.send(Signal::Terminate).await;
    drop(channel);
    server.ended().await.unwrap();
}

#[tokio::test]
async fn the_unix_socket_goes_with_its_server() {
    let home = Home::new("", &[]);
    home.configure("server: {grpc: {address: \"unix:s\"}, admin: {address: \"127.0.0.1:0\"}}");
    let mut server = home.start().await;
    assert!(server.home.path("s").exists());
    server.send(Signal::Terminate).await;
    server.ended().await.unwrap();
    assert!(!server.home.path("s").exists());
}
