//! A secret that shows wherever it is told, and requests and worlds that hold it.

use super::naive::{NaivePlace, NaiveRequest, World, key, request, world};

/// What is searched for is a part of it, for its ends may be cut off.
pub(crate) const LEAK: &str = "7f3a_SECRET";

const CANARY: &str = "Canary-7f3a_SECRET";

/// Requests that hold the canary in every place, alone and together.
pub(crate) fn requests() -> Vec<NaiveRequest> {
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

pub(crate) fn worlds() -> Vec<World> {
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
