//! Tests of what the admin listener answers to whom.

use http_body_util::BodyExt;

use super::*;
use crate::clock::SystemClock;
use crate::server::phase::Lifecycle;

async fn admin() -> (Lifecycle, Admin) {
    let (health, _) = tonic_health::server::health_reporter();
    let lifecycle = Lifecycle::new(health).await;
    let admin = Admin {
        phase: lifecycle.watch(),
        metrics: Scrapes::new(
            Box::new(|| "some_total 1\n".to_owned()),
            Arc::new(SystemClock::new()),
        ),
        config: ArcSwap::from_pointee("{}".to_owned()),
        source: "file",
        remote: Box::new(|| None),
        file: ArcSwap::from_pointee(KeyFilesState {
            keys: 3,
            failure: None,
        }),
        certificates: None,
    };
    (lifecycle, admin)
}

async fn ask(admin: &Admin, method: &str, path: &str, peer: &str) -> Response<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    admin.answer(&request, Some(peer.parse().unwrap())).await
}

#[tokio::test]
async fn each_path_answers_those_it_is_for() {
    let (mut lifecycle, admin) = admin().await;
    lifecycle.enter(Phase::Ready).await;
    let (near, far) = ("127.0.0.1:5", "10.0.0.7:5");
    for (method, path, peer, status) in [
        ("GET", "/metrics", far, 200),
        ("GET", "/livez", far, 200),
        ("HEAD", "/readyz", far, 200),
        ("GET", "/readyz?verbose", far, 200),
        ("GET", "/config", near, 200),
        ("GET", "/config", "[::1]:5", 200),
        ("GET", "/config", "[::ffff:127.0.0.1]:5", 200),
        ("GET", "/config", far, 403),
        ("GET", "/config", "127.0.0.6:5", 403),
        ("POST", "/metrics", near, 405),
        ("DELETE", "/config", far, 405),
        ("GET", "/", near, 404),
        ("POST", "/metrics/", near, 404),
    ] {
        assert_eq!(
            ask(&admin, method, path, peer).await.status(),
            status,
            "{method} {path} {peer}"
        );
    }
    let request = Request::builder().uri("/config").body(()).unwrap();
    assert_eq!(
        admin.answer(&request, None).await.status(),
        403,
        "a peer that nobody knows is not near"
    );
}

#[tokio::test]
async fn readiness_follows_the_phase_and_the_source_shows_in_its_body_only() {
    let (mut lifecycle, admin) = admin().await;
    let failed = KeyFilesState {
        keys: 3,
        failure: Some("keys.yaml: gone".to_owned()),
    };
    admin.file.store(Arc::new(failed));
    for (phase, status, reason) in [
        (Phase::Loading, 503, json!("loading")),
        (Phase::Ready, 200, json!(null)),
        (Phase::Draining, 503, json!("draining")),
        (Phase::Closing, 503, json!("draining")),
    ] {
        lifecycle.enter(phase).await;
        let response = ask(&admin, "GET", "/readyz", "10.0.0.7:5").await;
        assert_eq!(response.status(), status, "{phase:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["reason"], reason, "{phase:?}");
        assert_eq!(
            body["source"],
            json!({"kind": "file", "keys": 3, "failure": "keys.yaml: gone"}),
            "{phase:?}"
        );
    }
    let alive = ask(&admin, "GET", "/livez", "10.0.0.7:5").await;
    assert_eq!(alive.status(), 200);
}

#[test]
fn a_remote_source_shows_whether_it_answers_and_why_not() {
    let health = |failure: Option<&str>, breaker_open, pushes| SourceHealth {
        source: "redis",
        failure: failure.map(Into::into),
        breaker_open,
        pushes,
        certificates: None,
    };
    for (health, state, pushes) in [
        (
            health(None, false, Some(SubscriptionState::Subscribed)),
            "answering",
            json!("armed"),
        ),
        (health(None, false, None), "answering", json!(null)),
        (
            health(None, false, Some(SubscriptionState::Unsubscribed)),
            "failing",
            json!("lost"),
        ),
        (
            health(None, false, Some(SubscriptionState::Refused)),
            "answering",
            json!("refused"),
        ),
        (
            health(None, false, Some(SubscriptionState::Off)),
            "answering",
            json!("off"),
        ),
        (health(Some("refused"), false, None), "failing", json!(null)),
        (
            health(Some("refused"), true, Some(SubscriptionState::Unsubscribed)),
            "down",
            json!("lost"),
        ),
    ] {
        let want = json!({
            "kind": "redis",
            "state": state,
            "pushes": pushes,
            "failure": health.failure.as_deref(),
        });
        assert_eq!(remote_source(&health), want);
    }
}

#[tokio::test]
async fn a_failure_is_told_without_the_digests_that_it_names() {
    let digest = "0123456789abcdefABCDEF0123456789".repeat(2);
    for (failure, shown) in [
        (
            format!("keys.yaml:3: digest blake3:{digest} is there twice, see blake3:{digest}"),
            "keys.yaml:3: digest blake3:… is there twice, see blake3:…",
        ),
        (
            format!("GET https://keys/v1/{digest}?a=fade failed"),
            "GET https://keys/v1/…?a=fade failed",
        ),
        (
            "facade: no such file or directory é".to_owned(),
            "facade: no such file or directory é",
        ),
        (digest.clone(), "…"),
        (String::new(), ""),
    ] {
        assert_eq!(without_digests(&failure), shown);
        let (lifecycle, admin) = admin().await;
        let state = KeyFilesState {
            keys: 1,
            failure: Some(failure.clone()),
        };
        admin.file.store(Arc::new(state));
        let response = ask(&admin, "GET", "/readyz", "10.0.0.7:5").await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains(&digest));
        drop(lifecycle);
        let health = SourceHealth {
            source: "http",
            failure: Some(failure.into()),
            breaker_open: false,
            pushes: None,
            certificates: None,
        };
        assert!(!remote_source(&health).to_string().contains(&digest));
    }
}
