//! The third step of a server: its parts are made, connected, and started as tasks.

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
use super::super::reload::{LiveState, Reloader, Start};
use super::super::source::key_cache;
use super::super::tasks::{GRPC, LOG, RELOAD, SOURCE};
use super::load::Loaded;
use super::run::Running;
use super::{FIRST, Launch};
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
    pub(super) fn wire(self) -> Result<Running, ServeError> {
        let Self {
            launch:
                Launch {
                    config,
                    config_file,
                    log,
                    clock,
                },
            certificates,
            metrics,
            remote,
            grpc,
            admin,
            late_authorizer,
            source,
            lifecycle,
            mut tasks,
            other_services,
            key_files,
        } = self;
        let authorizer = Arc::new(Authorizer::new(
            Arc::new(Snapshot {
                generation: FIRST,
                policy: Arc::clone(&config.policy),
                keys: key_files.as_ref().map(KeyFiles::keys).cloned(),
            }),
            cache(&config, remote.as_ref(), &metrics, &clock)?,
            Arc::clone(&clock),
        ));
        _ = late_authorizer.set(Arc::clone(&authorizer));
        if remote.is_some() {
            let authorizer = Arc::clone(&authorizer);
            tasks.spawn(SOURCE, async move { authorizer.cache().run().await });
        }
        tasks.spawn(LOG, log_left_out(log.clone(), lifecycle.watch()));
        let connections = metrics.listener("grpc")?;
        let observer = Observer { metrics, log };
        let checks = AuthorizationService::new(
            Arc::clone(&authorizer),
            observe_with(observer.clone()),
            Arc::clone(&clock),
            config.server.grpc.max_message,
        );
        let tls = certificates.as_ref().map(CertificateReloader::tls);
        let server = GrpcServer::new(tls, checks, other_services, Arc::clone(&clock), connections);
        let open_connections = server.open();
        tasks.spawn(GRPC, server.run(grpc, lifecycle.watch()));

        let drain_times = DrainTimes {
            drain: config.server.drain,
            deadline: config.server.deadline,
        };
        let live = LiveState {
            authorizer,
            observer,
            source,
            admin,
        };
        let start = Start {
            config,
            config_file,
            key_files,
            certificates,
            generation: FIRST,
        };
        let (request_reload, requests) = mpsc::channel(1);
        let (phase, runtime, time) = (lifecycle.watch(), Handle::current(), Arc::clone(&clock));
        tasks.spawn_blocking(RELOAD, move || {
            Reloader::new(live, start, time).run(requests, phase, &runtime);
        });
        Ok(Running {
            lifecycle,
            tasks,
            open_connections,
            drain_times,
            request_reload,
            clock,
        })
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
