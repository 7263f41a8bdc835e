//! `deploy/istio` on a real Envoy. There is no istiod and no cluster, so the test builds the
//! listener that istiod would generate from these files, following istiod's own tests of the
//! `ext_authz` filter. `custom_resources` checks the names of fields; this checks that the result
//! protects what it should.

use serde_yaml::{Mapping, Value};
use tempfile::TempDir;

use crate::support::bootstrap::{Bootstrap, Listener, yaml};
use crate::support::browser::Browser;
use crate::support::envoy::Envoy;
use crate::support::http1;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::{Address, Keyward, lay_over};
use crate::support::message::Ask;
use crate::support::port::Port;
use crate::support::scene::{IDENTITY, keys_without_plans, secret, spellings};
use crate::support::upstream::Upstream;

use super::deployed;
use super::envoy::browsers::a_gateway_serves_scripts;

mod losses;

const RULES: &str = r#"
rules:
  - {name: open, match: {paths: ["/public/**"]}, allow: anyone}
  - {name: admin, match: {paths: ["/admin/**"]}, allow: nobody}
  - {name: opened, match: {hosts: [open.example.com]}, allow: anyone}
"#;

fn provider() -> Value {
    let values = deployed("istio/istiod-values.yaml").remove(0);
    let providers = values["meshConfig"]["extensionProviders"].clone();
    providers.as_sequence().unwrap()[0].clone()
}

/// Istio's path normalisation, as options of Envoy.
fn normalise(hcm: &mut Mapping) {
    let values = deployed("istio/istiod-values.yaml").remove(0);
    let normalization = &values["meshConfig"]["pathNormalization"]["normalization"];
    let (merge, decode) = match normalization.as_str() {
        Some("DECODE_AND_MERGE_SLASHES") => (true, "UNESCAPE_AND_FORWARD"),
        Some("MERGE_SLASHES") => (true, "KEEP_UNCHANGED"),
        _ => (false, "KEEP_UNCHANGED"),
    };
    hcm.insert("normalize_path".into(), true.into());
    hcm.insert("merge_slashes".into(), merge.into());
    hcm.insert("path_with_escaped_slashes_action".into(), decode.into());
}

fn cluster() -> String {
    let grpc = &provider()["envoyExtAuthzGrpc"];
    let (service, port) = (&grpc["service"], &grpc["port"]);
    format!(
        "outbound|{}||{}",
        port.as_u64().unwrap(),
        service.as_str().unwrap()
    )
}

/// The filters that istiod generates for a CUSTOM policy: one that marks what its rules match, and
/// `ext_authz` for what is marked.
fn generated() -> (Value, Value) {
    let policy = deployed("istio/authorization-policy.yaml").remove(0);
    assert_eq!(policy["spec"]["action"], "CUSTOM");
    assert_eq!(policy["spec"]["provider"]["name"], provider()["name"]);
    assert_eq!(policy["spec"]["rules"], yaml("[{}]"), "every request");
    let mark = yaml(
        r#"
        name: envoy.filters.http.rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          shadow_rules_stat_prefix: istio_ext_authz_
          shadow_rules:
            action: DENY
            policies:
              istio-ext-authz-ns[istio-ingress]-policy[keyward]-rule[0]:
                permissions: [{any: true}]
                principals: [{any: true}]
        "#,
    );
    let mut ask = yaml(
        r#"
        name: envoy.filters.http.ext_authz
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
          transport_api_version: V3
          filter_enabled_metadata:
            filter: envoy.filters.http.rbac
            path: [{key: istio_ext_authz_shadow_effective_policy_id}]
            value: {string_match: {prefix: istio-ext-authz}}
        "#,
    );
    let grpc = &provider()["envoyExtAuthzGrpc"];
    let config = &mut ask["typed_config"];
    config["grpc_service"] = yaml("{envoy_grpc: {}}");
    config["grpc_service"]["envoy_grpc"]["cluster_name"] = cluster().into();
    config["grpc_service"]["envoy_grpc"]["authority"] = grpc["service"].clone();
    config["grpc_service"]["timeout"] = grpc["timeout"].clone();
    config["failure_mode_allow"] = grpc["failOpen"].clone();
    let status: u64 = grpc["statusOnError"].as_str().unwrap().parse().unwrap();
    config["status_on_error"]["code"] = status.into();
    (mark, ask)
}

