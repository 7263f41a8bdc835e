//! Validity is judged at each request, and a check sees one configuration, whatever is put in force
//! meanwhile.

use super::naive::{NaiveSecret, key, request, world};
use super::*;

#[test]
fn a_cached_key_is_checked_against_the_clock_at_each_request() {
    let mut one = key("k1", "KA");
    (one.from, one.until, one.revoked) = (Some(10), Some(20), Some(30));
    let snapshot = world(vec![one]).snapshot(1);
    let clock = ManualClock::at(0);
    let authorizer = authorizer(Arc::clone(&snapshot), Arc::clone(&clock));
    let request = request(&[("x-api-key", "KA")]);
    let request = request.attributes();
    for (offset, reason) in [
        (9, "key_not_yet_valid"),
        (10, "allowed"),
        (19, "allowed"),
        (20, "key_expired"),
        (29, "key_expired"),
        (30, "key_revoked"),
        (19, "allowed"),
    ] {
        clock.move_to(offset);
        let decision = ready(authorizer.decide(&request, &snapshot, &mut NoTrace));
        assert_eq!(decision.reason().as_str(), reason, "at {offset}");
    }
}

#[test]
fn each_secret_of_a_key_has_its_own_validity_within_the_keys() {
    let mut one = key("k1", "KA");
    (one.from, one.until) = (Some(-50), Some(50));
    let secret = |text: &str, from, until| NaiveSecret {
        keyed: false,
        text: text.to_owned(),
        from,
        until,
    };
    one.secrets = vec![
        secret("old", Some(-99), Some(0)),
        secret("new", Some(-10), Some(99)),
        secret("next", Some(1), None),
    ];
    let world = world(vec![one]);
    for (text, reason, moment) in [
        ("old", "key_expired", Some(0)),
        ("new", "allowed", None),
        ("next", "key_not_yet_valid", Some(1)),
    ] {
        let outcome = outcome(&world, &request(&[("x-api-key", text)]));
        assert_eq!(outcome.reason, reason, "{text}");
        assert_eq!(outcome.moment, moment.map(naive::moment), "{text}");
    }
}

#[test]
fn a_reload_holds_from_the_next_check_on_and_a_check_under_way_keeps_its_own() {
    let first = world(vec![key("k1", "KA")]).snapshot(1);
    let mut second = world(vec![key("k2", "KA")]);
    second.default = "deny";
    let authorizer = authorizer(first, ManualClock::at(0));
    let request = request(&[("x-api-key", "KA")]);
    let attributes = request.attributes();

    let taken = authorizer.snapshot();
    let mut trace = NoTrace;
    let under_way = authorizer.decide(&attributes, &taken, &mut trace);
    authorizer.install(second.snapshot(2));
    let decision = outcome_of(&ready(under_way), &taken);
    assert_eq!(
        (decision.reason, decision.key.as_deref()),
        ("allowed", Some("k1"))
    );

    let next = authorizer.snapshot();
    let decision = outcome_of(
        &ready(authorizer.decide(&attributes, &next, &mut NoTrace)),
        &next,
    );
    assert_eq!(
        (decision.reason, decision.key.as_deref()),
        ("route_denied", Some("k2"))
    );

    // A straggler that still holds the first one is decided by it, and does not spoil what the
    // second prepared.
    let late = outcome_of(
        &ready(authorizer.decide(&attributes, &taken, &mut NoTrace)),
        &taken,
    );
    assert_eq!((late.reason, late.key.as_deref()), ("allowed", Some("k1")));
    let again = outcome_of(
        &ready(authorizer.decide(&attributes, &next, &mut NoTrace)),
        &next,
    );
    assert_eq!(
        (again.reason, again.key.as_deref()),
        ("route_denied", Some("k2"))
    );
}

#[test]
fn what_was_prepared_under_another_generation_is_not_used() {
    let world = world(vec![key("k1", "KA")]);
    let authorizer = authorizer(world.snapshot(1), ManualClock::at(0));
    let request = request(&[("x-api-key", "KA")]);
    let attributes = request.attributes();
    for generation in [1, 2, 2, 3, 1] {
        let snapshot = world.snapshot(generation);
        let decision = ready(authorizer.decide(&attributes, &snapshot, &mut NoTrace));
        let prepared = decision.key().map(|key| (key.prepared, key.generation.0));
        assert_eq!(prepared, Some((generation, generation)));
    }
}

#[test]
fn a_removed_key_and_a_removed_secret_are_unknown_after_a_reload() {
    let authorizer = authorizer(world(vec![key("k1", "KA")]).snapshot(1), ManualClock::at(0));
    let request = request(&[("x-api-key", "KA")]);
    let attributes = request.attributes();
    let reason = || {
        let snapshot = authorizer.snapshot();
        let decision = ready(authorizer.decide(&attributes, &snapshot, &mut NoTrace));
        decision.reason().as_str()
    };
    assert_eq!(reason(), "allowed");
    authorizer.install(world(vec![key("k1", "KB")]).snapshot(2));
    assert_eq!(reason(), "unknown_key");
    authorizer.install(world(vec![]).snapshot(3));
    assert_eq!(reason(), "unknown_key");
}
