//! What stamped answers are worth after what was heard.

use super::*;
use crate::authz::key::tests::digest_of;
use crate::clock::SystemClock;

fn trust(source_pushes: bool) -> (Arc<Trust>, Pushes) {
    let trust = Arc::new(Trust::new(source_pushes, Arc::new(SystemClock::new())));
    (Arc::clone(&trust), Pushes::new(trust, "redis", None))
}

fn standing(trust: &Trust, stamp: Stamp, id: &str) -> Standing {
    let slots = [trust.slot_of_id(id), trust.slot_of_digest(&digest_of(id))];
    trust.standing(stamp, slots)
}

/// An id in another slot than both of `a`'s.
fn other(trust: &Trust) -> String {
    let of_a = [
        trust.slot_of_id("a").0,
        trust.slot_of_digest(&digest_of("a")).0,
    ];
    let slots = |id: &String| {
        [
            trust.slot_of_id(id).0,
            trust.slot_of_digest(&digest_of(id)).0,
        ]
    };
    (0..1000)
        .map(|number| format!("other-{number}"))
        .find(|id| slots(id).iter().all(|slot| !of_a.contains(slot)))
        .unwrap()
}

type Event = fn(&Pushes);

#[test]
fn only_what_was_asked_for_after_a_change_is_current() {
    let (trust, pushes) = trust(false);
    let other = other(&trust);
    let events: [(&str, Event, Standing, Standing); 4] = [
        (
            "the key",
            |p| p.key_changed("a"),
            Standing::Outdated,
            Standing::Current,
        ),
        (
            "the digest",
            |p| p.digest_changed(&digest_of("a")),
            Standing::Outdated,
            Standing::Current,
        ),
        (
            "all",
            Pushes::all_changed,
            Standing::Outdated,
            Standing::Outdated,
        ),
        (
            "doubt",
            |p| p.trust.doubt_all(),
            Standing::Doubtful,
            Standing::Doubtful,
        ),
    ];
    for (name, event, of_it, of_another) in events {
        let before = trust.stamp();
        assert_eq!(standing(&trust, before, "a"), Standing::Current, "{name}");
        event(&pushes);
        assert_eq!(standing(&trust, before, "a"), of_it, "{name}");
        assert_eq!(standing(&trust, before, &other), of_another, "{name}");
        assert_eq!(
            standing(&trust, trust.stamp(), "a"),
            Standing::Current,
            "{name}"
        );
    }
}

#[test]
fn any_change_makes_unknown_digests_worth_asking_for() {
    let (trust, pushes) = trust(false);
    let stamp = trust.stamp();
    assert_eq!(trust.standing_of_unknown(stamp), Standing::Current);
    pushes.key_changed("a");
    assert_eq!(trust.standing_of_unknown(stamp), Standing::Outdated);
    assert_eq!(trust.standing_of_unknown(trust.stamp()), Standing::Current);
}

#[test]
fn nothing_is_believed_while_pushes_are_lost_nor_what_was_learnt_before_they_were_armed() {
    let (trust, pushes) = trust(true);
    let early = trust.stamp();
    assert_eq!(standing(&trust, early, "a"), Standing::Doubtful);
    pushes.armed();
    assert_eq!(standing(&trust, early, "a"), Standing::Doubtful);
    let armed = trust.stamp();
    assert_eq!(standing(&trust, armed, "a"), Standing::Current);
    pushes.lost("cut");
    let between = trust.stamp();
    for stamp in [armed, between] {
        assert_eq!(standing(&trust, stamp, "a"), Standing::Doubtful);
        assert_eq!(trust.standing_of_unknown(stamp), Standing::Doubtful);
    }
    pushes.armed();
    for stamp in [armed, between] {
        assert_eq!(standing(&trust, stamp, "a"), Standing::Doubtful);
    }
    assert_eq!(standing(&trust, trust.stamp(), "a"), Standing::Current);
}

#[test]
fn a_change_that_was_heard_stays_known_when_pushes_are_lost() {
    let (trust, pushes) = trust(true);
    pushes.armed();
    let stamp = trust.stamp();
    pushes.key_changed("a");
    pushes.lost("cut");
    assert_eq!(standing(&trust, stamp, "a"), Standing::Outdated);
    pushes.armed();
    assert_eq!(standing(&trust, stamp, "a"), Standing::Outdated);
}

#[test]
fn what_is_learnt_while_the_source_refuses_to_push_is_believed_for_its_time() {
    let (trust, pushes) = trust(true);
    let early = trust.stamp();
    pushes.refused("no");
    assert_eq!(standing(&trust, early, "a"), Standing::Doubtful);
    let learnt = trust.stamp();
    for _ in 0..2 {
        assert_eq!(trust.hearing(), Hearing::Refused);
        assert_eq!(standing(&trust, learnt, "a"), Standing::Current);
        let stale_at = Duration::from_mins(1);
        let since = trust.stale_since(learnt, Duration::ZERO, stale_at);
        assert_eq!(since, Some(stale_at));
        // Asked again, with the same answer.
        pushes.refused("no");
    }
    pushes.armed();
    assert_eq!(trust.hearing(), Hearing::Armed);
    assert_eq!(standing(&trust, learnt, "a"), Standing::Doubtful);
    pushes.lost("cut");
    pushes.refused("no");
    let learnt = trust.stamp();
    assert_eq!(standing(&trust, learnt, "a"), Standing::Current);
    pushes.lost("gone");
    assert_eq!(trust.hearing(), Hearing::Lost);
    assert_eq!(standing(&trust, learnt, "a"), Standing::Doubtful);
}

#[test]
fn a_gauge_tells_whether_changes_are_heard() {
    let (_, pushes) = trust(true);
    let up = prometheus::IntGauge::new("up", "whether changes are heard").unwrap();
    let pushes = pushes.shown_by(Some(up.clone()));
    let steps: [(Event, i64); 5] = [
        (Pushes::armed, 1),
        (|p| p.lost("cut"), 0),
        (Pushes::armed, 1),
        (|p| p.refused("no"), 0),
        (Pushes::armed, 1),
    ];
    for (step, want) in steps {
        step(&pushes);
        assert_eq!(up.get(), want);
    }
}
