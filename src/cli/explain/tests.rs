//! What `explain` says of a decision, and what it never shows.

use std::sync::Arc;

use super::hints::ambiguity;
use super::*;
use crate::authorizer::tests::of_file;
use crate::authz::credential::tests::{places, request};
use crate::authz::tests::canary::{LEAK, requests, worlds};

#[test]
fn the_places_of_an_ambiguous_request_are_named_without_their_values() {
    let places = places();
    let all = [
        ("x-api-key", "KA"),
        ("authorization", "Bearer KB"),
        ("cookie", "api_key=KC"),
    ];
    let cases: &[(&str, &[(&str, &str)], &str)] = &[
        (
            "/",
            &[("x-api-key", "KA"), ("cookie", "api_key=KB")],
            "x-api-key and cookie:api_key are both filled, and differ",
        ),
        (
            "/?api_key=KD",
            &all,
            "x-api-key, authorization, query:api_key and cookie:api_key are all filled, and differ",
        ),
        (
            "/",
            &[("x-api-key", "KA,KB"), ("authorization", "Basic KA")],
            "x-api-key is filled twice, a comma in a header counting as two",
        ),
        (
            "/?api_key=KA&api_key=KB",
            &[("x-api-key", "KC")],
            "query:api_key is filled twice",
        ),
    ];
    for (target, lines, expected) in cases {
        let request = request(target, lines);
        assert_eq!(places.find(&request).err(), Some(Reason::AmbiguousKey));
        assert_eq!(ambiguity(&places, &request), *expected);
    }
}

#[tokio::test]
async fn no_step_shows_a_secret() {
    for world in worlds() {
        let snapshot = world.snapshot(1);
        let clock = Arc::new(SystemClock::new());
        let authorizer = of_file(Arc::clone(&snapshot), clock, |_, _| ());
        for request in requests() {
            let attributes = request.attributes();
            let wording = Wording {
                request: &attributes,
                policy: &snapshot.policy,
            };
            let mut explanation = Explanation {
                wording,
                steps: Vec::new(),
            };
            let decided = authorizer.decide(&attributes, &snapshot, &mut explanation);
            decided.await;
            assert!(!explanation.steps.is_empty());
            for step in explanation.steps {
                assert!(
                    !step.seen.contains(LEAK),
                    "{request:?} tells: {}",
                    step.seen
                );
            }
        }
    }
}
