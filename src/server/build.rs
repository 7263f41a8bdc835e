//! Builds a server from its configuration and serves until it is told to stop.
//!
//! The order is the point: bind, so that a bad address is known at once and nobody else takes it; answer probes; load;
//! and only then answer checks. What connects meanwhile waits in the listener's queue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::service::Routes;

use super::admin::{self, Admin, KeyFilesState};
use super::connections::Connections;
use super::drain::{self, DrainTimes};
use super::error::ServeError;
use super::files::ConfigFile;
use super::grpc::GrpcServer;
use super::key_files::KeyFiles;
use super::phase::{Lifecycle, Phase, PhaseWatch};
use super::prepared_key::{PreparedKey, observe_with};
use super::reload::{LiveState, Reloader, Start, log_warnings, shown};
use super::rotation::Rotation;
use super::scrape::Scrapes;
use super::signals::{Signal, Signals};
use super::socket::Listener;
use super::source::{key_cache, remote_source};
use super::tasks::{ADMIN, GRPC, LOG, RELOAD, SOURCE, Tasks};
use super::tls::Tls;
use crate::authorizer::Authorizer;
use crate::authz::snapshot::{Generation, Mode, Snapshot};
use crate::clock::Clock;
use crate::config::{Config, ListenAddress};
use crate::envoy::proto::FILE_DESCRIPTOR_SET;
use crate::envoy::service::AuthorizationService;
use crate::keys::cache::{KeyCache, Prepare};
use crate::keys::source::KeySource;
use crate::observe::Observer;
use crate::observe::log::Log;
use crate::observe::metrics::{Metrics, ReloadTarget};
use crate::watch::WatchedFiles;
use crate::watch::named_file::NamedFile;

/// What a server is started with.
pub(crate) struct Launch {
    /// The configuration.
    pub(crate) config: Config,
    /// Its file.
    pub(crate) config_file: ConfigFile,
    /// The log.
    pub(crate) log: Log,
    /// The time; its monotonic side begins with the process.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The generation of the snapshot that a server begins with.
const FIRST: Generation = Generation(1);

/// A server whose listeners are bound and that has nothing to say yet.
pub(crate) struct Bound {
    launch: Launch,
    /// The certificates, and their files as they were looked at before.
    tls: Option<(Arc<Tls>, WatchedFiles)>,
    metrics: Arc<Metrics>,
    remote: Option<Arc<dyn KeySource>>,
    grpc: Listener,
    admin: Listener,
}

impl Bound {
    /// Reads certificates and a remote source's files, and binds both listeners.
    pub(crate) async fn new(launch: Launch) -> Result<Self, ServeError> {
        let config = &launch.config;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "keyward");
        tracing::info!(file = %launch.config_file.path().display(), "configuration");
        log_warnings(config);
        let tls = match &config.server.grpc.tls {
            None => None,
            Some(files) => {
                // Looked at before they are read, so that a change while they are is seen later.
                let followed = WatchedFiles::new(files.paths());
                Tls::of(config)?.map(|tls| (Arc::new(tls), followed))
            }
        };
        let metrics = Arc::new(Metrics::new(config.metrics_max_keys)?);
        let remote = remote_source(config, &launch.clock, Some(&metrics))?;
        let grpc = Listener::bind(&config.server.grpc.address).await?;
        let admin = Listener::bind(&ListenAddress::Tcp(config.server.admin)).await?;
        let bound = Self {
            launch,
            tls,
            metrics,
            remote,
            grpc,
            admin,
        };
        let (grpc, admin) = bound.addresses();
        tracing::info!(grpc, admin, "listening");
        Ok(bound)
    }

    /// Where it listens: gRPC, and admin.
    pub(crate) fn addresses(&self) -> (String, String) {
        (self.grpc.address(), self.admin.address())
    }

    /// Loads the keys and serves until an order to stop has been followed.
    pub(crate) async fn serve(self, mut signals: Signals) -> Result<(), ServeError> {
        let Self {
            launch:
                Launch {
                    config,
                    config_file,
                    log,
                    clock,
                },
            tls,
            metrics,
            remote,
            grpc,
            admin: admin_listener,
        } = self;
        metrics.set_observing(config.policy.mode == Mode::Observe);
        let source = metrics.source(config.source.kind())?;
        let (reporter, health) = tonic_health::server::health_reporter();
        let mut lifecycle = Lifecycle::new(reporter).await;
        let mut tasks = Tasks::default();
        let measured = Arc::new(OnceLock::new());
        let admin = Arc::new(admin_of(
            &config,
            &metrics,
            &measured,
            lifecycle.watch(),
            &clock,
        ));
        let connections = Connections::new(
            "admin",
            admin::CONNECTION_LIMIT,
            Arc::clone(&clock),
            metrics.listener("admin")?,
        );
        tasks.spawn(
            ADMIN,
            Arc::clone(&admin).run(admin_listener, connections, lifecycle.watch()),
        );

        let key_files = match config.source.path() {
            Some(path) => match load_keys(path, &config, &clock, &mut tasks, &mut signals).await? {
                Some(key_files) => Some(key_files),
                None => return Ok(()),
            },
            None => None,
        };
        let keys = key_files.as_ref().map(|files| Arc::clone(files.keys()));
        metrics.reloads.loaded(ReloadTarget::Config, clock.now());
        metrics.reloads.loaded(ReloadTarget::Keys, clock.now());
        tracing::info!(
            source = config.source.kind(),
            place = config.source_place(),
            keys = keys.as_ref().map(|keys| keys.len()),
            "keys"
        );
        if let Some(keys) = &keys {
            metrics.keys_changed(FIRST, keys.iter().map(|record| &**record), clock.now());
            source.set_up(true);
            admin.file.store(Arc::new(KeyFilesState {
                keys: keys.len(),
                failure: None,
            }));
        }

        let cache = cache(&config, remote.as_ref(), &metrics, &clock)?;
        let snapshot = Snapshot {
            generation: FIRST,
            policy: Arc::clone(&config.policy),
            keys,
        };
        let authorizer = Arc::new(Authorizer::new(
            Arc::new(snapshot),
            cache,
            Arc::clone(&clock),
        ));
        if remote.is_some() {
            let authorizer = Arc::clone(&authorizer);
            tasks.spawn(SOURCE, async move { authorizer.cache().run().await });
        }
        _ = measured.set(Arc::clone(&authorizer));
        tasks.spawn(
            LOG,
            log_suppressed_decisions(log.clone(), lifecycle.watch()),
        );
        let connections = metrics.listener("grpc")?;
        let observer = Observer { metrics, log };
        let observe = observe_with(observer.clone());
        let checks = AuthorizationService::new(
            Arc::clone(&authorizer),
            observe,
            Arc::clone(&clock),
            config.server.grpc.max_message,
        );
        let (tls, rotation) = rotating(tls, &observer.metrics, &admin, &*clock);
        let others = reflection()?.add_service(health);
        let server = GrpcServer::new(tls, checks, others, Arc::clone(&clock), connections);
        let open = server.open();
        tasks.spawn(GRPC, server.run(grpc, lifecycle.watch()));

        let times = DrainTimes {
            drain: config.server.drain,
            deadline: config.server.deadline,
        };
        let (request_reload, reload_requests) = mpsc::channel(1);
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
            rotation,
            generation: FIRST,
        };
        let (phase, runtime, since) = (lifecycle.watch(), Handle::current(), Arc::clone(&clock));
        tasks.spawn_blocking(RELOAD, move || {
            Reloader::new(live, start, clock).run(reload_requests, phase, &runtime);
        });

