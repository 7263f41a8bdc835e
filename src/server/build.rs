//! Builds a server from its configuration: bind, load, wire, run.
//!
//! The order matters. Listeners are bound first, so that a bad address is known at once and no
//! other process takes it. Then the admin listener answers probes while the keys are loaded, and
//! only with the keys are checks answered: until then connections wait in the listener's queue,
//! which to Envoy is a slow server and not an error.

mod load;
mod run;
mod wire;

use std::sync::Arc;

#[cfg(test)]
pub(super) use self::load::admin_of;
#[cfg(test)]
pub(super) use self::wire::cache;
use super::certificates::CertificateReloader;
use super::config_file::WatchedConfig;
use super::error::ServeError;
use super::reload::log_warnings;
use super::signals::Signals;
use super::socket::Listener;
use super::source::remote_source;
use crate::authz::snapshot::Generation;
use crate::clock::Clock;
use crate::config::{Config, ListenAddress};
use crate::keys::source::KeySource;
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;

/// What a server is started with.
pub(crate) struct Launch {
    pub(crate) config: Config,
    pub(crate) config_file: WatchedConfig,
    pub(crate) log: Log,
    /// The time; its monotonic side begins with the process.
    pub(crate) clock: Arc<dyn Clock>,
}
const FIRST: Generation = Generation(1);

/// A server whose listeners are bound, and that does not answer yet.
pub(crate) struct Bound {
    launch: Launch,
    certificates: Option<CertificateReloader>,
    metrics: Arc<Metrics>,
    remote: Option<Arc<dyn KeySource>>,
    grpc: Listener,
    admin: Listener,
}

impl Bound {
    /// Reads certificates and the files of a remote source, and binds both listeners.
    pub(crate) async fn new(launch: Launch) -> Result<Self, ServeError> {
        let config = &launch.config;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "keyward");
        tracing::info!(file = %launch.config_file.path().display(), "configuration");
        log_warnings(config);
        let metrics = Arc::new(Metrics::new(config.metrics_max_keys)?);
        let certificates = CertificateReloader::load(config, &metrics, &*launch.clock)?;
        let remote = remote_source(config, &launch.clock, Some(&metrics))?;
        let grpc = Listener::bind(&config.server.grpc.address).await?;
        let admin = Listener::bind(&ListenAddress::Tcp(config.server.admin)).await?;
        let bound = Self {
            launch,
            certificates,
            metrics,
            remote,
            grpc,
            admin,
        };
        let (grpc, admin) = bound.addresses();
        tracing::info!(grpc, admin, "listening");
        Ok(bound)
    }

    /// The addresses of the gRPC and the admin listener.
    pub(crate) fn addresses(&self) -> (String, String) {
        (self.grpc.address(), self.admin.address())
    }

    /// Loads the keys and serves until a signal has stopped the server.
    pub(crate) async fn serve(self, mut signals: Signals) -> Result<(), ServeError> {
        match self.load(&mut signals).await? {
            Some(loaded) => loaded.wire()?.run(signals).await,
            // A signal came before the keys: nothing has been answered yet.
            None => Ok(()),
        }
    }
}
