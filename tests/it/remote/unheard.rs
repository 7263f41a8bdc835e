//! Changes that are not heard, although all seems well: what was cached is then not believed, and what is told of the source is
//! what a lookup would meet.

use serde_json::json;

use super::{Asked, with_events};
use crate::cli::Desk;
use crate::support::key_service::KeyService;
use crate::support::wait;

/// Runs `check-config` on that configuration.
fn check_config(config: &str) -> crate::cli::Run {
    let desk = Desk::empty();
    desk.write("keyward.yaml", config);
    desk.run(&["check-config"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_stream_of_events_hides_no_revocation() {
    let service = KeyService::start().await;
    service.compress_streams();
    service.put("k", "k", json!({}));
    let config = with_events(service.address);
    let asked = Asked::start(&config).await;
    asked.becomes("k", "allowed").await;
    wait::until("the stream was asked for", async || {
        let asked = service.take();
        asked
            .iter()
            .any(|asked| asked.line.starts_with("GET /events"))
    })
    .await;
    asked.becomes("k", "allowed").await;
    service.put("k", "k", json!({"revoked_at": "2020-01-01T00:00:00Z"}));
    service.push(&json!({"event": "invalidate", "key_id": "k"}));
    asked.becomes("k", "key_revoked").await;
    let complaint = check_config(&config).complaint(1);
    assert!(complaint.contains("content-encoding"), "{complaint}");
}
