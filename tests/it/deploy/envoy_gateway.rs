//! `deploy/envoy-gateway` on a real Envoy. There is no controller and no cluster, so the test
//! builds the listener that Envoy Gateway would generate from these files, following Envoy
//! Gateway's own tests. `custom_resources` checks the names of fields; this checks that the result
//! protects what it should.

use serde_yaml::{Mapping, Value};

use crate::support::bootstrap::{Bootstrap, Listener, yaml};
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::{Address, Keyward};
use crate::support::message::Ask;
use crate::support::port::Port;
use crate::support::scene::{IDENTITY, keys_without_plans, secret, spellings};
use crate::support::upstream::Upstream;

use super::deployed;
use super::envoy::browsers::a_gateway_serves_scripts;

const FILTER: &str = "envoy.filters.http.ext_authz/securitypolicy/edge/keyward";

const RULES: &str = r#"
rules:
  - {name: open, match: {paths: ["/public/**"]}, allow: anyone}
  - {name: admin, match: {paths: ["/admin/**"]}, allow: nobody}
"#;

/// The `ext_authz` filter of a `SecurityPolicy`. It is off until a route turns it on.
fn ext_authz() -> Value {
    let policy = deployed("envoy-gateway/security-policy.yaml").remove(0);
    let ext_auth = &policy["spec"]["extAuth"];
    let mut filter = yaml(
        r#"
        disabled: true
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
          transport_api_version: V3
          grpc_service: {envoy_grpc: {cluster_name: securitypolicy, authority: keyward.keyward}}
        "#,
    );
    filter["name"] = FILTER.into();
    let config = &mut filter["typed_config"];
    config["failure_mode_allow"] = ext_auth["failOpen"].clone();
    config["status_on_error"]["code"] = ext_auth["statusOnError"].clone();
    let headers = ext_auth["headersToExtAuth"].as_sequence().unwrap().iter();
    let patterns: Vec<Value> = headers
        .map(|name| {
            let mut pattern = yaml("{ignore_case: true}");
            pattern["exact"] = name.clone();
            pattern
        })
        .collect();
    config["allowed_headers"]["patterns"] = patterns.into();
    let service = &mut config["grpc_service"];
    service["timeout"] = ext_auth["timeout"].clone();
    let retry = &ext_auth["grpc"]["backendSettings"]["retry"];
    let triggers = retry["retryOn"]["triggers"].as_sequence().unwrap().iter();
    let triggers: Vec<&str> = triggers.map(|t| t.as_str().unwrap()).collect();
    service["retry_policy"]["num_retries"] = retry["numRetries"].clone();
    service["retry_policy"]["retry_on"] = triggers.join(",").into();
    let back_off = &retry["perRetry"]["backOff"];
    for (ours, theirs) in [
        ("base_interval", "baseInterval"),
        ("max_interval", "maxInterval"),
    ] {
        let millis = back_off[theirs].as_str().unwrap().strip_suffix("ms");
        let millis: u32 = millis.unwrap().parse().unwrap();
        let seconds = f64::from(millis) / 1000.0;
        service["retry_policy"]["retry_back_off"][ours] = format!("{seconds}s").into();
    }
    filter
}

