//! The signals that stop or reload the server: the process's own, or in tests a channel.
//!
//! A test that raised real signals would stop every other test in its process, so the server takes
//! its signals from this type and does not know which of the two is behind it.

use std::io;

use tokio::signal::unix;
#[cfg(test)]
use tokio::sync::mpsc;

/// What a signal asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM: drain and end.
    Terminate,
    /// SIGINT: the same; during the drain it ends the process at once.
    Interrupt,
    /// SIGHUP: read configuration, keys and certificates again.
    Reload,
}

/// Where signals come from.
#[derive(Debug)]
pub(crate) enum Signals {
    Process {
        terminate: unix::Signal,
        interrupt: unix::Signal,
        hangup: unix::Signal,
    },
    /// A channel; once it is closed no signal comes any more.
    #[cfg(test)]
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// Takes over the process's signals.
    pub(crate) fn of_process() -> io::Result<Self> {
        Ok(Self::Process {
            terminate: unix::signal(unix::SignalKind::terminate())?,
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
            hangup: unix::signal(unix::SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        match self {
            Self::Process {
                terminate,
                interrupt,
                hangup,
            } => tokio::select! {
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = hangup.recv() => Signal::Reload,
            },
            #[cfg(test)]
            Self::Channel(signals) => match signals.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }

    /// Waits for a signal that stops the server; reloads are ignored.
    pub(crate) async fn stop(&mut self) {
        while self.next().await == Signal::Reload {}
    }

    /// Waits for SIGINT. A second SIGTERM is ignored: some supervisors send it more than once.
    pub(crate) async fn interrupt(&mut self) {
        while self.next().await != Signal::Interrupt {}
    }
}
