//! The server: builds everything from a configuration, binds before it is ready, runs the tasks, drains.
//!
//! The only place that constructs: every other room is given what it needs. `run` is `keyward serve`; it owns the
//! runtime, the log and the signals. What it serves ends in order: first everyone is told, then nobody new is taken in,
//! then what is in flight finishes, and at the deadline whatever is left is cut off.

mod accept;
mod admin;
mod bodies;
mod build;
mod certificates;
mod config_file;
mod connections;
mod drain;
mod error;
mod grpc;
mod key_files;
mod phase;
mod prepared_key;
mod reload;
mod scrape;
mod signals;
mod socket;
mod source;
mod tasks;

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anstream::{AutoStream, ColorChoice};

pub use self::certificates::check_certificates;
pub use self::config_file::EnvironmentFn;
pub use self::error::ServeError;
pub use self::socket::BindError;
pub use self::source::{key_cache, remote_source};

use self::build::{Bound, Launch};
use self::config_file::WatchedConfig;
use self::signals::Signals;
use crate::clock::{Clock, SystemClock};
use crate::observe::log::{Console, Log, LogFormat};

/// Threads that serve, at most: a sidecar's share of a machine. Beyond a few, checks cost more for being spread than they
/// gain. Never more than there are cores: two on one take turns of milliseconds, which checks wait for.
const MAX_WORKERS: usize = 4;
/// Threads for what blocks: one follows the files, one loads or looks a name up meanwhile.
const MAX_BLOCKING_THREADS: usize = 4;

/// Serves as the configuration in that file says until a signal stops it.
///
/// SIGTERM and SIGINT drain; a SIGINT during the drain ends it at once, as a failure, for checks may have been cut off.
/// SIGHUP reloads.
///
/// `format` becomes that of the configuration's log once that is known, so that whoever tells of an error can tell it likewise.
///
/// # Errors
/// When the configuration or the keys cannot be used, an address cannot be listened on, or a part of the server fails.
pub fn run(
    config_file: &Path,
    env: EnvironmentFn,
    format: &mut LogFormat,
) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut config_file = WatchedConfig::new(config_file, env);
    let config = config_file.load(&*clock)?;
    *format = config.log.format;

    let console = Console {
        is_terminal: std::io::stderr().is_terminal(),
        // Only on a terminal, and never with NO_COLOR.
        colour: AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
    };
    let (log, _flush) = Log::start(config.log, console, Arc::clone(&clock), std::io::stderr());
    log.install().map_err(|_| ServeError::LogTaken)?;
    // Fails where there is one already, which is as good.
    _ = rustls::crypto::ring::default_provider().install_default();

    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MAX_WORKERS))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_name("keyward")
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let ended = runtime.block_on(async {
        let signals = Signals::of_process().map_err(ServeError::Start)?;
        Bound::new(Launch {
            config,
            config_file,
            log: log.clone(),
            clock,
        })
        .await?
        .serve(signals)
        .await
    });
    // What still blocks is reading files for a snapshot that nobody will use.
    runtime.shutdown_background();
    log.log_all_left_out();
    ended
}

#[cfg(test)]
mod tests;
