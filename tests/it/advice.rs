//! What a caller is told about where a key belongs, and what an operator is told about how keys
//! were presented.

use crate::support::caller::as_grpc;
use crate::support::message::{Ask, Reply};
use crate::support::scene::{self, secret};
use crate::support::stack::{SHAPES, Stack, both_shapes_unprotected};
use crate::support::{http1, http2};

async fn stack(config: &str) -> Stack {
    Stack::start(config, &scene::keys(), both_shapes_unprotected).await
}

fn detail(reply: &Reply) -> String {
    reply.problem()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_caller_learns_where_a_key_belongs_from_the_configuration_alone() {
    let defaults = "plans: {gold: {}}\n";
    let prefixed = "plans: {gold: {}}\ncredentials: [{header: x-my-key, prefix: kw_}, {query: k}, {cookie: c}]\n";
    for (config, advice, advice_grpc) in [
        (
            defaults,
            "Send the API key as `x-api-key: KEY` or `Authorization: Bearer KEY`.",
            "send it as `x-api-key: KEY` or `Authorization: Bearer KEY`.",
        ),
        (
            prefixed,
            "Send the API key as `x-my-key: KEY` (KEY begins with `kw_`), `?k=KEY` or `Cookie: c=KEY`.",
            "send it as `x-my-key: KEY` (KEY begins with `kw_`).",
        ),
    ] {
        let stack = stack(config).await;
        let header = if config == defaults { "x-api-key" } else { "c" };
        let malformed = "canary".repeat(100);
        let filled = match header {
            "c" => ("cookie".to_owned(), format!("c={malformed}")),
            other => (other.to_owned(), malformed),
        };
        for shape in SHAPES {
            let to = stack.envoy.at(shape);
            let missing = Ask::get("/v1?canary=1").header("x-canary", "canary");
            let reply = http1::send(to, &missing).await;
            assert_eq!(detail(&reply), format!("An API key is required. {advice}"));
            let malformed = missing.header(&filled.0, &filled.1);
            let reply = http1::send(to, &malformed).await;
            assert_eq!(
                detail(&reply),
                format!("The API key is malformed. {advice}")
            );
            assert!(!format!("{reply:?}").contains("canary"), "{reply:?}");

            let call = as_grpc(&Ask::new("POST", "/pkg.Service/Call"));
            let reply = http2::send(to, &call).await;
            assert_eq!(reply.grpc_status(), Some("16"), "{reply:?}");
            let message = reply.grpc_message().unwrap();
            assert_eq!(message, format!("An API key is required: {advice_grpc}"));
            let reply = http2::send(to, &call.header(&filled.0, &filled.1)).await;
            let message = reply.grpc_message().unwrap();
            assert_eq!(message, format!("The API key is malformed: {advice_grpc}"));
        }
        // A caller who could not use the advice gets the old text.
        let unknown = http1::send(
            stack.envoy.at("headers"),
            &Ask::get("/v1").header("x-my-key", "kw_no").key("no"),
        )
        .await;
        assert_eq!(detail(&unknown), "The API key is not known.");
    }
}

#[tokio::test]
async fn the_log_names_the_locations_of_an_ambiguous_request_and_no_value() {
    let stack = stack(scene::CONFIG).await;
    let (a, b) = (secret("full"), secret("bare"));
    let twice = Ask::get("/v1").key(&a).key(&a);
    let differing = Ask::get(&format!("/v1?api_key={b}"))
        .key(&a)
        .header("cookie", &format!("api_key={b}"));
    for (id, ask, places) in [
        ("twice", twice, vec!["x-api-key"]),
        (
            "differing",
            differing,
            vec!["x-api-key", "query:api_key", "cookie:api_key"],
        ),
    ] {
        http1::send(stack.envoy.at("headers"), &ask.id(id)).await;
        let decision = stack.keyward.decision_of(id).await;
        assert_eq!(decision["reason"], "ambiguous_key");
        assert_eq!(decision["places"], serde_json::json!(places), "{decision}");
        let line = decision.to_string();
        assert!(!line.contains(&a) && !line.contains(&b), "{line}");
    }
    let unknown = Ask::get("/v1").key("made-up").id("unknown");
    http1::send(stack.envoy.at("headers"), &unknown).await;
    let decision = stack.keyward.decision_of("unknown").await;
    assert!(decision.get("places").is_none(), "{decision}");
}

#[tokio::test]
async fn the_log_hints_at_a_scheme_in_the_wrong_place() {
    let stack = stack(scene::CONFIG).await;
    let a = secret("bare");
    for (id, name, value, hint) in [
        (
            "scheme",
            "x-api-key",
            format!("Bearer {a}"),
            "header x-api-key has the scheme Bearer before the key, where the key stands alone",
        ),
        (
            "bare",
            "authorization",
            a.clone(),
            "header authorization has no scheme Bearer in front",
        ),
    ] {
        let ask = Ask::get("/v1").header(name, &value).id(id);
        let reply = http1::send(stack.envoy.at("headers"), &ask).await;
        assert_eq!(reply.status, 401);
        let decision = stack.keyward.decision_of(id).await;
        assert_eq!(decision["hint"], hint, "{decision}");
        assert!(!decision.to_string().contains(&a), "{decision}");
    }
}