/// Applies the patches of the `EnvoyFilter` to a gateway's listener.
fn patch(listener: &mut Listener) {
    let filter = deployed("istio/envoy-filter.yaml").remove(0);
    let patches = filter["spec"]["configPatches"].as_sequence().unwrap();
    assert_eq!(patches.len(), 5);
    for one in patches.iter().filter(|one| one["applyTo"] != "CLUSTER") {
        let value = one["patch"]["value"].clone();
        let operation = one["patch"]["operation"].as_str().unwrap();
        let hcm = listener.hcm();
        match (one["applyTo"].as_str().unwrap(), operation) {
            ("HTTP_FILTER", "INSERT_FIRST") => {
                let filters = hcm["http_filters"].as_sequence_mut().unwrap();
                filters.insert(0, value);
            }
            ("HTTP_FILTER", "MERGE") => {
                let filters = hcm["http_filters"].as_sequence_mut().unwrap();
                let found = filters.iter_mut().find(|f| f["name"] == value["name"]);
                lay_over(found.unwrap(), value);
            }
            ("NETWORK_FILTER", "MERGE") => {
                let mut whole: Value = hcm.clone().into();
                lay_over(&mut whole, value["typed_config"].clone());
                *hcm = whole.as_mapping().unwrap().clone();
            }
            other => panic!("{other:?} is new to this test"),
        }
    }
}

/// keyward's cluster as istiod generates it for a Service with a gRPC port, as far as it matters
/// here, and optionally patched.
fn patch_cluster(cluster: &mut Value, patched: bool) {
    for name in ["health_checks", "common_lb_config"] {
        cluster.as_mapping_mut().unwrap().remove(name);
    }
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"][options]["explicit_http_config"] =
        yaml("{http2_protocol_options: {}}");
    let filter = deployed("istio/envoy-filter.yaml").remove(0);
    let all = filter["spec"]["configPatches"].as_sequence().unwrap();
    let one = all.iter().find(|one| one["applyTo"] == "CLUSTER");
    let one = one.unwrap();
    let grpc = &provider()["envoyExtAuthzGrpc"];
    assert_eq!(one["match"]["cluster"]["service"], grpc["service"]);
    assert_eq!(one["match"]["cluster"]["portNumber"], grpc["port"]);
    assert_eq!(one["patch"]["operation"], "MERGE");
    if patched {
        lay_over(cluster, one["patch"]["value"].clone());
    }
}

/// The `corsPolicy` of a route, as istiod writes it for Envoy.
fn cors(listener: &mut Listener) {
    let service = deployed("istio/cors.yaml").remove(0);
    let policy = &service["spec"]["http"][0]["corsPolicy"];
    let joined = |name: &str| -> Value {
        let items = policy[name].as_sequence().unwrap().iter();
        let items: Vec<&str> = items.map(|item| item.as_str().unwrap()).collect();
        items.join(",").into()
    };
    let mut made =
        yaml("{\"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy}");
    made["allow_origin_string_match"] = policy["allowOrigins"].clone();
    made["allow_methods"] = joined("allowMethods");
    made["allow_headers"] = joined("allowHeaders");
    made["expose_headers"] = joined("exposeHeaders");
    made["max_age"] = policy["maxAge"]
        .as_str()
        .unwrap()
        .trim_end_matches('s')
        .into();
    let forward = policy["unmatchedPreflights"] == "FORWARD";
    made["forward_not_matching_preflights"] = forward.into();
    listener.routes()[0]["typed_per_filter_config"]["envoy.filters.http.cors"] = made;
}

/// A gateway's listener with only the settings of `deploy/istio`.
fn gateway(listener: &mut Listener, patched: bool) {
    listener.unprotected();
    let (mark, ask) = generated();
    let hcm = listener.hcm();
    let filters = hcm["http_filters"].as_sequence_mut().unwrap();
    let router = filters.pop().unwrap();
    let own_cors = yaml(
        "{name: envoy.filters.http.cors, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}",
    );
    *filters = vec![mark, ask, own_cors, router];
    normalise(hcm);
    cors(listener);
    if patched {
        patch(listener);
    }
}

struct Mesh {
    envoy: Envoy,
    upstream: Upstream,
    _keyward: Option<Keyward>,
    _closed_port: Port,
}

/// `gateway` has all settings of the files; `unpatched` lacks the `EnvoyFilter`; on `unasked`,
/// `ext_authz` is off.
async fn mesh(keyward: Option<Keyward>) -> Mesh {
    let upstream = Upstream::start().await;
    let closed_port = Port::reserve();
    let address = match &keyward {
        Some(keyward) => keyward.grpc.clone(),
        None => Address::Tcp(closed_port.address()),
    };
    let bootstrap = Bootstrap::new(&address, upstream.address)
        .authz(&cluster(), std::slice::from_ref(&address), |cluster| {
            patch_cluster(cluster, true);
        })
        .listener("gateway", |l| gateway(l, true))
        .listener("unpatched", |l| gateway(l, false))
        .listener("unasked", |l| {
            gateway(l, true);
            l.route("{prefix: /}", "{disabled: true}");
        })
        .listener("internal", |l| {
            gateway(l, true);
            l.treat_loopback_as_internal();
        })
        .listener("unpatched-internal", |l| {
            gateway(l, false);
            l.treat_loopback_as_internal();
        });
    Mesh {
        envoy: Envoy::start(&bootstrap).await,
        upstream,
        _keyward: keyward,
        _closed_port: closed_port,
    }
}

