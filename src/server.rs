//! The server: builds everything from a configuration, runs the tasks, reloads, and drains.
//!
//! The only module that constructs; every other one is given what it needs. `run` is
//! `keyward serve` and owns the runtime, the log and the signals. The steps of a start are in
//! `build`, following files is in `reload`, and the end is in `drain`.

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

/// The most threads that serve: a sidecar's share of a machine. With more, checks cost more for
/// being spread than they gain. Never more than cores: two threads on one core take turns of
/// milliseconds, and checks wait for that.
const MAX_WORKERS: usize = 4;
/// The most threads for blocking work: one follows the files, others read files or resolve names.
const MAX_BLOCKING_THREADS: usize = 4;

/// Serves with the configuration in that file until a signal stops the server.
///
/// SIGTERM and SIGINT drain. A SIGINT during the drain ends it at once, as a failure, because
/// checks may have been cut off. SIGHUP reloads. `format` becomes that of the configuration's log
/// once it is known, so that the caller can report an error in it.
///
/// # Errors
/// When the configuration or the keys cannot be used, an address cannot be listened on, or a part
/// of the server fails.
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
        // Only on a terminal, and not with NO_COLOR.
        colour: AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
    };
    let (log, _flush) = Log::start(config.log, console, Arc::clone(&clock), std::io::stderr());
    log.install().map_err(|_| ServeError::LogTaken)?;
    // Fails if there is one already, which will do.
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
    // A blocking task that is left reads files for a snapshot that will not be used.
    runtime.shutdown_background();
    log.log_all_left_out();
    ended
}

#[cfg(test)]
mod tests;