        lifecycle.enter(Phase::Ready).await;
        let ms = u64::try_from(since.monotonic().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(ms, "ready");
        loop {
            tokio::select! {
                ended = tasks.next_end() => return drain::failed(ended),
                signal = signals.next() => match signal {
                    Signal::Terminate | Signal::Interrupt => break,
                    // Full: one that has not begun yet will do.
                    Signal::Reload => _ = request_reload.try_send(()),
                },
            }
        }
        drain::drain(lifecycle, tasks, open, times, &mut signals).await
    }
}

/// Tells of the end of each limit of denied decisions, until the server is over.
async fn log_suppressed_decisions(log: Log, mut phase: PhaseWatch) {
    const EVERY: Duration = Duration::from_secs(1);
    while tokio::time::timeout(EVERY, phase.reached(Phase::Stopped))
        .await
        .is_err()
    {
        log.log_left_out();
    }
}

/// What makes handshakes, and what follows its files.
fn rotating(
    tls: Option<(Arc<Tls>, WatchedFiles)>,
    metrics: &Arc<Metrics>,
    admin: &Arc<Admin>,
    clock: &dyn Clock,
) -> (Option<Arc<Tls>>, Option<Rotation>) {
    let Some((tls, followed)) = tls else {
        return (None, None);
    };
    let (metrics, admin) = (metrics.certificates.clone(), Arc::clone(admin));
    let rotation = Rotation::new(Arc::clone(&tls), followed, metrics, admin, clock);
    (Some(tls), Some(rotation))
}

/// The admin listener's side of a server that is loading. Its metrics measure the cache of what is `measured`, once that
/// is there.
pub(super) fn admin_of(
    config: &Config,
    metrics: &Arc<Metrics>,
    measured: &Arc<OnceLock<Arc<Authorizer<PreparedKey>>>>,
    phase: PhaseWatch,
    clock: &Arc<dyn Clock>,
) -> Admin {
    let (metrics, of_source) = (Arc::clone(metrics), Arc::clone(measured));
    let (measured, now) = (Arc::clone(measured), Arc::clone(clock));
    let render = move || {
        if let Some(authorizer) = measured.get() {
            let cache = authorizer.cache();
            cache.measure();
            // Nobody tells when a key of a remote source is gone for good.
            if cache.source_health().is_some() {
                metrics.forget_idle_keys(now.now());
            }
        }
        metrics.render()
    };
    Admin {
        phase,
        metrics: Scrapes::new(Box::new(render), Arc::clone(clock)),
        config: ArcSwap::from_pointee(shown(config)),
        source: config.source.kind(),
        file: ArcSwap::default(),
        certificates: ArcSwapOption::empty(),
        remote: Box::new(move || of_source.get()?.cache().source_health()),
    }
}

/// Loads the keys on a thread that serves nobody; `None` if an order to stop came first.
async fn load_keys(
    path: &NamedFile,
    config: &Config,
    clock: &Arc<dyn Clock>,
    tasks: &mut Tasks,
    signals: &mut Signals,
) -> Result<Option<KeyFiles>, ServeError> {
    let (path, policy) = (path.clone(), Arc::clone(&config.policy));
    let now = clock.monotonic();
    let loading = tokio::task::spawn_blocking(move || KeyFiles::load(path, &policy, now));
    let loaded = tokio::select! {
        loaded = loading => loaded,
        ended = tasks.next_end() => return drain::failed(ended).map(|()| None),
        () = signals.stop() => return Ok(None),
    };
    let Ok(key_files) = loaded else {
        return Err(ServeError::TaskEnded {
            task: "load",
            panicked: true,
        });
    };
    Ok(Some(key_files?))
}

/// The cache in front of the keys.
pub(super) fn cache(
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

/// What tells clients such as grpcurl which calls there are; older ones know v1alpha only.
fn reflection() -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}
