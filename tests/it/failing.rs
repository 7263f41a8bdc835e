//! Missing, late and empty responses: what Envoy does with them, and that the shipped configuration
//! fails closed or, if an operator opens it, lets no forged identity through.

use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse,
};
use envoy_types::pb::google::rpc::Status;
use prost::Message;

use crate::support::authz::{Script, ScriptedAuthz};
use crate::support::bootstrap::Bootstrap;
use crate::support::check;
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::keyward::{Address, Home};
use crate::support::message::Ask;
use crate::support::scene::{self, secret};
use crate::support::stack::{Stack, both_shapes};
use crate::support::upstream::Upstream;

fn with_key() -> Ask {
    Ask::get("/v1/orders").key(&secret("bare"))
}

/// Listeners that ask a scripted server: as shipped, failing open, and failing open without filters
/// before `ext_authz`.
async fn envoy_with(script: Script, upstream: &Upstream) -> (Envoy, ScriptedAuthz) {
    let authz = ScriptedAuthz::start(script).await;
    let envoy = envoy_asking(Address::Tcp(authz.address), upstream).await;
    (envoy, authz)
}

async fn envoy_asking(authz: Address, upstream: &Upstream) -> Envoy {
    let bootstrap = Bootstrap::new(&authz, upstream.address)
        .listener("shipped", |_| {})
        .listener("open", |l| {
            l.ext_authz()["failure_mode_allow"] = true.into();
        })
        .listener("open-unprotected", |l| {
            l.unprotected();
            l.ext_authz()["failure_mode_allow"] = true.into();
        });
    Envoy::start(&bootstrap).await
}

#[tokio::test]
async fn an_empty_answer_or_a_denial_with_status_zero_is_an_allow_to_envoy() {
    let denied_with_status_zero = CheckResponse {
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default())),
        ..CheckResponse::default()
    };
    for answer in [CheckResponse::default(), denied_with_status_zero] {
        let upstream = Upstream::start().await;
        let script = Script::Message(answer.encode_to_vec());
        let (envoy, _authz) = envoy_with(script, &upstream).await;
        let reply = http1::send(envoy.at("shipped"), &Ask::get("/")).await;
        // For this reason every response of ours that is not an allow has a non-zero status.
        assert_eq!(reply.status, 200, "{answer:?}: {reply:?}");
    }
}

#[tokio::test]
async fn unreadable_checks_are_denied_with_a_non_zero_status() {
    let keyward = crate::support::keyward::Keyward::start(scene::CONFIG, &scene::keys()).await;
    let channel = check::channel(&keyward.grpc).await;
    let empty = CheckRequest::default();
    let without_http = CheckRequest {
        attributes: Some(AttributeContext::default()),
    };
    for request in [empty, without_http] {
        let answer = check::check(&channel, request).await.unwrap();
        assert_ne!(answer.0.status.as_ref().unwrap().code, 0, "{answer:?}");
        assert_eq!(answer.code(), "bad_request", "{answer:?}");
    }
    // Empty attributes are HTTP attributes too, and lack a key.
    let answer = check::check(&channel, check::request("", "", &[])).await;
    assert_eq!(answer.unwrap().code(), "missing_key");
}

#[tokio::test]
async fn the_shipped_envoy_answers_503_without_a_decision() {
    for script in [Script::Hang, Script::Fail(14), Script::Fail(2)] {
        let upstream = Upstream::start().await;
        let (envoy, _authz) = envoy_with(script.clone(), &upstream).await;
        let reply = http1::send(envoy.at("shipped"), &with_key()).await;
        assert_eq!(reply.status, 503, "{script:?}: {reply:?}");
        assert!(upstream.take().is_empty(), "{script:?}");
    }
    let upstream = Upstream::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let envoy = envoy_asking(Address::Tcp(address), &upstream).await;
    let reply = http1::send(envoy.at("shipped"), &with_key()).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(upstream.take().is_empty());
}

