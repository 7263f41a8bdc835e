//! Which entries are valid after which changes.

use super::*;
use crate::authz::key::tests::digest_of;
use crate::clock::SystemClock;

fn log(source_pushes: bool) -> InvalidationLog {
    InvalidationLog::new("redis", source_pushes, Arc::new(SystemClock::new()))
}

fn validity(log: &InvalidationLog, version: Version, id: &str) -> EntryValidity {
    let buckets = [log.bucket_of_id(id), log.bucket_of_digest(&digest_of(id))];
    log.validity(version, buckets)
}

/// An id in another bucket than both of `a`'s.
fn other(log: &InvalidationLog) -> String {
    let of_a = [
        log.bucket_of_id("a").0,
        log.bucket_of_digest(&digest_of("a")).0,
    ];
    let buckets = |id: &String| {
        [
            log.bucket_of_id(id).0,
            log.bucket_of_digest(&digest_of(id)).0,
        ]
    };
    (0..1000)
        .map(|number| format!("other-{number}"))
        .find(|id| buckets(id).iter().all(|bucket| !of_a.contains(bucket)))
        .unwrap()
}

type Event = fn(&InvalidationLog);

#[test]
fn only_entries_from_after_a_change_are_valid() {
    let log = log(false);
    let other = other(&log);
    let events: [(&str, Event, EntryValidity, EntryValidity); 4] = [
        (
            "the key",
            |p| p.key_changed("a"),
            EntryValidity::Outdated,
            EntryValidity::Valid,
        ),
        (
            "the digest",
            |p| p.digest_changed(&digest_of("a")),
            EntryValidity::Outdated,
            EntryValidity::Valid,
        ),
        (
            "all",
            InvalidationLog::all_changed,
            EntryValidity::Outdated,
            EntryValidity::Outdated,
        ),
        (
            "an order to revalidate",
            |p| p.revalidate_all(),
            EntryValidity::Revalidate,
            EntryValidity::Revalidate,
        ),
    ];
    for (name, event, of_it, of_another) in events {
        let before = log.version();
        assert_eq!(validity(&log, before, "a"), EntryValidity::Valid, "{name}");
        event(&log);
        assert_eq!(validity(&log, before, "a"), of_it, "{name}");
        assert_eq!(validity(&log, before, &other), of_another, "{name}");
        assert_eq!(
            validity(&log, log.version(), "a"),
            EntryValidity::Valid,
            "{name}"
        );
    }
}

#[test]
fn any_change_makes_negative_entries_outdated() {
    let log = log(false);
    let version = log.version();
    assert_eq!(log.validity_of_negative(version), EntryValidity::Valid);
    log.key_changed("a");
    assert_eq!(log.validity_of_negative(version), EntryValidity::Outdated);
    assert_eq!(
        log.validity_of_negative(log.version()),
        EntryValidity::Valid
    );
}

#[test]
fn no_entry_is_valid_while_unsubscribed_nor_one_from_before_the_subscription() {
    let log = log(true);
    let early = log.version();
    assert_eq!(validity(&log, early, "a"), EntryValidity::Revalidate);
    log.subscribed();
    assert_eq!(validity(&log, early, "a"), EntryValidity::Revalidate);
    let subscribed = log.version();
    assert_eq!(validity(&log, subscribed, "a"), EntryValidity::Valid);
    log.unsubscribed("cut");
    let between = log.version();
    for version in [subscribed, between] {
        assert_eq!(validity(&log, version, "a"), EntryValidity::Revalidate);
        assert_eq!(log.validity_of_negative(version), EntryValidity::Revalidate);
    }
    log.subscribed();
    for version in [subscribed, between] {
        assert_eq!(validity(&log, version, "a"), EntryValidity::Revalidate);
    }
    assert_eq!(validity(&log, log.version(), "a"), EntryValidity::Valid);
}

#[test]
fn a_change_stays_known_when_the_subscription_is_lost() {
    let log = log(true);
    log.subscribed();
    let version = log.version();
    log.key_changed("a");
    log.unsubscribed("cut");
    assert_eq!(validity(&log, version, "a"), EntryValidity::Outdated);
    log.subscribed();
    assert_eq!(validity(&log, version, "a"), EntryValidity::Outdated);
}

#[test]
fn while_the_source_refuses_to_push_entries_are_valid_for_their_time() {
    let log = log(true);
    let early = log.version();
    log.refused("no");
    assert_eq!(validity(&log, early, "a"), EntryValidity::Revalidate);
    let version = log.version();
    for _ in 0..2 {
        assert_eq!(log.subscription(), SubscriptionState::Refused);
        assert_eq!(validity(&log, version, "a"), EntryValidity::Valid);
        let stale_at = Duration::from_mins(1);
        let since = log.stale_since(version, Duration::ZERO, stale_at);
        assert_eq!(since, Some(stale_at));
        // Asked again, with the same answer.
        log.refused("no");
    }
    log.subscribed();
    assert_eq!(log.subscription(), SubscriptionState::Subscribed);
    assert_eq!(validity(&log, version, "a"), EntryValidity::Revalidate);
    log.unsubscribed("cut");
    log.refused("no");
    let version = log.version();
    assert_eq!(validity(&log, version, "a"), EntryValidity::Valid);
    log.unsubscribed("gone");
    assert_eq!(log.subscription(), SubscriptionState::Unsubscribed);
    assert_eq!(validity(&log, version, "a"), EntryValidity::Revalidate);
}

#[test]
fn a_gauge_shows_whether_changes_are_pushed() {
    let log = log(true);
    let up = prometheus::IntGauge::new("up", "whether changes are pushed").unwrap();
    let log = log.with_metrics(None, Some(up.clone()));
    let steps: [(Event, i64); 5] = [
        (InvalidationLog::subscribed, 1),
        (|p| p.unsubscribed("cut"), 0),
        (InvalidationLog::subscribed, 1),
        (|p| p.refused("no"), 0),
        (InvalidationLog::subscribed, 1),
    ];
    for (step, want) in steps {
        step(&log);
        assert_eq!(up.get(), want);
    }
}
