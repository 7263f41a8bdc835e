//! The series of a remote source's keys, of which nobody tells that they are gone.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::running::Home;
use crate::authorizer::Authorizer;
use crate::authz::key::tests::record;
use crate::authz::reason::Reason;
use crate::authz::snapshot::{Generation, Snapshot};
use crate::clock::Clock;
use crate::observe::metrics::Metrics;
use crate::server::build::{admin_of, cache};
use crate::server::config_file::WatchedConfig;
use crate::server::phase::Lifecycle;
use crate::server::remote_source;

/// The beginning of time, and an hour later.
struct Later;

impl Clock for Later {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_scrape_forgets_idle_keys_of_a_remote_source_and_none_of_a_file() {
    for (source, is_forgotten) in [
        (
            "source: {http: {url: \"http://127.0.0.1:9/{digest}\"}}",
            true,
        ),
        ("", false),
    ] {
        let home = Home::new(source, &[]);
        let clock: Arc<dyn Clock> = Arc::new(Later);
        let mut config_file = WatchedConfig::new(&home.path("keyward.yaml"), |_| None);
        let config = config_file.load(&*clock).unwrap();
        let metrics = Arc::new(Metrics::new(10).unwrap());
        let remote = remote_source(&config, &clock, None).unwrap();
        let cache = cache(&config, remote.as_ref(), &metrics, &clock).unwrap();
        let snapshot = Snapshot {
            generation: Generation(1),
            policy: Arc::clone(&config.policy),
            keys: None,
        };
        let authorizer = Authorizer::new(Arc::new(snapshot), cache, Arc::clone(&clock));
        let measured = Arc::new(OnceLock::from(Arc::new(authorizer)));
        let (reporter, _) = tonic_health::server::health_reporter();
        let phase = Lifecycle::new(reporter).await.watch();
        let admin = admin_of(&config, &metrics, &measured, phase, &clock);
        let series = metrics.key_series(&record("k"), Generation(1));
        series.record(Reason::Allowed, None, Timestamp::UNIX_EPOCH);
        drop(series);
        let is_told = admin.metrics.text().await;
        let is_told = String::from_utf8_lossy(&is_told).contains("key_id=\"k\"");
        assert_eq!(is_told, !is_forgotten, "{source:?}");
    }
}
