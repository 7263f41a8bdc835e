//! Keys from Redis or Valkey: one server, a cluster, or a master that sentinels know.
//!
//! Takes a digest, reads the id that its index entry holds and then the record of that id, and gives what the record
//! says. Changes are heard of on connections of their own, so that a revocation is known in milliseconds; `follow` keeps all
//! connections and notices rotated passwords, but lookups work without it. A record says whose it is: one that lies under
//! another key's name is not believed.

use std::sync::Arc;
use std::time::Duration;

use super::invalidation::{InvalidationLog, InvalidationSink};
use super::source::{
    KeySource, LookupFuture, Push, SourceAnswer, SourceError, SourceFuture, probe_digest,
};
use crate::authz::digest::KeyDigest;
use crate::clock::Clock;
use crate::observe::metrics::CertificateMetrics;
use crate::tls::{CertificateState, CertificateStatus};
use crate::watch::{ReadResult, SETTLE_TIME, WatchedFiles};

mod dial;
mod eviction;
mod fault;
mod files;
mod layout;
mod link;
mod listen;
mod read;
mod role;
pub mod settings;
mod store;

#[cfg(test)]
mod tests;

pub use files::RedisSourceError;
pub use settings::{InvalidRedisUrl, PushMode, RedisServers, RedisSettings, RedisUrl};
pub use store::{RedisKeys, RedisKeysError, StoredKey};

use dial::Dialer;
use fault::{NoPushes, Reason};
use files::{Files, Material};
use layout::Layout;
use link::Link;
use listen::{ASK_AGAIN_EVERY, Listener};
use read::Reader;
use role::ROLE_IS_REFUSED;

/// A record may have so many bytes. A longer one is not valid: an operator's mistake, that would be read again and again if it
/// were taken for a failure.
pub const RECORD_MAX_BYTES: usize = 256 * 1024;

/// Keys from Redis or Valkey.
pub struct RedisSource {
    link: Link,
    dialer: Arc<Dialer>,
    layout: Layout,
    timeout: Duration,
    push: PushMode,
    /// How often a server that refuses to push is asked again.
    ask_again_every: Duration,
    clock: Arc<dyn Clock>,
    files: WatchedFiles,
    /// What is told of the files of TLS; `None` where there are none.
    certificates: Option<CertificateStatus>,
}

