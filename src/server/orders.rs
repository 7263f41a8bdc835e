//! What tells the server to stop or to reload: the process's signals, or in tests a channel.
//!
//! A test that raised real signals would stop every other test in its process, so the server is given a source of
//! orders and does not know which one it has.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(test)]
use tokio::sync::mpsc;

/// Something that the server is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Drain and end.
    Stop,
    /// The same, from somebody at a keyboard: given during the drain, it ends at once.
    Interrupt,
    /// Read configuration and keys anew.
    Reload,
}

/// Where orders come from.
#[derive(Debug)]
pub(crate) enum Orders {
    /// SIGTERM and SIGINT stop, SIGHUP reloads.
    Signals {
        /// SIGTERM.
        terminate: Signal,
        /// SIGINT.
        interrupt: Signal,
        /// SIGHUP.
        hangup: Signal,
    },
    /// A channel; once it is closed no order comes any more.
    #[cfg(test)]
    Channel(mpsc::Receiver<Order>),
}

impl Orders {
    /// Takes over the process's signals.
    pub(crate) fn from_signals() -> io::Result<Self> {
        Ok(Self::Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next order. May be dropped and called anew.
    pub(crate) async fn next(&mut self) -> Order {
        match self {
            Self::Signals {
                terminate,
                interrupt,
                hangup,
            } => tokio::select! {
                Some(()) = terminate.recv() => Order::Stop,
                Some(()) = interrupt.recv() => Order::Interrupt,
                Some(()) = hangup.recv() => Order::Reload,
            },
            #[cfg(test)]
            Self::Channel(orders) => match orders.recv().await {
                Some(order) => order,
                None => std::future::pending().await,
            },
        }
    }

    /// Waits for the next order to stop; others are passed over.
    pub(crate) async fn stop(&mut self) {
        while self.next().await == Order::Reload {}
    }

    /// Waits for an interrupt; others are passed over, for whoever sends SIGTERM twice wants the same thing twice.
    pub(crate) async fn interrupt(&mut self) {
        while self.next().await != Order::Interrupt {}
    }
}
