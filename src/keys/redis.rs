//! Keys from Redis or Valkey.
//!
//! Takes a digest, reads the id that its index entry holds and then the record of that id, and
//! gives what the record says. Changes come as pushes on connections of their own, so that a
//! revocation takes effect within milliseconds; `follow` keeps all connections, but lookups work
//! without it. A record stored under another key's name is refused as invalid.

use std::sync::Arc;
use std::time::Duration;

use super::invalidation::InvalidationLog;
use super::source::{
    KeySource, LookupFuture, PushSupport, SourceAnswer, SourceError, SourceFuture, probe_digest,
};
use crate::authz::digest::KeyDigest;
use crate::clock::Clock;
use crate::redis::RedisCredentialsError;
use crate::redis::client::RedisClient;
use crate::redis::error_text::PushError;
use crate::redis::role::ROLE_IS_REFUSED;
use crate::tls::CertificateStatus;

pub(crate) mod layout;
mod read;
mod settings;
mod tracking;

#[cfg(test)]
pub(crate) mod tests;

pub use settings::{PushMode, RedisSourceSettings};

use layout::Layout;
use read::Reader;
use tracking::{InvalidationListener, REFUSED_RETRY_INTERVAL};

/// Longest record that is read. A longer one is invalid, not a failure: a failure would be retried
/// at each request.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;

/// Keys from Redis or Valkey.
pub struct RedisSource {
    client: RedisClient,
    layout: Layout,
    timeout: Duration,
    push: PushMode,
    /// How often a server that refuses to push is asked again.
    refused_retry_interval: Duration,
    clock: Arc<dyn Clock>,
}

impl RedisSource {
    /// A source with these settings. Connects to nothing.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn new(
        settings: RedisSourceSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RedisCredentialsError> {
        Ok(Self {
            client: RedisClient::new(settings.redis, Arc::clone(&clock))?,
            layout: Layout::new(&settings.prefix),
            timeout: settings.timeout,
            push: settings.push,
            refused_retry_interval: REFUSED_RETRY_INTERVAL,
            clock,
        })
    }

    /// Tries the source once: connects, looks up the digest that no key has, and subscribes to
    /// changes for a moment. Gives warnings about a source that can be used.
    ///
    /// # Errors
    /// When it cannot be connected to, refuses lookups, or refuses to push although it must.
    async fn probe_once(&self) -> Result<Vec<String>, SourceError> {
        self.client
            .connect()
            .await
            .map_err(SourceError::Unreachable)?;
        self.look_up_in_time(&probe_digest()).await?;
        let mut warnings = Vec::new();
        if self.push != PushMode::Off {
            let log = InvalidationLog::new(self.name(), true, Arc::clone(&self.clock));
            let listener = self.listener(Arc::new(log));
            match listener.subscribe().await {
                Ok(_) => {}
                Err(PushError::Refused(why)) if self.push == PushMode::Auto => {
                    warnings.push(format!(
                        "source.redis: changes of keys are not pushed, so that a change is seen up to `cache.ttl` later: {why}"
                    ));
                }
                Err(PushError::Refused(why) | PushError::Failed(why)) => {
                    let why = format!("changes of keys would not be pushed: {why}");
                    return Err(SourceError::Failed(why.into()));
                }
            }
        }
        if self.client.connector().is_role_refused() {
            warnings.push(format!("source.redis: {ROLE_IS_REFUSED}"));
        }
        warnings.extend(self.client.connector().eviction_warnings().await);
        Ok(warnings)
    }

    fn listener(&self, log: Arc<InvalidationLog>) -> InvalidationListener<'_> {
        InvalidationListener {
            client: &self.client,
            layout: &self.layout,
            clock: &*self.clock,
            log,
            mode: self.push,
            refused_retry_interval: self.refused_retry_interval,
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            client: &self.client,
            layout: &self.layout,
        }
    }

    async fn look_up_in_time(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let before = self.client.progress();
        let looked_up = tokio::time::timeout(self.timeout, self.reader().look_up(digest)).await;
        looked_up.unwrap_or_else(|_| {
            if let Some(before) = before {
                self.client.discard_if_silent(before);
            }
            // It may have waited for an attempt to connect, whose failure says more.
            Err(self
                .client
                .connection_failure()
                .map_or(SourceError::Timeout, SourceError::Unreachable))
        })
    }
}

impl KeySource for RedisSource {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async { self.look_up_in_time(digest).await.map(Into::into) })
    }

    fn connect(&self) -> SourceFuture<'_, ()> {
        Box::pin(async { _ = self.client.connect().await })
    }

    fn probe(&self) -> SourceFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(self.probe_once())
    }

    fn push(&self) -> PushSupport {
        match self.push {
            PushMode::Auto | PushMode::Require => PushSupport::Enabled,
            PushMode::Off => PushSupport::Disabled,
        }
    }

    fn certificates(&self) -> Option<&CertificateStatus> {
        self.client.certificates()
    }

    fn follow(&self, log: Arc<InvalidationLog>) -> SourceFuture<'_, ()> {
        Box::pin(async move {
            let suspect = async {
                loop {
                    self.client.failure_noticed().await;
                    log.request_probe();
                }
            };
            let listen = async {
                match self.push {
                    PushMode::Auto | PushMode::Require => {
                        self.listener(log.clone()).listen().await;
                    }
                    PushMode::Off => {
                        log.request_probe();
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::join!(self.client.run(), listen, suspect);
        })
    }
}
