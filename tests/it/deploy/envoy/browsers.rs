//! CORS: a script of a listed origin may call with a key and read the response, denials too; a
//! script of another origin may not, and its requests do not pass Envoy. `support::browser`
//! implements a browser's rules.

use std::net::SocketAddr;

use crate::support::bootstrap::{Bootstrap, Listener};
use crate::support::browser::Browser;
use crate::support::envoy::Envoy;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::{Address, Keyward};
use crate::support::message::Ask;
use crate::support::port::Port;
use crate::support::scene::{self, secret};
use crate::support::stack::Stack;
use crate::support::upstream::Upstream;

/// The origin in the shipped file.
const NAMED: &str = "https://app.example.com";

/// What every gateway does for scripts, with the key `bare` of the scene and the origin in its
/// files.
pub async fn a_gateway_serves_scripts(to: SocketAddr, upstream: &Upstream) {
    let with_key = Ask::get("/v1/orders").key(&secret("bare"));
    let browser = Browser::of(NAMED, to);
    assert_eq!(browser.fetch(&with_key).await.unwrap().status, 200);
    assert_eq!(upstream.take_one().method, "GET", "no preflight");
    let refused = browser.fetch(&Ask::get("/v1/orders")).await.unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.all("www-authenticate").len(), 1, "{refused:?}");
    let other = Browser::of("https://evil.example", to);
    assert!(other.fetch(&with_key).await.is_err());
    assert!(upstream.take().is_empty());
}

/// `shipped`; and `behind`, with the filter after `ext_authz`, where it has no effect.
fn listeners(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap
        .listener("shipped", |_| {})
        .listener("behind", |l| {
            let filters = l.filters();
            let is_cors = |f: &serde_yaml::Value| f["name"] == "envoy.filters.http.cors";
            let at = filters.iter().position(is_cors).unwrap();
            let cors = filters.remove(at);
            filters.insert(filters.len() - 1, cors);
        })
}

async fn stack() -> Stack {
    Stack::start("{}", &scene::keys_without_plans(), listeners).await
}

#[tokio::test]
async fn a_script_calls_with_its_key_and_the_preflight_goes_no_further_than_envoy() {
    let stack = stack().await;
    let browser = Browser::of(NAMED, stack.envoy.at("shipped"));
    let key = secret("bare");
    let json = Ask::new("POST", "/v1/orders").body("{}");
    for ask in [
        Ask::get("/v1/orders").key(&key),
        Ask::get("/v1/orders").header("authorization", &format!("Bearer {key}")),
        json.header("content-type", "application/json").key(&key),
        Ask::new("DELETE", "/v1/orders/1").key(&key),
        Ask::new("PATCH", "/v1/orders/1").key(&key),
    ] {
        let reply = browser.fetch(&ask).await.unwrap();
        assert_eq!((reply.status, reply.text()), (200, "upstream".into()));
        let received = stack.upstream.take_one();
        assert_eq!(received.method, ask.method, "one request, no preflight");
        assert_eq!(received.all("x-keyward-client"), ["bare"]);
    }
    let methods = stack
        .keyward
        .decisions()
        .into_iter()
        .map(|d| d["method"].clone());
    assert_eq!(methods.filter(|method| method == "OPTIONS").count(), 0);
}

#[tokio::test]
async fn a_script_reads_why_it_was_refused() {
    let stack = stack().await;
    let browser = Browser::of(NAMED, stack.envoy.at("shipped"));
    for (ask, code) in [
        // Without a header of its own it needs no preflight.
        (Ask::get("/v1/orders"), "missing_key"),
        (Ask::get("/v1/orders").key("made-up"), "unknown_key"),
    ] {
        let reply = browser.fetch(&ask).await.unwrap();
        assert_eq!(
            (reply.status, &reply.problem()["code"]),
            (401, &code.into())
        );
        let challenge = reply.all("www-authenticate");
        assert!(challenge[0].starts_with("Bearer realm="), "{challenge:?}");
    }
    assert!(stack.upstream.take().is_empty());
}

