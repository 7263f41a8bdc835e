//! The series of keys: how they come, are bounded, and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::authz::key::MetadataValue;

const SECOND: Generation = Generation(2);

fn of_client(id: &str, client: &str) -> KeyRecord {
    KeyRecord {
        client: Some(client.parse().unwrap()),
        ..record(id)
    }
}

/// The ids of the keys that have a sample in that family.
fn ids(metrics: &Metrics, family: &str) -> BTreeSet<String> {
    let id = |sample: String| sample.split('"').nth(1).unwrap().to_owned();
    samples(metrics, family).into_iter().map(id).collect()
}

/// Tells other threads that the test is over, even where it fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_key_is_counted_under_its_id_and_its_client() {
    let metrics = Metrics::new(2).unwrap();
    let mut key = of_client("k", "acme");
    key.validity.expires_at = Some(at(500).into());
    let series = metrics.key_series(&key, FIRST);
    series.record(Reason::Allowed, None, at(100));
    series.record(Reason::Allowed, None, at(101));
    series.clone().record(Reason::KeyExpired, None, at(102));
    let labels = "{key_id=\"k\",client=\"acme\"";
    assert_eq!(
        samples(&metrics, "keyward_key_requests_total"),
        [
            format!("{labels},decision=\"allow\",reason=\"allowed\"}} 2"),
            format!("{labels},decision=\"deny\",reason=\"key_expired\"}} 1"),
        ]
    );
    assert_eq!(
        samples(&metrics, "keyward_key_last_used_timestamp_seconds"),
        [format!("{labels}}} 102")]
    );
    assert_eq!(
        samples(&metrics, "keyward_key_expiry_timestamp_seconds"),
        [format!("{labels}}} 500")]
    );
}

#[test]
fn a_series_goes_with_its_key_and_a_key_that_returns_begins_anew() {
    let metrics = Metrics::new(10).unwrap();
    let (kept, gone) = (expiring("kept", 500), expiring("gone", 500));
    metrics.keys_changed(FIRST, [&kept, &gone], at(0));
    for key in [&kept, &gone] {
        metrics
            .key_series(key, FIRST)
            .record(Reason::Allowed, None, at(1));
    }
    let old = metrics.key_series(&gone, FIRST);

    metrics.keys_changed(SECOND, [&kept], at(2));
    old.record(Reason::Allowed, None, at(3));
    let only_kept = BTreeSet::from(["kept".to_owned()]);
    for family in [
        "requests_total",
        "expiry_timestamp_seconds",
        "last_used_timestamp_seconds",
    ] {
        assert_eq!(
            ids(&metrics, &format!("keyward_key_{family}")),
            only_kept,
            "{family}"
        );
    }
    assert_eq!(samples(&metrics, "keyward_keys_loaded"), [" 1"]);

    metrics.keys_changed(Generation(3), [&kept, &gone], at(4));
    metrics
        .key_series(&gone, Generation(3))
        .record(Reason::Allowed, None, at(5));
    let counted = samples(&metrics, "keyward_key_requests_total");
    assert!(
        counted.iter().all(|sample| sample.ends_with(" 1")),
        "{counted:?}"
    );
    assert_eq!(counted.len(), 2);
}

#[test]
fn a_late_check_does_not_bring_back_the_series_of_a_key_that_is_gone() {
    let metrics = Metrics::new(10).unwrap();
    metrics.keys_changed(SECOND, [&record("kept")], at(0));
    metrics
        .key_series(&record("gone"), FIRST)
        .record(Reason::Allowed, None, at(1));
    assert_eq!(
        ids(&metrics, "keyward_key_requests_total"),
        BTreeSet::from(["_other".to_owned()])
    );
}

#[test]
fn a_key_that_changes_its_client_moves() {
    let metrics = Metrics::new(1).unwrap();
    metrics
        .key_series(&of_client("k", "old"), FIRST)
        .record(Reason::Allowed, None, at(1));
    metrics.keys_changed(SECOND, [&of_client("k", "new")], at(2));
    assert!(samples(&metrics, "keyward_key_requests_total").is_empty());
    metrics
        .key_series(&of_client("k", "new"), SECOND)
        .record(Reason::Allowed, None, at(3));
    metrics
        .key_series(&of_client("k", "old"), FIRST)
        .record(Reason::Allowed, None, at(3));
    let labels = "decision=\"allow\",reason=\"allowed\"} 1";
    assert_eq!(
        samples(&metrics, "keyward_key_requests_total"),
        [
            format!("{{key_id=\"k\",client=\"new\",{labels}"),
            format!("{{key_id=\"_other\",client=\"_other\",{labels}"),
        ]
    );
}

