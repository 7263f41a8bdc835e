//! The test doubles do what they promise; otherwise a fault would prove nothing.

use redis::cmd;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::http1::{self, Connection};
use crate::support::key_service::{Answer, KeyService};
use crate::support::keyfile::digest;
use crate::support::message::Ask;
use crate::support::redis::{KINDS, Server, index, url};
use crate::support::wait;

fn lookup(secret: &str) -> String {
    format!("/v1/keys/{}", digest(secret).replace("blake3:", ""))
}

/// Sends an inline command to a Redis through the proxy; the reply, empty if the connection ended
/// or was reset.
async fn say(stream: &mut TcpStream, line: &str) -> Vec<u8> {
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    answer.truncate(read);
    answer
}

#[tokio::test]
async fn a_restarted_server_has_its_port_and_no_data() {
    for kind in KINDS {
        let mut server = Server::start(kind).await;
        server.put("k", "k", json!({})).await;
        assert_eq!(server.record("k").await["id"], "k");
        assert_eq!(server.get(&index("k")).await.as_deref(), Some("k"));
        let address = server.address();
        server.kill().await;
        assert!(TcpStream::connect(address).await.is_err());
        server.restart().await;
        assert_eq!(server.address(), address);
        assert_eq!(server.everything().await, []);
        server.protect("pw").await;
        assert_eq!(server.get("none").await, None);
    }
}

#[tokio::test]
async fn only_push_connections_are_cut() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let mut tracking = TcpStream::connect(server.address()).await.unwrap();
        let mut other = TcpStream::connect(server.address()).await.unwrap();
        say(&mut tracking, "HELLO 3").await;
        let tracked = say(&mut tracking, "CLIENT TRACKING ON BCAST").await;
        assert_eq!(tracked, b"+OK\r\n");
        assert_eq!(say(&mut other, "PING").await, b"+PONG\r\n");
        assert_eq!(server.cut_pushing().await.len(), 1);
        assert_eq!(say(&mut tracking, "PING").await, b"");
        assert_eq!(say(&mut other, "PING").await, b"+PONG\r\n");
        assert!(server.pushing().await.is_empty());
    }
}

#[tokio::test]
async fn the_proxy_injects_each_fault() {
    let server = Server::start(KINDS[0]).await;
    let proxy = FaultProxy::of_redis(server.address()).await;
    let open = async || TcpStream::connect(proxy.address).await.unwrap();
    let mut data = open().await;
    let mut push = open().await;
    assert_eq!(say(&mut data, "PING").await, b"+PONG\r\n");
    say(&mut push, "HELLO 3").await;
    assert_eq!(say(&mut push, "client tracking on").await, b"+OK\r\n");
    assert_eq!((proxy.accepted(), proxy.pushes()), (2, 1));

    // The one, and not the other.
    proxy.set_push(Mode::Reset);
    assert_eq!(say(&mut push, "PING").await, b"");
    assert_eq!(say(&mut data, "PING").await, b"+PONG\r\n");
    let mut push = open().await;
    say(&mut push, "HELLO 3").await;
    assert_eq!(say(&mut push, "CLIENT TRACKING ON").await, b"");
    proxy.set_push(Mode::Pass);

    // Held until released, in order.
    proxy.set_data(Mode::Hold);
    wait::until("answers are held", async || {
        let mut early = open().await;
        early.write_all(b"PING\r\n").await.unwrap();
        wait::until("it is held", async || proxy.held() > 0).await;
        proxy.set_data(Mode::Pass);
        let mut answer = [0; 7];
        early.read_exact(&mut answer).await.unwrap();
        &answer == b"+PONG\r\n"
    })
    .await;

    // A connection that got a false reply gets no true ones any more.
    proxy.set(&Mode::Answer(b"-ERR\r\n".to_vec()));
    let mut wrong = open().await;
    assert_eq!(say(&mut wrong, "PING").await, b"-ERR\r\n");
    proxy.set(&Mode::Pass);
    assert_eq!(say(&mut wrong, "PING").await, b"");

    let mut cut = open().await;
    assert_eq!(say(&mut cut, "PING").await, b"+PONG\r\n");
    proxy.refuse();
    assert_eq!(say(&mut cut, "PING").await, b"");
    wait::until("the proxy has closed its port", async || {
        TcpStream::connect(proxy.address).await.is_err()
    })
    .await;
    wait::until("all are closed", async || proxy.open() == 0).await;
    proxy.set(&Mode::Pass);
    wait::until("the port is open again", async || {
        TcpStream::connect(proxy.address).await.is_ok()
    })
    .await;
    let client = redis::Client::open(url(proxy.address)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pong: String = cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn the_service_responds_as_configured_and_counts() {
    let service = KeyService::start().await;
    service.put("k", "k", json!({"client": "acme"}));
    let reply = http1::fetch(service.address, &lookup("k")).await;
    assert_eq!(
        (reply.status, &reply.problem()["client"]),
        (200, &"acme".into())
    );
    assert_eq!(
        http1::fetch(service.address, &lookup("x")).await.status,
        404
    );
    assert_eq!(
        (service.gets("k"), service.gets("x"), service.all_gets()),
        (1, 1, 2)
    );

    service.answer(Answer::Half);
    let half = http1::fetch(service.address, &lookup("k")).await;
    assert!(
        serde_json::from_slice::<serde_json::Value>(&half.body).is_err(),
        "{half:?}"
    );
    service.answer_for(
        "k",
        Answer::reply("500 Internal Server Error", "a: b\r\n", "no"),
    );
    let reply = http1::fetch(service.address, &lookup("k")).await;
    assert_eq!((reply.status, reply.text()), (500, "no".to_owned()));
    assert_eq!(reply.all("a"), ["b"]);

    // The record at the time of the request.
    service.answer_for("k", Answer::Held);
    let held = tokio::spawn({
        let address = service.address;
        async move { http1::fetch(address, &lookup("k")).await }
    });
    wait::until("the lookup arrived", async || service.gets("k") == 4).await;
    service.put("k", "k", json!({"client": "later"}));
    service.release();
    assert_eq!(held.await.unwrap().problem()["client"], "acme");

    let mut events = Connection::open(service.address).await;
    events
        .write(&http1::request_bytes(&Ask::get("/events")))
        .await;
    wait::until("it listens", async || service.streams() == 1).await;
    service.push(&json!({"all": true}));
    let reply = events.read("GET").await.unwrap();
    assert_eq!(reply.all("content-type"), ["text/event-stream"]);
    let event = b": here\n\ndata: {\"all\":true}\n\n";
    assert_eq!(events.exactly(event.len()).await, event);
    service.end_streams(false);
    wait::until("no stream is open", async || service.streams() == 0).await;
    assert_eq!(http1::fetch(service.address, "/events").await.status, 503);
}
