//! A secret is nowhere to be read but in the request that holds it.

use super::naive::{NaivePlace, NaiveRequest, World, key, request, world};
use super::*;

const CANARY: &str = "Canary-7f3a_SECRET";

/// Requests that hold the canary in every place, alone and together.
fn requests() -> Vec<NaiveRequest> {
    let bearer = format!("Bearer {CANARY}");
    let cookie = format!("a=1; api_key={CANARY}; b={CANARY}");
    let double = format!("{CANARY},{CANARY}2");
    let spaced = format!("{CANARY} x");
    let plain: [(&str, &str); 7] = [
        ("x-api-key", CANARY),
        ("authorization", &bearer),
        ("authorization", CANARY),
        ("cookie", &cookie),
        ("x-api-key", &double),
        ("x-api-key", &spaced),
        ("x-other", CANARY),
    ];
    let mut requests: Vec<NaiveRequest> = plain.iter().map(|line| request(&[*line])).collect();
    requests.push(request(&plain));
    for target in [
        format!("/a?api_key={CANARY}"),
        format!("/a;b?x={CANARY}&api_key=%4{CANARY}"),
    ] {
        requests.push(NaiveRequest {
            target: target.into_bytes(),
            ..request(&[])
        });
    }
    requests
}

fn worlds() -> Vec<World> {
    let mut known = world(vec![key("k1", CANARY)]);
    known
        .places
        .extend([NaivePlace::Query("api_key"), NaivePlace::Cookie("api_key")]);
    let mut unknown = known.clone();
    unknown.keys.clear();
    let mut expired = known.clone();
    expired.keys[0].until = Some(-1);
    let mut public = known.clone();
    public.default = "allow-anyone";
    let mut worlds = vec![known, unknown, expired, public];
    let observing: Vec<World> = worlds
        .iter()
        .map(|world| World {
            observe: true,
            ..world.clone()
        })
        .collect();
    worlds.extend(observing);
    worlds
}

#[test]
fn no_debug_text_and_no_trace_tells_a_secret() {
    let mut reasons = BTreeSet::new();
    for world in worlds() {
        let snapshot = world.snapshot(1);
        let authorizer = authorizer(Arc::clone(&snapshot), Standing::at(0));
        for request in requests() {
            let attributes = request.attributes();
            let mut trace = Listening::default();
            let decision = ready(authorizer.decide(&attributes, &snapshot, &mut trace));
            reasons.insert(decision.reason().as_str());
            let found = snapshot.policy.credentials.find(&attributes);
            let mut told = vec![
                format!("{attributes:?} {attributes:#?}"),
                format!("{:?}", attributes.headers),
                format!("{found:?} {found:#?}"),
                format!("{decision:?} {decision:#?}"),
                format!("{snapshot:?}"),
            ];
            told.extend(trace.0.into_iter().map(|(_, _, seen)| seen));
            for text in told {
                assert!(!text.contains("7f3a_SECRET"), "{request:?} tells: {text}");
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
