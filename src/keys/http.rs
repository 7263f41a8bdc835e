//! Keys from an HTTP service: a `GET` with the digest in the URL, a record or 404 in the answer.
//!
//! Takes a digest and gives the service's answer, or why there is none: only a 404 means that no
//! key has it. While `follow` runs, changed files of its token and certificates are read again, and
//! changes of keys are received as server-sent events where the service offers them. It caches
//! nothing.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::sync::Notify;

use super::invalidation::InvalidationLog;
use super::source::{
    KeySource, LookupFuture, PushSupport, SourceAnswer, SourceError, SourceFuture, SourceReply,
    probe_digest,
};
use crate::authz::digest::KeyDigest;
use crate::backoff::jitter;
use crate::clock::Clock;
use crate::http::failure::{Failure, FailureKind};
use crate::http::{encoding, freshness};
use crate::tls::CertificateStatus;
use crate::watch::WatchedFiles;
use crate::watch::named_file::NamedFile;
use client::Clients;
use timing::{MAX_RETRY_DELAY, Timing};

mod body;
mod client;
mod credentials;
mod events;
pub mod settings;
mod timing;

#[cfg(test)]
mod tests;

pub use credentials::HttpSourceError;
pub use settings::{EventsUrl, HttpSettings, InvalidUrl, UrlTemplate};

/// An HTTP service that is asked for keys.
pub struct HttpSource {
    settings: Arc<HttpSettings>,
    clock: Arc<dyn Clock>,
    timing: Timing,
    /// Swapped when its file changes.
    token: ArcSwap<Option<HeaderValue>>,
    /// Swapped when a file of TLS changes; requests in flight end with those that they began with.
    clients: ArcSwap<Clients>,
    token_file: WatchedFiles,
    tls_files: WatchedFiles,
    certificates: Option<CertificateStatus>,
    /// A lookup was not answered in time: the connection that it was opening was dropped.
    lookup_timed_out: Notify,
}

struct Answered {
    reply: SourceReply,
    /// The response, if its body was not read.
    unread: Option<Response>,
}

impl HttpSource {
    /// A source with these settings. Reads the files that they name, and connects to nothing.
    /// Blocks.
    ///
    /// # Errors
    /// When a file cannot be used, or when there are no certificate authorities for https.
    pub fn new(settings: HttpSettings, clock: Arc<dyn Clock>) -> Result<Self, HttpSourceError> {
        // Before they are read, so that a change during the read is seen later.
        let token_file = settings
            .bearer_token_file
            .iter()
            .map(NamedFile::as_path_buf);
        let mut token_file = WatchedFiles::polled(token_file);
        let mut tls_files = WatchedFiles::polled(settings.tls.paths());
        let (token, token_mark) = credentials::read_token(&settings)?;
        let (clients, tls_mark) = Clients::new(&settings)?;
        let certificates = settings.tls.status(client::TLS, clients.certificates);
        token_file.note_read(Some(token_mark), clock.monotonic());
        tls_files.note_read(Some(tls_mark), clock.monotonic());
        Ok(Self {
            settings: Arc::new(settings),
            clock,
            timing: Timing::default(),
            token: ArcSwap::from_pointee(token),
            clients: ArcSwap::from_pointee(clients),
            token_file,
            tls_files,
            certificates,
            lookup_timed_out: Notify::new(),
        })
    }

    /// Connects when lookups time out: where connecting takes longer than a lookup may, lookups
    /// alone would never get a connection. Never ends.
    async fn connect_after_timeouts(&self) {
        loop {
            self.lookup_timed_out.notified().await;
            self.connect().await;
        }
    }

    /// Asks, and once more after a transient failure.
    async fn ask(&self, digest: &KeyDigest) -> Result<Answered, Failure> {
        match self.ask_once(digest).await {
            Err(failure) if failure.is_transient => {
                tokio::time::sleep(jitter(MAX_RETRY_DELAY)).await;
                self.ask_once(digest).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&self, digest: &KeyDigest) -> Result<Answered, Failure> {
        let url = self.settings.url.url(digest);
        let client = self.clients.load_full();
        let request = client.lookups.get(url).header(ACCEPT, "application/json");
        let request = request.header(ACCEPT_ENCODING, encoding::IDENTITY);
        let response = self.authorized(request).send().await?;
        let max_age = freshness::max_age(response.headers());
        let (answer, unread) = match response.status() {
            StatusCode::OK => (body::record(response, digest).await?, None),
            StatusCode::NOT_FOUND => (SourceAnswer::NotFound, Some(response)),
            status => return Err(Failure::of_status(status)),
        };
        let reply = SourceReply { answer, max_age };
        Ok(Answered { reply, unread })
    }

    /// Reads the rest of the response for a moment, so that its connection can be used again.
    async fn finish(&self, answered: Answered) -> SourceReply {
        if let Some(unread) = answered.unread {
            body::skip(unread, self.timing.skip_timeout).await;
        }
        answered.reply
    }

    /// The request with the bearer token (RFC 6750 section 2.1), if there is one.
    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &**self.token.load() {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }
}

impl KeySource for HttpSource {
    fn name(&self) -> &'static str {
        "http"
    }

    fn lookup<'a>(&'a self, digest: &'a KeyDigest) -> LookupFuture<'a> {
        Box::pin(async {
            let asking = tokio::time::timeout(self.settings.timeout, self.ask(digest));
            let answered = asking.await.map_err(|_| {
                self.lookup_timed_out.notify_one();
                SourceError::Timeout
            })??;
            Ok(self.finish(answered).await)
        })
    }

    fn connect(&self) -> SourceFuture<'_, ()> {
        Box::pin(async {
            let digest = probe_digest();
            let asking = tokio::time::timeout(self.timing.connect_timeout, self.ask_once(&digest));
            if let Ok(Ok(answered)) = asking.await {
                self.finish(answered).await;
            }
        })
    }

    fn probe(&self) -> SourceFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(async {
            self.connect().await;
            self.lookup(&probe_digest()).await?;
            if let Some(url) = &self.settings.events_url {
                events::open(self, url).await.map_err(|why| {
                    SourceError::Failed(
                        format!("changes of keys would not be pushed: {why}").into(),
                    )
                })?;
            }
            Ok(Vec::new())
        })
    }

    fn push(&self) -> PushSupport {
        match self.settings.events_url {
            Some(_) => PushSupport::Enabled,
            None => PushSupport::None,
        }
    }

    fn certificates(&self) -> Option<&CertificateStatus> {
        self.certificates.as_ref()
    }

    fn follow(&self, log: Arc<InvalidationLog>) -> SourceFuture<'_, ()> {
        Box::pin(async move {
            let events = async {
                match &self.settings.events_url {
                    Some(url) => events::follow(self, url, &log).await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(
                events,
                credentials::follow(self),
                self.connect_after_timeouts()
            );
        })
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Timeout => Self::Timeout,
            FailureKind::Unreachable => Self::Unreachable(failure.to_string().into()),
            FailureKind::Failed => Self::Failed(failure.to_string().into()),
        }
    }
}

/// Shows no URL and no token.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").finish_non_exhaustive()
    }
}