#[tokio::test]
async fn a_script_reads_retry_after_whether_keyward_or_envoy_sends_it() {
    let (upstream, closed_port) = (Upstream::start().await, Port::reserve());
    let config = format!(
        "{{source: {{redis: {{url: \"redis://{}\"}}}}}}",
        closed_port.address()
    );
    let keyward = Keyward::start(&config, &KeyFile::new()).await;
    let gone = Port::reserve();
    let bootstrap = Bootstrap::new(&keyward.grpc, upstream.address)
        .authz("gone", &[Address::Tcp(gone.address())], |_| {})
        .listener("undecided", |_| {})
        .listener("alone", |l| l.asks("gone"));
    let envoy = Envoy::start(&bootstrap).await;
    let ask = Ask::get("/v1/orders").key("some-secret");
    let undecided = Browser::of(NAMED, envoy.at("undecided"));
    let reply = undecided.fetch(&ask).await.unwrap();
    assert_eq!(reply.problem()["code"], "source_unavailable");
    assert_eq!((reply.status, reply.all("retry-after").len()), (503, 1));
    let alone = Browser::of(NAMED, envoy.at("alone"));
    assert_eq!(alone.fetch(&ask).await.unwrap().status, 503);
}

#[tokio::test]
async fn a_script_of_another_origin_calls_nothing_with_a_key_and_reads_nothing() {
    let stack = stack().await;
    let to = stack.envoy.at("shipped");
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "null",
    ] {
        let browser = Browser::of(origin, to);
        let with_key = Ask::get("/v1/orders").key(&secret("bare"));
        let error = browser.fetch(&with_key).await.unwrap_err();
        assert!(error.contains("origin"), "{origin}: {error}");
        let error = browser.fetch(&Ask::get("/v1/orders")).await.unwrap_err();
        assert!(error.contains("origin"), "{origin}: {error}");
    }
    // Cookies are sent if the response permits it, which the shipped one does not.
    let with_credentials = Browser {
        with_credentials: true,
        ..Browser::of(NAMED, to)
    };
    let error = with_credentials
        .fetch(&Ask::get("/v1/orders"))
        .await
        .unwrap_err();
    assert!(error.contains("credentials"), "{error}");
    let header = Ask::get("/v1/orders")
        .header("x-other", "1")
        .key(&secret("bare"));
    let error = Browser::of(NAMED, to).fetch(&header).await.unwrap_err();
    assert!(error.contains("x-other"), "{error}");
    assert!(stack.upstream.take().is_empty());
}

#[tokio::test]
async fn with_credentials_allowed_a_key_in_a_cookie_is_sent() {
    let config = "credentials: [{cookie: api_key}]";
    let allow = |l: &mut Listener| {
        let host = l.virtual_host();
        let policy = &mut host["typed_per_filter_config"]["envoy.filters.http.cors"];
        policy["allow_credentials"] = true.into();
    };
    let keys = scene::keys_without_plans();
    let stack = Stack::start(config, &keys, |b| b.listener("cookies", allow)).await;
    let browser = Browser {
        with_credentials: true,
        ..Browser::of(NAMED, stack.envoy.at("cookies"))
    };
    // A browser's cookie is not a header of the script.
    let cookie = format!("api_key={}", secret("bare"));
    let reply = browser
        .fetch_with_cookie(&Ask::get("/v1/orders"), &cookie)
        .await;
    assert_eq!(reply.unwrap().status, 200);
}

#[tokio::test]
async fn behind_ext_authz_the_filter_lets_no_script_call() {
    let stack = stack().await;
    let browser = Browser::of(NAMED, stack.envoy.at("behind"));
    let with_key = Ask::get("/v1/orders").key(&secret("bare"));
    let error = browser.fetch(&with_key).await.unwrap_err();
    assert!(error.contains("401"), "{error}");
    assert!(browser.fetch(&Ask::get("/v1/orders")).await.is_err());
    assert!(stack.upstream.take().is_empty());
}