/// The settings that a `ClientTrafficPolicy`, and Envoy Gateway itself, make on the connection
/// manager.
fn client_traffic(hcm: &mut Mapping) {
    let policy = deployed("envoy-gateway/client-traffic-policy.yaml").remove(0);
    let (headers, path) = (&policy["spec"]["headers"], &policy["spec"]["path"]);
    let early = &headers["earlyRequestHeaders"];
    let list = |name: &str| early[name].as_sequence().unwrap().iter();
    let mut mutations: Vec<Value> = list("remove")
        .map(|name| {
            let mut mutation = yaml("{}");
            mutation["remove"] = name.clone();
            mutation
        })
        .collect();
    mutations.extend(list("removeOnMatch").map(|matcher| {
        assert_eq!(matcher["type"], "RegularExpression");
        let mut mutation = yaml("{remove_on_match: {key_matcher: {safe_regex: {}}}}");
        let key = &mut mutation["remove_on_match"]["key_matcher"];
        key["safe_regex"]["regex"] = matcher["value"].clone();
        mutation
    }));
    let mut early = yaml(
        r#"
        - name: envoy.http.early_header_mutation.header_mutation
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
        "#,
    );
    early[0]["typed_config"]["mutations"] = mutations.into();
    hcm.insert("early_header_mutation_extensions".into(), early);
    let underscores = match headers["withUnderscoresAction"].as_str() {
        Some("RejectRequest") => "REJECT_REQUEST",
        Some("DropHeader") => "DROP_HEADER",
        _ => "ALLOW",
    };
    hcm["common_http_protocol_options"]["headers_with_underscores_action"] = underscores.into();
    hcm.insert("normalize_path".into(), true.into());
    let merge = path["disableMergeSlashes"] != true;
    hcm.insert("merge_slashes".into(), merge.into());
    let slashes = match path["escapedSlashesAction"].as_str() {
        Some("UnescapeAndRedirect") => "UNESCAPE_AND_REDIRECT",
        Some("UnescapeAndForward") => "UNESCAPE_AND_FORWARD",
        Some("RejectRequest") => "REJECT_REQUEST",
        _ => "KEEP_UNCHANGED",
    };
    hcm.insert("path_with_escaped_slashes_action".into(), slashes.into());
}

/// The `cors` of a `SecurityPolicy`, as the policy of a route.
fn cors() -> Value {
    let policy = deployed("envoy-gateway/security-policy.yaml").remove(0);
    let cors = &policy["spec"]["cors"];
    let strings = |name: &str| -> Vec<String> {
        let items = cors[name].as_sequence().unwrap().iter();
        items
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let mut made =
        yaml("{\"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy}");
    let origins = strings("allowOrigins").into_iter().map(|origin| {
        let mut exact = yaml("{}");
        exact["exact"] = origin.into();
        exact
    });
    made["allow_origin_string_match"] = origins.collect::<Vec<Value>>().into();
    made["allow_methods"] = strings("allowMethods").join(", ").into();
    made["allow_headers"] = strings("allowHeaders").join(", ").into();
    made["expose_headers"] = strings("exposeHeaders").join(", ").into();
    let minutes = cors["maxAge"].as_str().unwrap().strip_suffix('m').unwrap();
    made["max_age"] = (minutes.parse::<u32>().unwrap() * 60).to_string().into();
    made
}

/// A gateway's listener with only the settings of `deploy/envoy-gateway`. `/unasked` is a route
/// without the policy.
fn gateway(listener: &mut Listener) {
    listener.unprotected();
    let hcm = listener.hcm();
    client_traffic(hcm);
    let filters = hcm["http_filters"].as_sequence_mut().unwrap();
    let router = filters.pop().unwrap();
    // In Envoy Gateway's order.
    let cors_filter = yaml(
        "{name: envoy.filters.http.cors, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}",
    );
    *filters = vec![cors_filter, ext_authz(), router];
    let rules = listener.routes();
    let mut unasked = rules[0].clone();
    unasked["match"] = yaml("{prefix: /unasked}");
    rules[0]["typed_per_filter_config"][FILTER] = yaml(
        r#"
        "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
        check_settings: {}
        "#,
    );
    rules[0]["typed_per_filter_config"]["envoy.filters.http.cors"] = cors();
    rules.insert(0, unasked);
}

struct Edge {
    envoy: Envoy,
    upstream: Upstream,
    _keyward: Option<Keyward>,
    _closed_port: Port,
    dir: tempfile::TempDir,
}

async fn edge(keyward: Option<Keyward>) -> Edge {
    let upstream = Upstream::start().await;
    let closed_port = Port::reserve();
    let address = match &keyward {
        Some(keyward) => keyward.grpc.clone(),
        None => Address::Tcp(closed_port.address()),
    };
    let dir = tempfile::TempDir::new().unwrap();
    let bootstrap = Bootstrap::new(&address, upstream.address)
        .authz("securitypolicy", std::slice::from_ref(&address), |_| {})
        .listener("gateway", |l| {
            gateway(l);
            l.access_log(&dir.path().join("access.log"));
        })
        .listener("internal", |l| {
            gateway(l);
            l.treat_loopback_as_internal();
        })
        .listener("header-detection", |l| {
            gateway(l);
            // The result of `clientIPDetection.customHeader`.
            l.hcm().insert("use_remote_address".into(), false.into());
        });
    Edge {
        envoy: Envoy::start(&bootstrap).await,
        upstream,
        _keyward: keyward,
        _closed_port: closed_port,
        dir,
    }
}

async fn with_keyward() -> Edge {
    edge(Some(Keyward::start(RULES, &keys_without_plans()).await)).await
}

#[tokio::test]
async fn the_gateway_asks_keyward_and_logs_its_decision() {
    let edge = with_keyward().await;
    let to = edge.envoy.at("gateway");
    let ask = Ask::get("/v1/orders");
    let reply = http1::send(to, &ask).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.problem()["code"], "missing_key");
    // Header names are listed one by one, and must include those that hold a key.
    for name in ["x-api-key", "authorization"] {
        let value = secret("bare");
        let value = match name {
            "authorization" => format!("Bearer {value}"),
            _ => value,
        };
        let reply = http1::send(to, &ask.clone().header(name, &value)).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        let received = edge.upstream.take_one();
        assert_eq!(received.all("x-keyward-client"), ["bare"]);
        assert!(received.all(name).is_empty(), "{received:?}");
    }
    let log = edge.dir.path().join("access.log");
    crate::support::wait::until("the log has the decision", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("\"reason\":\"missing_key\"") && text.contains("\"key_id\":\"bare\"")
    })
    .await;
}

