//! The second step of a server: the admin listener answers, and the keys are loaded.
//!
//! Takes the bound listeners and gives what the other parts are made of. Probes are answered during
//! the load, which takes seconds with many keys, and a signal to stop ends it at once.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tonic::service::Routes;

use super::super::admin::{Admin, CONNECTION_LIMIT, KeyFilesState};
use super::super::certificates::CertificateReloader;
use super::super::connections::Connections;
use super::super::drain;
use super::super::error::ServeError;
use super::super::key_files::KeyFiles;
use super::super::phase::{Lifecycle, PhaseWatch};
use super::super::prepared_key::PreparedKey;
use super::super::reload::shown;
use super::super::scrape::Scrapes;
use super::super::signals::Signals;
use super::super::socket::Listener;
use super::super::tasks::{ADMIN, Tasks};
use super::{Bound, FIRST, Launch};
use crate::authorizer::Authorizer;
use crate::authz::snapshot::Mode;
use crate::clock::Clock;
use crate::config::Config;
use crate::envoy::proto::FILE_DESCRIPTOR_SET;
use crate::keys::cache::KeyCache;
use crate::keys::source::KeySource;
use crate::observe::metrics::{Metrics, ReloadTarget, SourceMetrics};
use crate::watch::named_file::NamedFile;

/// The authorizer, once there is one: scrapes and `/readyz` are answered before.
type LateAuthorizer = Arc<OnceLock<Arc<Authorizer<PreparedKey>>>>;

/// A server whose keys are loaded and whose admin listener answers.
pub(super) struct Loaded {
    pub(super) launch: Launch,
    pub(super) certificates: Option<CertificateReloader>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) remote: Option<Arc<dyn KeySource>>,
    pub(super) grpc: Listener,
    pub(super) admin: Arc<Admin>,
    /// To be set for the admin listener.
    pub(super) late_authorizer: LateAuthorizer,
    pub(super) source: SourceMetrics,
    pub(super) lifecycle: Lifecycle,
    pub(super) tasks: Tasks,
    /// The gRPC services besides checks: health and reflection.
    pub(super) other_services: Routes,
    /// `None` if keys are looked up at a remote source.
    pub(super) key_files: Option<KeyFiles>,
}

impl Bound {
    /// Answers probes and loads the keys; `None` if a signal to stop came first.
    pub(super) async fn load(self, signals: &mut Signals) -> Result<Option<Loaded>, ServeError> {
        let (config, clock, metrics) = (&self.launch.config, &self.launch.clock, &self.metrics);
        metrics.set_observing(config.policy.mode == Mode::Observe);
        let source = metrics.source(config.source.kind())?;
        let (reporter, health) = tonic_health::server::health_reporter();
        let lifecycle = Lifecycle::new(reporter).await;
        let mut tasks = Tasks::default();
        let late_authorizer = LateAuthorizer::default();
        let phase = lifecycle.watch();
        let mut admin = admin_of(config, metrics, &late_authorizer, phase, clock);
        admin.certificates = self.certificates.as_ref().map(CertificateReloader::status);
        let admin = Arc::new(admin);
        let listener = metrics.listener("admin")?;
        let limit = CONNECTION_LIMIT;
        let connections = Connections::new("admin", limit, Arc::clone(clock), listener);
        let answering = Arc::clone(&admin).run(self.admin, connections, lifecycle.watch());
        tasks.spawn(ADMIN, answering);

        let key_files = match config.source.path() {
            Some(path) => match load_keys(path, config, clock, &mut tasks, signals).await? {
                Some(key_files) => Some(key_files),
                None => return Ok(None),
            },
            None => None,
        };
        metrics.reloads.loaded(ReloadTarget::Config, clock.now());
        metrics.reloads.loaded(ReloadTarget::Keys, clock.now());
        let keys = key_files.as_ref().map(KeyFiles::keys);
        let count = keys.map(|keys| keys.len());
        let (kind, place) = (config.source.kind(), config.source_place());
        tracing::info!(source = kind, place, keys = count, "keys");
        if let Some(keys) = keys {
            metrics.keys_changed(FIRST, keys.iter().map(|record| &**record), clock.now());
            source.set_up(true);
            admin.file.store(Arc::new(KeyFilesState {
                keys: keys.len(),
                failure: None,
            }));
        }
        Ok(Some(Loaded {
            launch: self.launch,
            certificates: self.certificates,
            metrics: self.metrics,
            remote: self.remote,
            grpc: self.grpc,
            admin,
            late_authorizer,
            source,
            lifecycle,
            tasks,
            other_services: reflection()?.add_service(health),
            key_files,
        }))
    }
}

/// Loads the keys on a thread that serves nothing; `None` if a signal to stop came first.
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

/// What the admin listener answers from. Its metrics measure the cache of the authorizer once there
/// is one.
pub(in crate::server) fn admin_of(
    config: &Config,
    metrics: &Arc<Metrics>,
    authorizer: &LateAuthorizer,
    phase: PhaseWatch,
    clock: &Arc<dyn Clock>,
) -> Admin {
    let (metrics, of_source) = (Arc::clone(metrics), Arc::clone(authorizer));
    let (authorizer, time) = (Arc::clone(authorizer), Arc::clone(clock));
    let render = move || {
        if let Some(authorizer) = authorizer.get() {
            let cache = authorizer.cache();
            cache.measure();
            // A remote source does not report that a key is gone, so its series end by idleness.
            if let KeyCache::Remote(_) = cache {
                metrics.forget_idle_keys(time.now());
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
        certificates: None,
        remote: Box::new(move || match of_source.get()?.cache() {
            KeyCache::File(_) => None,
            KeyCache::Remote(keys) => Some(keys.source_health()),
        }),
    }
}

/// The gRPC reflection service for clients such as grpcurl; older ones know v1alpha only.
fn reflection() -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}
