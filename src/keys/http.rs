//! Keys from an HTTP service: a `GET` with the digest in the URL, a record or 404 in the answer.
//!
//! Takes a digest and gives what the service knows of it, or why it cannot be told: nothing but a 404 means that there is no such
//! key. While it is followed, the files of its secrets are read anew when they change, and changes of keys are heard as
//! server-sent events where the service offers them. It keeps no answer; the cache does.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::sync::Notify;

use super::invalidation::InvalidationLog;
use super::source::{
    KeySource, LookupFuture, Push, SourceAnswer, SourceError, SourceFuture, SourceReply,
    probe_digest,
};
use crate::authz::digest::KeyDigest;
use crate::backoff::jitter;
use crate::clock::Clock;
use crate::tls::CertificateStatus;
use crate::watch::WatchedFiles;
use crate::watch::named_file::NamedFile;
use client::Clients;
use failure::Failure;
use timing::{RETRY_WITHIN, Timing};

mod body;
mod client;
mod credentials;
mod encoding;
mod event_stream;
mod events;
mod failure;
mod freshness;
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
    /// What opens the service's door: swapped when its file changes.
    token: ArcSwap<Option<HeaderValue>>,
    /// Swapped when a file of TLS changes; requests under way end with the ones that they began with.
    clients: ArcSwap<Clients>,
    token_file: WatchedFiles,
    tls_files: WatchedFiles,
    /// What is told of the files of TLS; `None` where there are none.
    certificates: Option<CertificateStatus>,
    /// A lookup was not answered in time, and the connection that it may have begun to make has gone with it.
    cold: Notify,
}

/// An answer that is understood.
struct Answered {
    reply: SourceReply,
    /// What was not read of it, and says nothing.
    rest: Option<Response>,
}

impl HttpSource {
    /// A source as its operator wants it. Reads the files that the settings name, and connects to nobody. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should, or when there is nobody to trust for https.
    pub fn new(settings: HttpSettings, clock: Arc<dyn Clock>) -> Result<Self, HttpSourceError> {
        // Looked at before they are read, so that a change while they are is seen later.
        let token_file = settings
            .bearer_token_file
            .iter()
            .map(NamedFile::as_path_buf);
        let mut token_file = WatchedFiles::polled(token_file);
        let mut tls_files = WatchedFiles::polled(settings.tls.paths());
        let (token, token_mark) = credentials::read_token(&settings)?;
        let (clients, tls_mark) = Clients::new(&settings)?;
        let certificates = settings.tls.status(client::TLS, clients.certificates);
        token_file.was_read(Some(token_mark), clock.monotonic());
        tls_files.was_read(Some(tls_mark), clock.monotonic());
        Ok(Self {
            settings: Arc::new(settings),
            clock,
            timing: Timing::default(),
            token: ArcSwap::from_pointee(token),
            clients: ArcSwap::from_pointee(clients),
            token_file,
            tls_files,
            certificates,
            cold: Notify::new(),
        })
    }

    /// Connects for lookups that had not the time. Never ends.
    async fn warm(&self) {
        loop {
            self.cold.notified().await;
            self.connect().await;
        }
    }

    /// Asks, and asks a second time if the first may have met a moment that has passed.
    async fn ask(&self, digest: &KeyDigest) -> Result<Answered, Failure> {
        match self.ask_once(digest).await {
            Err(failure) if failure.is_transient => {
                tokio::time::sleep(jitter(RETRY_WITHIN)).await;
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
        let (answer, rest) = match response.status() {
            StatusCode::OK => (body::record(response, digest).await?, None),
            StatusCode::NOT_FOUND => (SourceAnswer::NotFound, Some(response)),
            status => return Err(Failure::of_status(status)),
        };
        let reply = SourceReply { answer, max_age };
        Ok(Answered { reply, rest })
    }

    /// What is read of an answer once it is known, for its connection's sake: never more than a moment.
    async fn finish(&self, answered: Answered) -> SourceReply {
        if let Some(rest) = answered.rest {
            body::skip(rest, self.timing.skip_within).await;
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
                // What takes longer to connect to than a lookup may take would never be reached by lookups.
                self.cold.notify_one();
                SourceError::Timeout
            })??;
            Ok(self.finish(answered).await)
        })
    }

    fn connect(&self) -> SourceFuture<'_, ()> {
        Box::pin(async {
            let digest = probe_digest();
            let asking = tokio::time::timeout(self.timing.open_within, self.ask_once(&digest));
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
                    SourceError::Failed(format!("changes of keys would not be heard: {why}").into())
                })?;
            }
            Ok(Vec::new())
        })
    }

    fn push(&self) -> Push {
        match self.settings.events_url {
            Some(_) => Push::Asked,
            None => Push::None,
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
            tokio::join!(events, credentials::follow(self), self.warm());
        })
    }
}

/// Shows no URL and no token.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").finish_non_exhaustive()
    }
}