async fn with_keyward() -> Mesh {
    mesh(Some(Keyward::start(RULES, &keys_without_plans()).await)).await
}

#[tokio::test]
async fn the_gateway_asks_keyward_about_every_request() {
    let mesh = with_keyward().await;
    for listener in ["gateway", "unpatched"] {
        let to = mesh.envoy.at(listener);
        let ask = Ask::get("/v1/orders");
        let reply = http1::send(to, &ask).await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.problem()["code"], "missing_key");
        let reply = http1::send(to, &ask.key(&secret("bare"))).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let received = mesh.upstream.take_one();
        assert_eq!(received.all("x-keyward-client"), ["bare"]);
        assert!(received.all("x-api-key").is_empty());
        // keyward decides what needs no key, not the policy.
        let reply = http1::send(to, &Ask::get("/public/x")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        mesh.upstream.take();
    }
}

#[tokio::test]
async fn a_forged_identity_does_not_pass_where_keyward_is_not_asked() {
    let mesh = with_keyward().await;
    let mut ask = Ask::get("/v1/orders");
    for name in IDENTITY {
        ask = ask.header(name, "forged");
    }
    let others = spellings("x-keyward-client");
    for spelling in &others {
        ask = ask.header(spelling, "forged");
    }
    let reply = http1::send(mesh.envoy.at("unasked"), &ask).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let received = mesh.upstream.take_one();
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
    let reply = http1::send(mesh.envoy.at("gateway"), &ask).await;
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[tokio::test]
async fn envoy_keyward_and_the_upstream_see_the_same_path_and_host() {
    let mesh = with_keyward().await;
    let to = mesh.envoy.at("gateway");
    for path in [
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/..//admin/x",
        "/public%2f..%2fadmin/x",
        "/%61dmin/x",
    ] {
        let ask = Ask::get(path).key(&secret("bare"));
        let reply = http1::send(to, &ask).await;
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
        assert!(mesh.upstream.take().is_empty(), "{path}");
    }
    // Rules that allow compare hosts as sent; here they arrive without port and trailing dot.
    for host in [
        "open.example.com",
        "open.example.com:1",
        "open.example.com.",
    ] {
        let reply = http1::send(to, &Ask::get("/x").host(host)).await;
        assert_eq!(reply.status, 200, "{host}: {reply:?}");
    }
}

#[tokio::test]
async fn a_script_of_a_listed_origin_calls_and_reads_denials() {
    let mesh = with_keyward().await;
    a_gateway_serves_scripts(mesh.envoy.at("gateway"), &mesh.upstream).await;
    // With only Istio's own filter.
    let unpatched = Browser::of("https://app.example.com", mesh.envoy.at("unpatched"));
    let with_key = Ask::get("/v1/orders").key(&secret("bare"));
    assert!(unpatched.fetch(&with_key).await.is_err());
    assert!(mesh.upstream.take().is_empty());
}

#[tokio::test]
async fn decisions_do_not_use_an_address_that_the_caller_wrote() {
    let config = "client_address: x-envoy-external-address";
    let keys = KeyFile::new().key("away", &secret("away"), &["allow_ips: [10.0.0.0/8]"]);
    let mesh = mesh(Some(Keyward::start(config, &keys).await)).await;
    let forged = Ask::get("/v1/orders").key(&secret("away"));
    let forged = forged.header("x-envoy-external-address", "10.1.2.3");
    for (listener, status) in [("internal", 403), ("unpatched-internal", 200)] {
        let reply = http1::send(mesh.envoy.at(listener), &forged).await;
        assert_eq!(reply.status, status, "{listener}: {reply:?}");
    }
}

#[tokio::test]
async fn without_keyward_nobody_passes() {
    let mesh = mesh(None).await;
    for listener in ["gateway", "unpatched"] {
        let ask = Ask::get("/public/x").key(&secret("bare"));
        let reply = http1::send(mesh.envoy.at(listener), &ask).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(mesh.upstream.take().is_empty());
    }
}

#[tokio::test]
async fn the_commented_setting_for_mcp_is_valid_too() {
    let path = super::path("istio/istiod-values.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let with_body = text.replace("# includeRequestBodyInCheck", "includeRequestBodyInCheck");
    assert_ne!(text, with_body);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("values.yaml");
    std::fs::write(&file, with_body).unwrap();
    let verdict = crate::support::crds::check(&[file]);
    assert!(verdict.all_well, "{:#?}", verdict.lines);
}
