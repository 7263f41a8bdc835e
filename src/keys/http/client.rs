//! The HTTP clients: one for lookups, one for the stream of events.
//!
//! Both connect to the service itself: no proxy of the environment, no redirect (which could send a
//! digest or the token elsewhere), no cookies, no retries. Connecting may take longer than a
//! lookup.

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::ClientConfig;

use super::credentials::HttpSourceError;
use super::settings::{EventsUrl, HttpSettings};
use super::timing::{KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, Timing};
use crate::tls::CertificateFacts;

const USER_AGENT: &str = concat!("keyward/", env!("CARGO_PKG_VERSION"));

/// Where the files of TLS are named.
pub(super) const TLS: &str = "source.http.tls";

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Clients made from the same files.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) lookups: Client,
    pub(super) events: Client,
    pub(super) certificates: CertificateFacts,
}

impl Clients {
    /// Reads the files of TLS, and gives a hash of them beside. Blocks.
    pub(super) fn new(settings: &HttpSettings) -> Result<(Self, blake3::Hash), HttpSourceError> {
        let (tls, certificates) = tls(settings)?;
        let build = |idle: usize| {
            let builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .no_proxy()
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(Timing::default().connect_timeout)
                .pool_max_idle_per_host(idle)
                .tcp_nodelay(true)
                .tcp_keepalive(KEEPALIVE_INTERVAL)
                .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
                .tcp_keepalive_retries(KEEPALIVE_RETRIES)
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .http2_keep_alive_timeout(KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES)
                // Or a dead connection would be found by a lookup.
                .http2_keep_alive_while_idle(true);
            // The kernel goes by this rather than by the number of probes, and reqwest sets it to
            // 30 s.
            #[cfg(target_os = "linux")]
            let builder = builder.tcp_user_timeout(KEEPALIVE_INTERVAL * (KEEPALIVE_RETRIES + 1));
            builder.build().map_err(HttpSourceError::Client)
        };
        let clients = Self {
            lookups: build(settings.max_in_flight)?,
            events: build(1)?,
            certificates,
        };
        Ok((clients, certificates.content_hash))
    }
}

fn tls(settings: &HttpSettings) -> Result<(ClientConfig, CertificateFacts), HttpSourceError> {
    let events = settings.events_url.as_ref();
    let is_spoken = settings.url.is_https() || events.is_some_and(EventsUrl::is_https);
    let authorities = settings.tls.default_authorities(TLS, is_spoken)?;
    let tls = settings.tls.read(TLS, &authorities)?;
    let mut config = tls.config;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok((config, tls.facts))
}
