//! Outages: each is a failure that says what is wrong, and none is ever taken for "no such key".

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::rotation::nothing_pushed;
use super::server::{Raw, read_head};
use super::*;

/// What becomes of a connection behind what was written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Close,
    Reset,
    Hang,
}

/// Serves each connection that answer, for ever; counts them.
async fn serve_raw(raw: &Raw, answer: &[u8], then: Then, asked: &AtomicUsize) {
    let mut open: Vec<TcpStream> = Vec::new();
    loop {
        let (mut tcp, _) = raw.accept().await;
        asked.fetch_add(1, Ordering::SeqCst);
        // The client may have received enough before all is written.
        let _ = tcp.write_all(answer).await;
        match then {
            Then::Close => drop(tcp),
            Then::Reset => tcp.set_zero_linger().unwrap(),
            Then::Hang => open.push(tcp),
        }
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What a lookup of the digest meets, and how often it was tried.
async fn lookup(
    bytes: &[u8],
    then: Then,
    timeout: Duration,
) -> (Result<SourceReply, SourceError>, usize) {
    let raw = Raw::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, CANARY).unwrap();
    let source = source(HttpSettings {
        timeout,
        bearer_token_file: Some(token_file.into()),
        ..settings(&raw.url())
    });
    let asked = AtomicUsize::new(0);
    let digest = digest_of("a");
    let looked_up = tokio::select! {
        () = serve_raw(&raw, bytes, then, &asked) => unreachable!(),
        looked_up = source.lookup(&digest) => looked_up,
    };
    (looked_up, asked.load(Ordering::SeqCst))
}

/// A body that is too long, or says what can't be used, is an answer, and not a good one.
#[tokio::test]
async fn a_body_that_is_too_long_or_no_record_is_a_record_that_is_not_valid() {
    let huge = "x".repeat(10_000_000);
    let no_length = format!("HTTP/1.1 200 OK\r\n\r\n{huge}").into_bytes();
    let nested = |depth: usize| {
        let metadata = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        record().replacen('{', &format!("{{\"metadata\":{{\"deep\":{metadata}}},"), 1)
    };
    let twice = record().replacen("\"secrets\":[", &format!("\"secrets\":[{},", secret()), 1);
    let number = record().replacen('{', "{\"metadata\":{\"version\":1.10},", 1);
    let too_long = "it is longer than 262144 bytes";
    for (name, bytes, want) in [
        ("10 MB", answer("200 OK", &huge), too_long),
        ("10 MB without length", no_length, too_long),
        ("130 deep", answer("200 OK", &nested(130)), "not JSON"),
        ("10000 deep", answer("200 OK", &nested(10_000)), "not JSON"),
        ("a digest twice", answer("200 OK", &twice), "digest twice"),
        (
            "a number that would change",
            answer("200 OK", &number),
            "metadata.version: a number that would not arrive as written; quote it",
        ),
    ] {
        let (answered, asked) = lookup(&bytes, Then::Close, PATIENCE).await;
        let Ok(SourceAnswer::Invalid(invalid)) = answered.map(|reply| reply.answer) else {
            panic!("{name}");
        };
        assert!(invalid.problem.contains(want), "{name}: {invalid}");
        assert_eq!(asked, 1, "{name}");
    }
}

fn secret() -> String {
    format!("{{\"digest\":\"{}\"}}", digest_of("a"))
}

/// The failure must say that, name no secret, and be met so many times.
async fn check(name: &str, bytes: &[u8], then: Then, want: &str, tries: usize) {
    let (answered, asked) = lookup(bytes, then, PATIENCE).await;
    let Err(SourceError::Failed(text)) = answered else {
        panic!("{name}: {answered:?}");
    };
    assert!(text.contains(want), "{name}: {text}");
    assert_eq!(asked, tries, "{name}: {text}");
    let said = format!("{text} {:?}", SourceError::Failed(Arc::clone(&text)));
    for secret in [CANARY, "http:", "127.0.0.1", &digest_of("a").hex()] {
        assert!(!said.contains(secret), "{name}: {said}");
    }
}

fn record() -> String {
    record_for(&path_of(&digest_of("a"))).unwrap()
}

#[tokio::test]
async fn a_status_that_is_no_answer_is_a_failure_that_names_it() {
    for (head, want, tries) in [
        ("201 Created", "it answered 201 Created", 1),
        ("203 x", "it answered 203 Non", 1),
        ("204 x", "it answered 204 No Content", 1),
        ("206 x", "it answered 206 Partial Content", 1),
        ("301 x\r\nlocation: /x", "it answered 301 Moved", 1),
        ("302 x\r\nlocation: /x", "it answered 302 Found", 1),
        ("304 x", "it answered 304 Not Modified", 1),
        ("307 x\r\nlocation: /x", "it answered 307", 1),
        ("400 x", "it answered 400 Bad Request", 1),
        ("401 x", "it answered 401 Unauthorized", 1),
        ("403 x", "it answered 403 Forbidden", 1),
        ("410 x", "it answered 410 Gone", 1),
        ("429 x", "it answered 429 Too Many Requests", 1),
        ("500 canary-d41d8cd9", "it answered 500 Internal", 1),
        ("502 x", "it answered 502 Bad Gateway", 2),
        ("503 x\r\nretry-after: 9", "it answered 503 Service", 2),
        ("504 x", "it answered 504 Gateway Timeout", 2),
        ("599 x", "it answered 599", 1),
    ] {
        let bytes = match head.get(..3) {
            Some("204" | "304") => format!("HTTP/1.1 {head}\r\n\r\n").into_bytes(),
            _ => answer(head, &record()),
        };
        check(head, &bytes, Then::Close, want, tries).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_one_whole_json_value_is_a_failure() {
    let record = record();
    let cut = record.get(..record.len() - 1).unwrap();
    let ok = |body: &str| answer("200 OK", body);
    let no_length = |body: &str| format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes();
    let mut binary = ok("{....}");
    let len = binary.len();
    binary[len - 3] = 0xff;
    let not_json = "its answer is not one whole JSON value";
    for (name, bytes, want) in [
        ("HTML", ok("<html>canary-d41d8cd9</html>"), not_json),
        ("text", ok("not found"), not_json),
        ("truncated JSON", ok(cut), not_json),
        ("cut off, without length", no_length(cut), not_json),
        ("trailing data", ok(&format!("{record}x")), not_json),
        ("two values", ok(&format!("{record}\n{record}")), not_json),
        ("a mark", ok(&format!("\u{feff}{record}")), not_json),
        ("empty body", ok(""), not_json),
        ("not UTF-8", binary, "its answer is not UTF-8"),
    ] {
        check(name, &bytes, Then::Close, want, 1).await;
    }
}

#[tokio::test]
async fn an_encoded_body_is_a_failure_that_says_so() {
    for (name, header, want) in [
        (
            "compressed",
            "content-encoding: gzip",
            "its answer has a content-encoding other than identity, such as gzip",
        ),
        (
            "compressed on the way",
            "transfer-encoding: gzip, chunked",
            "its answer has a transfer-encoding other than chunked, such as gzip",
        ),
    ] {
        let body = "4\r\nnull\r\n0\r\n\r\n";
        let bytes = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n{body}");
        check(name, bytes.as_bytes(), Then::Close, want, 1).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_failure_and_tried_again_if_nothing_came() {
    let record = record();
    let length = format!("content-length: {}", record.len() + 1);
    let announced = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{record}");
    let chunked = "transfer-encoding: chunked";
    let chunk = format!("HTTP/1.1 200 OK\r\n{chunked}\r\n\r\nfff\r\n{record}");
    let closed = "connection closed before message completed";
    let broke_off = "its answer broke off";
    for (name, bytes, then, want, tries) in [
        ("closing", "", Then::Close, closed, 2),
        ("resetting", "", Then::Reset, "connection reset", 2),
        ("half a head", "HTTP/1.1 200 OK\r\n", Then::Close, closed, 2),
        (
            "no HTTP",
            "SSH-2.0-x\r\n\r\n",
            Then::Close,
            "invalid HTTP",
            1,
        ),
        ("closed in the body", &announced, Then::Close, broke_off, 1),
        ("reset in the body", &announced, Then::Reset, broke_off, 1),
        ("closed in a chunk", &chunk, Then::Close, broke_off, 1),
    ] {
        check(name, bytes.as_bytes(), then, want, tries).await;
    }
}

#[tokio::test]
async fn what_takes_too_long_is_a_timeout() {
    let slow = answer("200 OK", "{}");
    let head = slow.strip_suffix(b"{}").unwrap();
    for (name, bytes) in [
        ("hanging", &b""[..]),
        ("slow head", b"HTTP/1.1 200 OK\r\n"),
        ("slow body", head),
        ("slow half of a body", slow.strip_suffix(b"}").unwrap()),
    ] {
        let (answered, asked) = lookup(bytes, Then::Hang, Duration::from_millis(150)).await;
        assert_eq!(answered, Err(SourceError::Timeout), "{name}");
        assert_eq!(asked, 1, "{name}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_distinguished() {
    let gone = Raw::bind().await.url();
    for (base, want) in [
        (gone.as_str(), "no connection: connection refused"),
        ("http://keys.invalid", "no connection: dns error: "),
    ] {
        let answered = source(settings(base)).lookup(&digest_of("a")).await;
        let Err(SourceError::Unreachable(text)) = answered else {
            panic!("{base}: {answered:?}");
        };
        assert!(text.starts_with(want), "{base}: {text}");
        assert!(!text.contains("keys.invalid"), "{text}");
    }
}

#[tokio::test]
async fn a_transient_failure_is_retried() {
    let record = record();
    for (name, first) in [("503", answer("503 x", "")), ("closing", vec![])] {
        for (second, is_found) in [
            (answer("200 OK", &record), true),
            (answer("404 x", ""), false),
        ] {
            let raw = Raw::bind().await;
            let source = source(settings(&raw.url()));
            let served = async {
                for bytes in [&first, &second] {
                    let (mut tcp, _) = raw.accept().await;
                    tcp.write_all(bytes).await.unwrap();
                }
            };
            let digest = digest_of("a");
            let (answered, ()) = futures_util::future::join(source.lookup(&digest), served).await;
            match answered.unwrap().answer {
                SourceAnswer::Found(_) => assert!(is_found, "{name}"),
                SourceAnswer::NotFound => assert!(!is_found, "{name}"),
                SourceAnswer::Invalid(invalid) => panic!("{name}: {invalid}"),
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|_| {
        let mut response = reply(StatusCode::FOUND, "");
        let elsewhere = HeaderValue::from_static("/elsewhere");
        response.headers_mut().insert("location", elsewhere);
        response
    })
    .await;
    let answered = source(settings(&server.url()))
        .lookup(&digest_of("a"))
        .await;
    assert!(
        matches!(answered, Err(SourceError::Failed(_))),
        "{answered:?}"
    );
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_body_of_a_404_is_read_but_not_waited_for() {
    let raw = Raw::bind().await;
    let mut source = source(settings(&raw.url()));
    let digest = digest_of("a");
    let not_found = Ok(SourceReply::from(SourceAnswer::NotFound));
    let head = b"HTTP/1.1 404 x\r\ncontent-length: 4\r\n\r\n";

    let served = async {
        let (mut tcp, _) = raw.accept().await;
        tcp.write_all(head).await.unwrap();
        // So long that the head is read alone.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tcp.write_all(b"none").await.unwrap();
        tcp
    };
    let (answered, mut tcp) = futures_util::future::join(source.lookup(&digest), served).await;
    assert_eq!(answered, not_found);

    source.timing.skip_timeout = Duration::from_millis(1);
    let served = async {
        read_head(&mut tcp).await;
        tcp.write_all(head).await.unwrap();
    };
    let (answered, ()) = futures_util::future::join(source.lookup(&digest), served).await;
    assert_eq!(answered, not_found, "on the same connection, which hangs");
}

#[tokio::test]
async fn a_service_that_takes_longer_to_connect_to_than_a_lookup_may_is_reached() {
    let service = Raw::bind().await;
    let source = source(HttpSettings {
        timeout: Duration::from_millis(50),
        ..settings(&service.url())
    });
    followed(&source, nothing_pushed(), async {
        let digest = digest_of("a");
        let lookup = source.lookup(&digest);
        let (found, _) = futures_util::future::join(lookup, service.accept()).await;
        assert_eq!(found, Err(SourceError::Timeout));
        // What the source then begins by itself no lookup ends; the next uses its connection.
        let (mut first, _) = service.accept().await;
        first.write_all(&answer("404 Not Found", "")).await.unwrap();
        let serving = async {
            loop {
                read_head(&mut first).await;
                first.write_all(&answer("404 Not Found", "")).await.unwrap();
            }
        };
        let asking = until("an answer", async || source.lookup(&digest).await.is_ok());
        tokio::select! {
            () = serving => unreachable!("it serves for ever"),
            () = asking => {}
        }
    })
    .await;
}
