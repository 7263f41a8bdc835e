//! An oracle of what decides and what an allowed request loses, and random inputs for it.
//!
//! `naive` is the data, `oracle`, `losses` and `texts` read it on their own, `random` and `callers`
//! make it up. The pipeline and the answer are held to it, each in its own tests.

use proptest::prelude::*;

pub(crate) mod callers;
pub(crate) mod canary;
pub(crate) mod losses;
pub(crate) mod naive;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod texts;

/// Random worlds with a few requests that know their keys.
pub(crate) fn inputs() -> impl Strategy<Value = (naive::World, Vec<naive::NaiveRequest>)> {
    let presentations = proptest::collection::vec(callers::presentations(), 4);
    (random::worlds(), presentations).prop_map(|(world, presentations)| {
        let requests = presentations
            .into_iter()
            .map(|(request, wish)| callers::presenting(&world, request, wish))
            .collect();
        (world, requests)
    })
}

/// A request, and the same with its header lines in another order.
pub(crate) fn shuffled() -> impl Strategy<Value = (naive::NaiveRequest, naive::NaiveRequest)> {
    callers::requests().prop_flat_map(|request| {
        let lines = Just(request.lines.clone()).prop_shuffle();
        (Just(request), lines).prop_map(|(request, lines)| {
            let other = naive::NaiveRequest {
                lines,
                ..request.clone()
            };
            (request, other)
        })
    })
}
