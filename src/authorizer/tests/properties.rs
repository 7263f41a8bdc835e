//! What holds of every configuration, key and request.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::naive::{NaiveRequest, World};
use super::*;
use crate::authz::tests::{inputs, shuffled};

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

/// The pipeline and the oracle say the same of a request.
fn agree(world: &World, request: &NaiveRequest) -> Result<&'static str, TestCaseError> {
    let expected = oracle::decide(world, request, 0);
    let decided = outcome(world, request);
    let allowed = matches!(expected.reason, "allowed" | "public");

    prop_assert_eq!(decided.reason, expected.reason);
    prop_assert_eq!(decided.kind, if allowed { "allow" } else { "deny" });
    prop_assert_eq!(decided.allowed, allowed || world.observe);
    prop_assert_eq!(&decided.key, &expected.key);
    if expected.rule.is_some() {
        prop_assert_eq!(&decided.rule, &expected.rule);
    }

    let key = world
        .keys
        .iter()
        .find(|key| Some(&key.id) == expected.key.as_ref());
    let identity = match key {
        Some(key) if expected.reason == "allowed" => oracle::identity(world, key),
        _ => vec![],
    };
    prop_assert_eq!(&decided.identity, &identity);
    Ok(expected.reason)
}

/// Each decision in both shapes that Envoy sends headers in.
fn agree_in_both_shapes(
    world: &World,
    request: &NaiveRequest,
) -> Result<&'static str, TestCaseError> {
    let reason = agree(world, request)?;
    prop_assert_eq!(agree(world, &request.joined())?, reason);
    Ok(reason)
}

#[test]
fn random_requests_reach_every_reason() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeMap::<&str, u32>::new();
    for _ in 0..500 {
        let (world, requests) = inputs().new_tree(&mut runner).unwrap().current();
        for request in requests {
            let expected = oracle::decide(&world, &request, 0);
            *reached.entry(expected.reason).or_default() += 1;
        }
    }
    for reason in [
        "public",
        "missing_key",
        "ambiguous_key",
        "malformed_key",
        "unknown_key",
        "key_revoked",
        "key_disabled",
        "key_not_yet_valid",
        "key_expired",
        "malformed_path",
        "route_denied",
        "ip_not_allowed",
        "route_not_allowed",
        "client_not_allowed",
        "insufficient_scope",
        "allowed",
    ] {
        assert!(
            reached.get(reason).is_some_and(|count| *count >= 8),
            "{reason}: {reached:?}"
        );
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn the_pipeline_decides_as_the_oracle_does((world, requests) in inputs()) {
        for request in requests {
            agree_in_both_shapes(&world, &request)?;
        }
    }

    #[test]
    fn the_order_of_header_lines_decides_nothing(world in random::worlds(), (one, other) in shuffled()) {
        let (one, other) = (outcome(&world, &one), outcome(&world, &other));
        prop_assert_eq!(one.reason, other.reason);
        prop_assert_eq!(one.key, other.key);
        prop_assert_eq!(one.rule, other.rule);
        prop_assert_eq!(one.identity, other.identity);
    }

    #[test]
    fn observe_mode_allows_everything_and_sets_no_identity_of_a_key_that_did_not_pass(
        (world, requests) in inputs(),
    ) {
        let request = requests[0].clone();
        let enforcing = outcome(&World { observe: false, ..world.clone() }, &request);
        let observing = outcome(&World { observe: true, ..world }, &request);
        prop_assert!(observing.allowed);
        prop_assert_eq!(observing.reason, enforcing.reason);
        prop_assert_eq!(&observing.key, &enforcing.key);
        if enforcing.reason != "allowed" {
            prop_assert!(observing.identity.is_empty());
        }
    }

    #[test]
    fn any_bytes_get_a_decision(
        world in random::worlds(),
        (method, host, target, scheme, rule) in any::<(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>)>(),
        slash in any::<bool>(),
        lines in proptest::collection::vec(
            (prop::sample::select(vec!["x-api-key", "authorization", "cookie", "x-envoy-external-address", "\u{fffd}", ""]),
             any::<Vec<u8>>()), 0..6),
        peer in any::<Option<std::net::IpAddr>>(),
    ) {
        let target = if slash { [b"/".to_vec(), target].concat() } else { target };
        let snapshot = world.snapshot(1);
        let authorizer = authorizer(Arc::clone(&snapshot), ManualClock::at(0));
        let request = RequestAttributes {
            method: &method,
            host: &host,
            target: &target,
            scheme: &scheme,
            headers: lines.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect(),
            peer,
            rule: rule.as_deref(),
        };
        let mut trace = Recorded::default();
        let decision = ready(authorizer.decide(&request, &snapshot, &mut trace));
        if decision.reason().as_str() == "allowed" {
            prop_assert!(decision.key().is_some());
        }
        prop_assert!(decision.refusal().is_none_or(|refusal| !refusal.sentence().is_empty()));
        prop_assert!(!trace.0.is_empty());
    }
}