#[tokio::test]
async fn an_envoy_that_fails_open_passes_no_forged_identity() {
    for script in [Script::Hang, Script::Fail(14)] {
        let upstream = Upstream::start().await;
        let (envoy, _authz) = envoy_with(script, &upstream).await;
        let ask = with_key()
            .header("x-keyward-client", "forged")
            .header("X-Keyward-Key-Id", "forged");
        let reply = http1::send(envoy.at("open"), &ask).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let received = upstream.take_one();
        assert!(received.all("x-keyward-client").is_empty(), "{received:#?}");
        assert!(received.all("x-keyward-key-id").is_empty(), "{received:#?}");
        // Without the shipped filter in front they would pass: nothing else removes them.
        http1::send(envoy.at("open-unprotected"), &ask).await;
        assert_eq!(upstream.take_one().all("x-keyward-client"), ["forged"]);
    }
}

#[tokio::test]
async fn requests_are_refused_while_keyward_is_dead_and_pass_after_a_restart() {
    let home = Home::new(
        "{server: {grpc: {address: \"unix:keyward.sock\"}}}",
        &scene::keys_without_plans(),
    );
    let socket = home.path("keyward.sock");
    home.configure(&format!(
        "{{server: {{grpc: {{address: \"unix:{}\"}}}}}}",
        socket.display()
    ));
    let upstream = Upstream::start().await;
    let mut keyward = home.start().await;
    let envoy = envoy_asking(Address::Unix(socket), &upstream).await;
    let to = envoy.at("shipped");
    assert_eq!(http1::send(to, &with_key()).await.status, 200);
    keyward.process.signal("KILL");
    keyward.process.end().await;
    let reply = http1::send(to, &with_key()).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    let _keyward = keyward.home.start().await;
    let reply = http1::send(to, &with_key()).await;
    assert_eq!(
        reply.status, 200,
        "the first check after the restart: {reply:?}"
    );
}

#[tokio::test]
async fn refusals_of_the_upstream_and_denials_of_keyward_are_distinguishable() {
    let stack = Stack::start(scene::CONFIG, &scene::keys(), both_shapes).await;
    let reply = http1::send(stack.envoy.at("headers"), &Ask::get("/v1/orders")).await;
    assert_eq!(reply.status, 401);
    let counted = stack.envoy.stat("^cluster.*upstream_rq_4xx$").await;
    assert_eq!(
        counted, 0,
        "refused keys do not count as the upstream's 4xx"
    );
}

#[tokio::test]
async fn the_shipped_envoy_waits_for_an_answer_longer_than_it_pauses_before_a_retry() {
    // Envoy uses the retry policy's `max_interval` as the timeout of each try: a keyward whose
    // container is throttled for a tenth of a second must still get its response through.
    let denial = CheckResponse {
        status: Some(Status {
            code: 16,
            ..Status::default()
        }),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default())),
        ..CheckResponse::default()
    };
    let upstream = Upstream::start().await;
    let script = Script::Late(Duration::from_millis(150), denial.encode_to_vec());
    let (envoy, authz) = envoy_with(script, &upstream).await;
    let reply = http1::send(envoy.at("shipped"), &with_key()).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert_eq!(authz.take().len(), 1, "asked once");
}

#[tokio::test]
async fn a_route_that_keyward_is_not_asked_about_passes_no_forged_identity() {
    let upstream = Upstream::start().await;
    let authz = ScriptedAuthz::start(Script::Hang).await;
    let bootstrap = Bootstrap::new(&Address::Tcp(authz.address), upstream.address)
        .listener("unasked", |l| l.route("{prefix: /}", "{disabled: true}"));
    let envoy = Envoy::start(&bootstrap).await;
    let ask = with_key().header("x-keyward-client", "forged");
    let reply = http1::send(envoy.at("unasked"), &ask).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(authz.take().is_empty(), "keyward was not asked");
    let received = upstream.take_one();
    assert!(received.all("x-keyward-client").is_empty(), "{received:#?}");
}
