//! The third step of a server: its parts are made, connected, and started as tasks.
//!
//! Takes the loaded keys and gives a server that runs. Each part is given what it needs here and
//! reads no global; the tasks are in one set, so that none outlives the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::super::certificates::CertificateReloader;
use super::super::drain::DrainTimes;
use super::super::error::ServeError;
use super::super::grpc::GrpcServer;
use super::super::key_files::KeyFiles;
use super::super::phase::{Phase, PhaseWatch};
use super::super::prepared_key::{PreparedKey, observe_with};
use super::super::reload::{LiveState, ReloadInputs, Reloader};
use super::super::source::key_cache;
use super::super::tasks::{GRPC, LOG, RELOAD, SOURCE};
use super::FIRST;
use super::load::Loaded;
use super::run::Running;
use crate::authorizer::Authorizer;
use crate::authz::snapshot::Snapshot;
use crate::clock::Clock;
use crate::config::Config;
use crate::envoy::service::AuthorizationService;
use crate::keys::cache::{KeyCache, Prepare};
use crate::keys::source::KeySource;
use crate::observe::Observer;
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;

impl Loaded {
    /// Makes the authorizer and what serves it, and starts the tasks.
    pub(super) fn wire(mut self) -> Result<Running, ServeError> {
        let authorizer = self.authorizer()?;
        let observer = Observer {
            metrics: self.metrics,
            log: self.launch.log,
        };
        let (config, clock, tasks) = (self.launch.config, self.launch.clock, &mut self.tasks);
        let checks = AuthorizationService::new(
            Arc::clone(&authorizer),
            observe_with(observer.clone()),
            Arc::clone(&clock),
            config.server.grpc.max_message,
        );
        let tls = self.certificates.as_ref().map(CertificateReloader::tls);
        let (others, metrics) = (self.other_services, observer.metrics.listener("grpc")?);
        let server = GrpcServer::new(tls, checks, others, Arc::clone(&clock), metrics);
        let open_connections = server.open();
        tasks.spawn(GRPC, server.run(self.grpc, self.lifecycle.watch()));
        tasks.spawn(
            LOG,
            log_left_out(observer.log.clone(), self.lifecycle.watch()),
        );

        let drain_times = DrainTimes {
            drain: config.server.drain,
            deadline: config.server.deadline,
        };
        let live = LiveState {
            authorizer,
            observer,
            source: self.source,
            admin: self.admin,
        };
        let start = ReloadInputs {
            config,
            config_file: self.launch.config_file,
            key_files: self.key_files,
            certificates: self.certificates,
            generation: FIRST,
        };
        let (request_reload, requests) = mpsc::channel(1);
        let (phase, runtime) = (self.lifecycle.watch(), Handle::current());
        let time = Arc::clone(&clock);
        tasks.spawn_blocking(RELOAD, move || {
            Reloader::new(live, start, time).run(requests, phase, &runtime);
        });
        Ok(Running {
            lifecycle: self.lifecycle,
            tasks: self.tasks,
            open_connections,
            drain_times,
            request_reload,
            clock,
        })
    }

    /// Makes the authorizer, and starts what keeps the keys of a remote source up to date.
    fn authorizer(&mut self) -> Result<Arc<Authorizer<PreparedKey>>, ServeError> {
        let (config, clock) = (&self.launch.config, &self.launch.clock);
        let snapshot = Snapshot {
            generation: FIRST,
            policy: Arc::clone(&config.policy),
            keys: self.key_files.as_ref().map(KeyFiles::keys).cloned(),
        };
        let cache = cache(config, self.remote.as_ref(), &self.metrics, clock)?;
        let authorizer = Authorizer::new(Arc::new(snapshot), cache, Arc::clone(clock));
        let authorizer = Arc::new(authorizer);
        _ = self.late_authorizer.set(Arc::clone(&authorizer));
        if self.remote.is_some() {
            let authorizer = Arc::clone(&authorizer);
            self.tasks.spawn(SOURCE, async move {
                if let KeyCache::Remote(keys) = authorizer.cache() {
                    keys.run().await;
                }
            });
        }
        Ok(authorizer)
    }
}

/// The cache in front of the keys.
pub(in crate::server) fn cache(
    config: &Config,
    remote: Option<&Arc<dyn KeySource>>,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> Result<KeyCache<PreparedKey>, prometheus::Error> {
    let series = Arc::clone(metrics);
    let prepare: Prepare<_> =
        Box::new(move |record, snapshot| PreparedKey::new(record, snapshot, &series));
    key_cache(config, remote, clock, Some(metrics), prepare)
}

/// Logs every second how many denied decisions left no line, until the server has stopped.
async fn log_left_out(log: Log, mut phase: PhaseWatch) {
    const INTERVAL: Duration = Duration::from_secs(1);
    while tokio::time::timeout(INTERVAL, phase.reached(Phase::Stopped))
        .await
        .is_err()
    {
        log.log_left_out();
    }
}