impl RedisSource {
    /// A source with these settings. Connects to nothing.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Result<Self, RedisSourceError> {
        // Looked at before they are read, so that a change while they are is seen later.
        let followed = WatchedFiles::polled(files::paths(&settings));
        let (files, certificates) = Files::prove(&settings)?;
        let (layout, timeout) = (Layout::new(&settings.prefix), settings.timeout);
        let push = settings.push;
        let dialer = Arc::new(Dialer::new(settings, files));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer), Arc::clone(&clock)),
            dialer,
            layout,
            timeout,
            push,
            ask_again_every: ASK_AGAIN_EVERY,
            clock,
            files: followed,
            certificates,
        })
    }

    /// Has the certificates shown in metrics, if there are some.
    #[must_use]
    pub fn count_certificates_by(mut self, metrics: Option<CertificateMetrics>) -> Self {
        if let (Some(certificates), Some(metrics)) = (&mut self.certificates, metrics) {
            certificates.count_by(metrics, self.clock.now());
        }
        self
    }

    /// Tries the source once: connects, in its own time, looks up what nobody has, and has changes pushed for a moment. Gives what an
    /// operator should know of a source that can be used.
    ///
    /// # Errors
    /// When it cannot be connected to, does not let us read, or does not push although it must.
    async fn try_once(&self) -> Result<Vec<String>, SourceError> {
        self.link
            .connect()
            .await
            .map_err(SourceError::Unreachable)?;
        self.look_up_in_time(&probe_digest()).await?;
        let mut warnings = Vec::new();
        if self.push != PushMode::Off {
            let log = InvalidationLog::new(true, Arc::clone(&self.clock));
            let listener = self.listener(InvalidationSink::new(Arc::new(log), self.name(), None));
            match listener.arm().await {
                Ok(_) => {}
                Err(NoPushes::Refused(why)) if self.push == PushMode::Auto => {
                    warnings.push(format!(
                        "source.redis: changes of keys are not pushed, so that a change is seen up to `cache.ttl` later: {why}"
                    ));
                }
                Err(NoPushes::Refused(why) | NoPushes::Failed(why)) => {
                    let why = format!("changes of keys would not be heard: {why}");
                    return Err(SourceError::Failed(why.into()));
                }
            }
        }
        if self.dialer.is_role_refused() {
            warnings.push(format!("source.redis: {ROLE_IS_REFUSED}"));
        }
        warnings.extend(self.dialer.evictions().await);
        Ok(warnings)
    }

    fn listener(&self, sink: InvalidationSink) -> Listener<'_> {
        Listener {
            dialer: &self.dialer,
            link: &self.link,
            layout: &self.layout,
            clock: &*self.clock,
            sink,
            mode: self.push,
            ask_again_every: self.ask_again_every,
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            link: &self.link,
            layout: &self.layout,
        }
    }

    async fn look_up_in_time(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let before = self.link.glimpse();
        let looked_up = tokio::time::timeout(self.timeout, self.reader().look_up(digest)).await;
        looked_up.unwrap_or_else(|_| {
            if let Some(before) = before {
                self.link.suspect(before);
            }
            // It may have waited for another attempt to connect to a server that answers none.
            Err(self
                .link
                .down()
                .map_or(SourceError::Timeout, SourceError::Unreachable))
        })
    }

    /// Makes the connection anew when the files hold something else than it was made with.
    async fn follow_files(&self) {
        let mut files = self.files.clone();
        loop {
            files.due(SETTLE_TIME, &*self.clock).await;
            let loaded = self.dialer.files().load_anew().await;
            let now = self.clock.monotonic();
            let mark = loaded.as_ref().ok().map(|material| material.mark);
            // What the server makes of it is no reason to read it again, nor to offer a wrong password every second.
            if files.was_read(mark, now) == ReadResult::Changing {
                continue;
            }
            let material = match loaded {
                Ok(material) => material,
                Err(unusable) => {
                    if files.should_report(&unusable.why, now) {
                        refused(&unusable.why);
                        if let Some(certificates) = &self.certificates
                            && unusable.of_certificates
                        {
                            certificates.is_refused(&unusable.why);
                        }
                    }
                    continue;
                }
            };
            files.clear_problem();
            // New connections are made with them from now on, whatever becomes of the one that there is.
            if let Some(certificates) = &self.certificates {
                certificates.is_used(material.certificates, self.clock.now());
            }
            match self.use_material(&material).await {
                Ok(true) => tracing::info!(
                    source = "redis",
                    "password or certificates changed and are in use"
                ),
                Ok(false) => {}
                Err(why) => refused(&why),
            }
        }
    }

    /// Whether another connection was needed.
    async fn use_material(&self, material: &Material) -> Result<bool, Reason> {
        if !self.link.was_made_without(material.mark) {
            return Ok(false);
        }
        self.link.renew().await.map(|_| true)
    }
}

fn refused(why: &str) {
    tracing::error!(
        source = "redis",
        why,
        "password or certificates changed and cannot be used; the connection stays"
    );
}

impl KeySource for RedisSource {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async { self.look_up_in_time(digest).await.map(Into::into) })
    }

    fn connect(&self) -> SourceFuture<'_, ()> {
        Box::pin(async { _ = self.link.connect().await })
    }

    fn probe(&self) -> SourceFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(self.try_once())
    }

    fn push(&self) -> Push {
        match self.push {
            PushMode::Auto | PushMode::Require => Push::Asked,
            PushMode::Off => Push::Off,
        }
    }

    fn certificates(&self) -> Option<Arc<CertificateState>> {
        self.certificates.as_ref().map(CertificateStatus::state)
    }

    fn follow(&self, sink: InvalidationSink) -> SourceFuture<'_, ()> {
        Box::pin(async move {
            let suspect = async {
                loop {
                    self.link.trouble().await;
                    sink.suspect_source();
                }
            };
            let listen = async {
                match self.push {
                    PushMode::Auto | PushMode::Require => {
                        self.listener(sink.clone()).listen().await;
                    }
                    PushMode::Off => {
                        sink.suspect_source();
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::join!(self.link.keep(), listen, suspect, self.follow_files());
        })
    }
}