#[test]
fn keys_beyond_the_bound_share_counters_and_nothing_else() {
    let metrics = Metrics::new(2).unwrap();
    for id in ["a", "b", "c", "d", "a"] {
        metrics
            .key_series(&expiring(id, 9), FIRST)
            .record(Reason::Allowed, None, at(1));
    }
    let counted = samples(&metrics, "keyward_key_requests_total");
    let numbers: Vec<_> = counted
        .iter()
        .map(|sample| sample.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(numbers, ["2", "1", "2"], "{counted:?}");
    assert!(
        counted[2].starts_with("{key_id=\"_other\",client=\"_other\","),
        "{counted:?}"
    );
    for family in [
        "keyward_key_expiry_timestamp_seconds",
        "keyward_key_last_used_timestamp_seconds",
    ] {
        assert_eq!(
            ids(&metrics, family),
            BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            "{family}"
        );
    }
}

#[test]
fn a_place_that_becomes_free_goes_to_the_next_key_in_use() {
    let metrics = Metrics::new(1).unwrap();
    for id in ["a", "b"] {
        metrics
            .key_series(&record(id), FIRST)
            .record(Reason::Allowed, None, at(1));
    }
    metrics.keys_changed(SECOND, [&record("b")], at(2));
    metrics
        .key_series(&record("b"), SECOND)
        .record(Reason::Allowed, None, at(3));
    assert_eq!(
        ids(&metrics, "keyward_key_last_used_timestamp_seconds"),
        BTreeSet::from(["b".to_owned()])
    );
}

#[test]
fn a_series_that_nothing_holds_goes_after_an_idle_hour_and_leaves_its_place() {
    let metrics = Metrics::new(3).unwrap();
    let used = |id: &str, second: i64| {
        let series = metrics.key_series(&record(id), FIRST);
        series.record(Reason::Allowed, None, at(second));
        series
    };
    let family = "keyward_key_requests_total";
    drop((used("a", 0), used("b", 60)));
    let held = used("c", 0);
    metrics.forget_idle_keys(at(3600 - 1));
    assert_eq!(
        ids(&metrics, family),
        ["a", "b", "c"].map(String::from).into()
    );
    metrics.forget_idle_keys(at(3600));
    assert_eq!(ids(&metrics, family), ["b", "c"].map(String::from).into());
    drop(used("d", 3600));
    let all = ["b", "c", "d"].map(String::from).into();
    assert_eq!(ids(&metrics, family), all, "the place is the next one's");
    drop(held);
    metrics.forget_idle_keys(at(3660));
    assert_eq!(ids(&metrics, family), ["d".to_owned()].into());
}

#[test]
fn without_room_every_key_is_other() {
    let metrics = Metrics::new(0).unwrap();
    metrics.keys_changed(FIRST, [&expiring("a", 9)], at(0));
    metrics
        .key_series(&expiring("a", 9), FIRST)
        .record(Reason::Allowed, None, at(1));
    assert_eq!(
        ids(&metrics, "keyward_key_requests_total"),
        BTreeSet::from(["_other".to_owned()])
    );
    assert!(ids(&metrics, "keyward_key_expiry_timestamp_seconds").is_empty());
}

#[test]
fn keys_that_expire_are_told_of_before_they_are_used() {
    let revoked = KeyRecord {
        revoked_at: Some(at(1).into()),
        ..expiring("revoked", 70)
    };
    let keys = [
        expiring("late", 90),
        expiring("soon", 60),
        expiring("past", 10),
        revoked,
        record("endless"),
        expiring("later", 95),
    ];
    let cases: [(&str, usize, &[&str]); 4] = [
        ("all keys fit", 6, &["late", "soon", "past", "later"]),
        (
            "half of the places, the soonest first",
            4,
            &["soon", "late"],
        ),
        ("half of an odd number is rounded down", 3, &["soon"]),
        ("the only place is for a key in use", 1, &[]),
    ];
    for (case, max_keys, expected) in cases {
        let metrics = Metrics::new(max_keys).unwrap();
        metrics.keys_changed(FIRST, &keys, at(50));
        let expected = expected.iter().map(ToString::to_string).collect();
        assert_eq!(
            ids(&metrics, "keyward_key_expiry_timestamp_seconds"),
            expected,
            "{case}"
        );
    }
}

#[test]
fn an_end_that_changes_is_brought_up_to_date() {
    let metrics = Metrics::new(4).unwrap();
    metrics.keys_changed(FIRST, [&expiring("a", 60), &expiring("b", 60)], at(0));
    metrics.keys_changed(SECOND, [&expiring("a", 70), &record("b")], at(0));
    metrics.key_series(&expiring("a", 60), FIRST);
    assert_eq!(
        samples(&metrics, "keyward_key_expiry_timestamp_seconds"),
        ["{key_id=\"a\",client=\"a\"} 70"]
    );
    let revoked = KeyRecord {
        revoked_at: Some(at(50).into()),
        ..expiring("a", 70)
    };
    metrics.keys_changed(Generation(3), [&revoked], at(0));
    let ends = samples(&metrics, "keyward_key_expiry_timestamp_seconds");
    assert!(ends.is_empty(), "a key that is over does not end: {ends:?}");
}

#[test]
fn scrapes_while_keys_come_and_go_see_whole_numbers() {
    let metrics = Metrics::new(40).unwrap();
    let keys: Vec<_> = (0..60)
        .map(|number| expiring(&format!("k{number}"), 100))
        .collect();
    let stable = &keys[0];
    metrics.keys_changed(FIRST, &keys, at(0));
    let series = metrics.key_series(stable, FIRST);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&is_over);
        for offset in [0_u64, 20] {
            let (metrics, keys, is_over, series) = (&metrics, &keys, &is_over, &series);
            scope.spawn(move || {
                let mut turn = offset;
                while !is_over.load(Ordering::Relaxed) {
                    let key = &keys[usize::try_from(turn).unwrap() % keys.len()];
                    metrics
                        .key_series(key, Generation(turn))
                        .record(Reason::Allowed, None, at(1));
                    series.record(Reason::RouteDenied, None, at(1));
                    turn += 1;
                }
            });
        }
        for turn in 0..200_u64 {
            let present = (0..)
                .zip(&keys)
                .filter(|(at, _)| *at == 0 || (*at + turn) % 3 != 0);
            metrics.keys_changed(Generation(turn + 2), present.map(|(_, key)| key), at(0));
            let text = metrics.render();
            assert!(text.lines().all(|line| line.starts_with('#')
                || line.rsplit(' ').next().unwrap().parse::<f64>().is_ok()));
            assert!(ids(&metrics, "keyward_key_expiry_timestamp_seconds").len() <= 40);
        }
    });
    metrics.keys_changed(Generation(u64::MAX), [stable], at(0));
    assert_eq!(
        ids(&metrics, "keyward_key_expiry_timestamp_seconds"),
        BTreeSet::from(["k0".to_owned()])
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_label_holds_a_digest_or_metadata(canary in "[a-z]{24}", id in "[A-Za-z0-9._-]{1,64}") {
        let metrics = Metrics::new(1).unwrap();
        prop_assume!(!id.starts_with('_') && !id.contains(&canary));
        let mut key = record(&canary);
        key.id = id.parse().unwrap();
        key.metadata = [("org".into(), MetadataValue::Scalar(canary.as_str().into()))].into();
        key.scopes = [canary.parse().unwrap()].into();
        let digest = key.secrets[0].digest.hex();
        metrics.keys_changed(FIRST, [&key], at(0));
        metrics.key_series(&key, FIRST).record(Reason::Allowed, None, at(1));
        let text = metrics.render();
        prop_assert!(!text.contains(&canary) && !text.contains(&digest));
        prop_assert!(text.contains(&id));
    }
}

