//! Large bodies that Envoy includes: many concurrent callers without a key do not open an Envoy
//! that fails open.

use serde_json::json;
use tokio::task::JoinSet;

use super::{Sidecar, keys_url};
use crate::support::bootstrap::{Bootstrap, yaml};
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::key_service::{Answer, KeyService};
use crate::support::message::Ask;
use crate::support::upstream::Upstream;

/// Their bodies are more than twice what keyward accepts in messages.
const CALLERS: usize = 40;
const BODY_BYTES: usize = 4_180_000;
const BURSTS: usize = 4;

/// Posts such a body under so many made-up keys at once; the number of each status.
async fn burst(envoy: &Envoy, burst: usize) -> std::collections::BTreeMap<u16, usize> {
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let ask = Ask::new("POST", "/v1/orders")
            .key(&format!("made-up-{burst}-{number}"))
            .body(vec![b'x'; BODY_BYTES]);
        let to = envoy.at("open");
        callers.spawn(async move { http1::send(to, &ask).await.status });
    }
    let mut statuses = std::collections::BTreeMap::new();
    while let Some(status) = callers.join_next().await {
        *statuses.entry(status.unwrap()).or_insert(0) += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_at_a_slow_source_do_not_open_an_envoy_that_fails_open() {
    let service = KeyService::start().await;
    service.put("in-use", "in-use", json!({}));
    service.answer_for("in-use", Answer::Record);
    // Other lookups wait until their timeout.
    service.answer(Answer::Held);
    let url = keys_url(service.address);
    let sidecar = Sidecar::start(&format!(
        "source: {{http: {{url: \"{url}\", timeout: 800ms}}}}\n"
    ))
    .await;
    sidecar.becomes("in-use", "allowed").await;
    let upstream = Upstream::start().await;
    let keyward = std::slice::from_ref(&sidecar.keyward.grpc);
    let bootstrap = Bootstrap::new(&sidecar.keyward.grpc, upstream.address)
        // Envoy's timeouts are not under test on a busy machine, neither for a response nor for a
        // ping, after which the shipped one closes a connection in 0.3 s.
        .authz("slow", keyward, |cluster| {
            let cluster = cluster.as_mapping_mut().unwrap();
            cluster.remove("health_checks");
            let options = cluster.get_mut("typed_extension_protocol_options").unwrap();
            let options = options
                .as_mapping_mut()
                .unwrap()
                .iter_mut()
                .next()
                .unwrap()
                .1;
            let http2 = &mut options["explicit_http_config"]["http2_protocol_options"];
            let removed = http2
                .as_mapping_mut()
                .unwrap()
                .remove("connection_keepalive");
            assert!(removed.is_some());
        })
        .listener("open", |l| {
            l.asks("slow");
            let ext_authz = l.ext_authz();
            ext_authz["failure_mode_allow"] = true.into();
            ext_authz["with_request_body"] =
                yaml("{max_request_bytes: 4190000, pack_as_bytes: true}");
            ext_authz["grpc_service"]["timeout"] = "30s".into();
            let service = ext_authz["grpc_service"].as_mapping_mut().unwrap();
            service.remove("retry_policy");
        });
    let envoy = Envoy::start(&bootstrap).await;
    for number in 0..BURSTS {
        let statuses = burst(&envoy, number).await;
        println!("burst {number}: {statuses:?}");
        let let_in = upstream.take().len();
        let gave_up = envoy.stat("^cluster.slow.http2.keepalive_timeout$").await;
        assert_eq!(gave_up, 0, "Envoy waits");
        assert_eq!(let_in, 0, "of {CALLERS} in burst {number}: {statuses:?}");
    }
    // Their memory was released.
    let honest = Ask::new("POST", "/v1/orders")
        .key("in-use")
        .body(vec![b'x'; BODY_BYTES]);
    let reply = http1::send(envoy.at("open"), &honest).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(upstream.take_one().all("x-keyward-key-id"), ["in-use"]);
}
