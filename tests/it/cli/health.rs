//! `health` is a probe: 0 if /readyz is 200, else 1 and the reason.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use super::Workdir;

/// Responds to one connection with these bytes, and returns what was sent.
fn answer_once(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && peer.read(&mut byte).unwrap() > 0 {
            asked.push(byte[0]);
        }
        peer.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    })
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn health_requests_readyz_and_reports_by_its_exit_code() {
    let workdir = Workdir::empty();
    for (answer, code, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 0, ""),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reason\": \"draining\"}",
            1,
            "is not ready: {\"reason\": \"draining\"}",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n", 1, "status 404"),
        ("SSH-2.0 200\r\n", 1, "HTTP/1.1"),
        ("", 1, "HTTP/1.1"),
    ] {
        let (listener, address) = listener();
        let asked = answer_once(listener, answer);
        let run = workdir.run(&["health", "--address", &address.to_string()]);
        assert_eq!(
            (run.code, &*run.stdout),
            (Some(code), ""),
            "{answer:?}: {run:?}"
        );
        assert!(run.stderr.contains(expected), "{answer:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), usize::from(code != 0));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /readyz HTTP/1.1\r\n"), "{asked}");
    }
}

#[test]
fn the_configuration_has_the_address_and_a_wildcard_means_loopback() {
    let (listener, address) = listener();
    let config = format!(
        "server: {{admin: {{address: \"0.0.0.0:{}\"}}}}\n",
        address.port()
    );
    let workdir = Workdir::new(&config, "keys: []\n");
    let asked = answer_once(listener, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(workdir.run(&["health"]).data(), "");
    assert!(asked.join().unwrap().contains(&address.to_string()));
}

#[test]
fn a_closed_port_is_a_failure_and_a_silent_peer_times_out() {
    let workdir = Workdir::new(
        "server: {admin: {address: \"127.0.0.1:0\"}}\n",
        "keys: []\n",
    );
    let (listener, address) = listener();
    let address = address.to_string();
    let silent = workdir.run(&["health", "--address", &address]).complaint(1);
    assert!(
        silent.contains(&address) && silent.contains("no answer"),
        "{silent}"
    );
    drop(listener);
    let absent = workdir.run(&["health", "--address", &address]).complaint(1);
    assert!(absent.contains(&address), "{absent}");
    let chosen_by_the_system = workdir.run(&["health"]).complaint(2);
    assert!(
        chosen_by_the_system.contains("--address"),
        "{chosen_by_the_system}"
    );
}
