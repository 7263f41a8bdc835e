//! Accepting connections, past every error.
//!
//! Linux reports errors of a single connection from `accept`, and being out of file descriptors; neither may end the
//! loop (RUSTSEC-2024-0376 was that).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::socket::{Listener, Socket};

/// The first pause after an error that is not a single connection's.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// The longest: file descriptors come free when connections end, and nobody should wait much longer than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The next connection, and who made it where that is known. May be dropped and called anew.
pub(crate) async fn accept(listener: &Listener) -> (Socket, Option<SocketAddr>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(%error, "connections cannot be accepted, trying again");
                }
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        for (number, passed_over) in [(ECONNABORTED, true), (EMFILE, false)] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_of_one_connection(&error), passed_over, "{error}");
        }
    }
}