#[test]
fn secrets_with_an_id_tell_when_each_was_used_and_go_with_it() {
    const FAMILY: &str = "keyward_key_secret_last_used_timestamp_seconds";
    let named = |ids: &[Option<&str>]| {
        let mut key = of_client("k", "acme");
        let secret = |id: Option<&str>| crate::authz::key::Secret {
            id: id.map(|id| Box::new(id.parse().unwrap())),
            ..key.secrets[0].clone()
        };
        key.secrets = ids.iter().copied().map(secret).collect();
        key
    };
    let sample =
        |id: &str, second| format!("{{key_id=\"k\",client=\"acme\",secret=\"{id}\"}} {second}");
    let metrics = Metrics::new(1).unwrap();
    let key = named(&[Some("old"), None, Some("new")]);
    let series = metrics.key_series(&key, FIRST);
    assert!(samples(&metrics, FAMILY).is_empty(), "none was used");
    series.record(Reason::Allowed, Some(0), at(100));
    series.record(Reason::Allowed, Some(1), at(101));
    series.record(Reason::KeyExpired, Some(2), at(102));
    series.record(Reason::Allowed, Some(7), at(103));
    series.record(Reason::Allowed, None, at(104));
    assert_eq!(
        samples(&metrics, FAMILY),
        [sample("new", 102), sample("old", 100)]
    );

    // Prepared again, what is known stays; a secret that is gone goes.
    metrics.keys_changed(SECOND, [&named(&[Some("new")])], at(0));
    assert_eq!(samples(&metrics, FAMILY), [sample("new", 102)]);
    let series = metrics.key_series(&named(&[Some("new")]), SECOND);
    series.record(Reason::Allowed, Some(0), at(200));
    assert_eq!(samples(&metrics, FAMILY), [sample("new", 200)]);

    // A key without a place of its own has none either, and all go with the key.
    let other = KeyRecord {
        id: "l".parse().unwrap(),
        ..named(&[Some("x")])
    };
    metrics
        .key_series(&other, SECOND)
        .record(Reason::Allowed, Some(0), at(300));
    assert_eq!(samples(&metrics, FAMILY), [sample("new", 200)]);
    metrics.keys_changed(Generation(3), [], at(0));
    assert!(samples(&metrics, FAMILY).is_empty());
}
