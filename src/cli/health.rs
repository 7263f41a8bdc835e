//! `keyward health`: asks a running keyward's admin address for /readyz, for exec probes.
//!
//! One HTTP/1.1 request, written by hand to a blocking socket: a probe runs every few seconds and
//! must cost next to nothing.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::command::Health;
use super::{Error, Outcome, load_config};
use crate::clock::{Clock, SystemClock};

/// The timeout in all: longer than a healthy response, shorter than Kubernetes' default probe
/// timeout of one second.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Many times the length of a response of /readyz.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Characters of the body that are shown: the reason and the state of the source.
const SHOWN_CHARS: usize = 500;

/// Asks, and fails if it is not ready.
pub(super) fn run(arguments: &Health) -> Result<Outcome, Error> {
    let address = match arguments.address {
        Some(address) => address,
        None => load_config(&arguments.config)?.server.admin,
    };
    if address.port() == 0 {
        return Err(Error::Usage(
            "port 0 lets the system choose the port; give --address with the one in keyward's log"
                .to_owned(),
        ));
    }
    let address = reachable(address);
    let answer = ask(address).map_err(|source| Error::Io {
        what: format!("ask {address} for /readyz"),
        source,
    })?;
    match status(&answer) {
        Some("200") => Ok(Outcome::Success),
        Some("503") => Err(Error::NotReady {
            address,
            body: shown(&answer),
        }),
        Some(other) => Err(Error::Failed(format!(
            "{address} answers /readyz with status {other}: that is not keyward's admin address"
        ))),
        None => Err(Error::Failed(format!(
            "{address} does not answer with HTTP/1.1: that is not keyward's admin address"
        ))),
    }
}

/// The status of an HTTP/1 response (RFC 9112 section 4).
fn status(answer: &str) -> Option<&str> {
    let mut parts = answer.lines().next()?.split(' ');
    parts
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    parts.next()
}

/// The body on one line, without control characters.
fn shown(answer: &str) -> String {
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .trim();
    let visible = body.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(SHOWN_CHARS).collect()
}

/// The address to connect to for an address to listen on: loopback in place of a wildcard.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let clock = SystemClock::new();
    let end = clock.monotonic().saturating_add(TIMEOUT);
    let left = || {
        let left = end.saturating_sub(clock.monotonic());
        // Zero would mean no timeout.
        left.max(Duration::from_millis(1))
    };
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_write_timeout(Some(left()))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < MAX_ANSWER_BYTES && clock.monotonic() < end {
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => break,
            // A reset after the response does no harm.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    if answer.is_empty() && clock.monotonic() >= end {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} ms", TIMEOUT.as_millis()),
        ));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether it is a read timeout, whose error differs among systems.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_is_asked_at_loopback() {
        for (listened, asked) in [
            ("0.0.0.0:9192", "127.0.0.1:9192"),
            ("[::]:9192", "[::1]:9192"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(reachable(listened.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn only_an_http_1_status_line_has_a_status() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some("200")),
            ("HTTP/1.0 503\r\n\r\n", Some("503")),
            ("SSH-2.0 200 OK\r\n", None),
            ("HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(status(answer), expected, "{answer:?}");
        }
    }
}
