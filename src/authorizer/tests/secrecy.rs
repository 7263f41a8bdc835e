//! A secret is nowhere to be read but in the request that holds it.

use super::*;
use crate::authz::tests::canary::{LEAK, requests, worlds};

#[test]
fn no_debug_text_and_no_step_shows_a_secret() {
    let mut reasons = BTreeSet::new();
    for world in worlds() {
        let snapshot = world.snapshot(1);
        let authorizer = authorizer(Arc::clone(&snapshot), ManualClock::at(0));
        for request in requests() {
            let attributes = request.attributes();
            let mut trace = Recorded::default();
            let decision = ready(authorizer.decide(&attributes, &snapshot, &mut trace));
            reasons.insert(decision.reason().as_str());
            let found = snapshot.policy.credentials.find(&attributes);
            let mut texts = vec![
                format!("{attributes:?} {attributes:#?}"),
                format!("{:?}", attributes.headers),
                format!("{found:?} {found:#?}"),
                format!("{decision:?} {decision:#?}"),
                format!("{snapshot:?}"),
            ];
            texts.extend(trace.0);
            for text in texts {
                assert!(!text.contains(LEAK), "{request:?} tells: {text}");
            }
        }
    }
    let wanted = [
        "allowed",
        "ambiguous_key",
        "key_expired",
        "malformed_key",
        "missing_key",
        "public",
        "unknown_key",
    ];
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), wanted);
}
