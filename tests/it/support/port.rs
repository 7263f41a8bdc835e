//! Ports that stay reserved for a test while nothing listens on them, so that a stopped server can
//! return to its address. Below the range from which the system assigns ports, and locked among
//! tests by a file.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The number of ports tried in this process.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1, reserved until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    pub fn reserve() -> Self {
        let locks = std::env::temp_dir().join("keyward-test-ports");
        std::fs::create_dir_all(&locks).unwrap();
        // Processes begin at different ports, so that they rarely collide.
        let start = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap();
        for _ in 0..COUNT {
            let tried = TRIED.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (start + tried % COUNT) % COUNT;
            let lock = File::create(locks.join(number.to_string())).unwrap();
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no port is free");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.number))
    }
}
