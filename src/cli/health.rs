//! `keyward health`: asks a running keyward's admin address for /readyz, for exec probes.
//!
//! One HTTP/1.1 request by hand over a blocking socket: a probe runs every few seconds and should cost next to nothing.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::command::Health;
use super::{Error, Outcome, load_config};

/// Longer than any healthy answer takes, shorter than Kubernetes' default probe timeout of one second.
const TIMEOUT: Duration = Duration::from_millis(900);

/// The status line and a body of /readyz fit many times over.
const ANSWER_MAX_BYTES: u64 = 16 * 1024;

/// Asks, and says on stderr why not where it is not ready.
pub(super) fn run(arguments: &Health) -> Result<Outcome, Error> {
    let address = match arguments.address {
        Some(address) => address,
        None => load_config(&arguments.config)?.server.admin,
    };
    let address = reachable(address);
    let answer = ask(address).map_err(|source| Error::Io {
        what: format!("ask {address} for /readyz"),
        source,
    })?;
    let status = answer.split_ascii_whitespace().nth(1);
    if status == Some("200") {
        return Ok(Outcome::Success);
    }
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .trim();
    Err(Error::NotReady {
        address,
        body: body.escape_debug().to_string(),
    })
}

/// A wildcard address is listened on, never asked: the loopback address stands in.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
}