#[tokio::test]
async fn a_forged_identity_does_not_pass_where_keyward_is_not_asked() {
    let edge = with_keyward().await;
    let to = edge.envoy.at("gateway");
    let mut ask = Ask::get("/unasked");
    for name in IDENTITY {
        ask = ask.header(name, "forged");
    }
    let others = spellings("x-keyward-client");
    for spelling in &others {
        ask = ask.header(spelling, "forged");
    }
    let reply = http1::send(to, &ask).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let received = edge.upstream.take_one();
    for name in IDENTITY
        .iter()
        .filter(|name| name.starts_with("x-keyward-"))
    {
        assert!(received.all(name).is_empty(), "{received:?}");
    }
    for spelling in &others {
        assert!(received.all(spelling).is_empty(), "{received:?}");
    }
    let ask = Ask::get("/public/x").header("x_keyward_client", "forged");
    let reply = http1::send(to, &ask).await;
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[tokio::test]
async fn envoy_keyward_and_the_upstream_see_the_same_path() {
    let edge = with_keyward().await;
    let to = edge.envoy.at("gateway");
    for path in [
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/..//admin/x",
        "/%61dmin/x",
    ] {
        let ask = Ask::get(path).key(&secret("bare"));
        let reply = http1::send(to, &ask).await;
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
    }
    let reply = http1::send(to, &Ask::get("/public%2f..%2fadmin/x")).await;
    assert_eq!(reply.status, 307, "{reply:?}");
    assert!(edge.upstream.take().is_empty());
}

#[tokio::test]
async fn a_script_of_a_listed_origin_calls_and_reads_denials() {
    let edge = with_keyward().await;
    a_gateway_serves_scripts(edge.envoy.at("gateway"), &edge.upstream).await;
}

#[tokio::test]
async fn decisions_do_not_use_an_address_that_the_caller_wrote() {
    let config = "client_address: x-envoy-external-address";
    let keys = KeyFile::new()
        .key("away", &secret("away"), &["allow_ips: [10.0.0.0/8]"])
        .key("home", &secret("home"), &["allow_ips: [127.0.0.0/8]"]);
    let edge = edge(Some(Keyward::start(config, &keys).await)).await;
    let ask = |id: &str| Ask::get("/v1/orders").key(&secret(id));
    for listener in ["gateway", "internal", "header-detection"] {
        let forged = ask("away").header("x-envoy-external-address", "10.1.2.3");
        let reply = http1::send(edge.envoy.at(listener), &forged).await;
        assert_eq!(reply.status, 403, "{listener}: {reply:?}");
    }
    let reply = http1::send(edge.envoy.at("gateway"), &ask("home")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn without_keyward_nobody_passes() {
    let edge = edge(None).await;
    let ask = Ask::get("/public/x").key(&secret("bare"));
    let reply = http1::send(edge.envoy.at("gateway"), &ask).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(edge.upstream.take().is_empty());
}
