//! Tests of who goes when all places, or all memory, are taken.

use jiff::Timestamp;

use super::*;
use crate::observe::metrics::Metrics;

/// A clock that a test moves.
#[derive(Default)]
struct Moved(Mutex<Duration>);

impl Moved {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// Leaves a `MOMENT`.
    fn advance_until_just_before(&self, time: Duration) {
        self.advance(time.saturating_sub(MOMENT));
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

struct Scene {
    clock: Arc<Moved>,
    connections: Connections,
    metrics: Metrics,
}

impl Scene {
    fn new(places: usize, newcomers: usize) -> Self {
        let clock = Arc::new(Moved::default());
        let metrics = Metrics::new(1).unwrap();
        let bounds = Bounds { places, newcomers };
        let of_listener = metrics.listener("grpc").unwrap();
        let connections = Connections::new("grpc", bounds, clock.clone(), of_listener);
        Self {
            clock,
            connections,
            metrics,
        }
    }

    fn enter(&self) -> Place {
        self.connections.enter().expect("a place")
    }

    /// Enters a connection that sends a message at once.
    fn enter_with_message(&self) -> Place {
        let place = self.enter();
        place.peer().message_came();
        place
    }
}

fn leaving(places: &[&Place]) -> Vec<bool> {
    places.iter().map(|place| place.0.is_leaving()).collect()
}

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_silent_connection_goes_before_one_that_sent_a_message_however_long_ago() {
    let scene = Scene::new(3, 1);
    let envoy = scene.enter_with_message();
    scene.clock.advance(100 * SECOND);
    let (older, younger) = (scene.enter(), scene.enter());
    let _new = scene.enter();
    assert_eq!(leaving(&[&envoy, &older, &younger]), [false, true, false]);
}

#[test]
fn a_newcomer_has_its_time_while_newcomers_are_few() {
    let scene = Scene::new(3, 2);
    let idle = scene.enter_with_message();
    scene.clock.advance(SECOND);
    let busy = scene.enter_with_message();
    let newcomer = scene.enter();
    let second = scene.enter();
    assert_eq!(leaving(&[&idle, &busy, &newcomer]), [true, false, false]);
    drop(idle);
    scene.clock.advance(FIRST_WORDS_TIME);
    let _third = scene.enter();
    assert_eq!(
        leaving(&[&busy, &newcomer, &second]),
        [false, true, false],
        "its time is over"
    );
}

#[test]
fn of_busy_connections_the_one_idle_longest_goes_and_none_of_which_a_check_is_decided() {
    let scene = Scene::new(3, 3);
    let (first, second, third) = (
        scene.enter_with_message(),
        scene.enter_with_message(),
        scene.enter_with_message(),
    );
    let deciding = first.peer().decide();
    scene.clock.advance(SECOND);
    second.peer().message_came();
    let _fourth = scene.enter_with_message();
    assert_eq!(leaving(&[&first, &second, &third]), [false, false, true]);
    drop((third, deciding));
    let _fifth = scene.enter_with_message();
    assert_eq!(leaving(&[&first, &second]), [true, false]);
}

#[test]
fn a_new_connection_is_refused_only_where_every_other_has_a_check_in_flight() {
    let scene = Scene::new(2, 1);
    let (first, second) = (scene.enter_with_message(), scene.enter_with_message());
    let deciding = [first.peer().decide(), second.peer().decide()];
    assert!(scene.connections.enter().is_none());
    drop(deciding);
    assert!(scene.connections.enter().is_some());
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let scene = Scene::new(2, 1);
    let open = scene.connections.open();
    let told = || {
        let text = scene.metrics.render();
        let of_grpc = |name: &str| text.contains(&format!("{name}{{listener=\"grpc\"}} 2"));
        assert!(of_grpc("keyward_connections_max"), "{text}");
        of_grpc("keyward_connections")
    };
    let places = [scene.enter(), scene.enter()];
    assert_eq!(*open.borrow(), 2);
    assert!(told());
    drop(places);
    assert_eq!(*open.borrow(), 0);
    assert!(!told());
}

#[test]
fn the_connection_that_stalled_longest_makes_room_for_the_messages_of_others() {
    let scene = Scene::new(9, 9);
    let (stalled, later, envoy) = (scene.enter(), scene.enter(), scene.enter());
    let (_owed, mut holding) = (stalled.peer().arrive(), stalled.peer().hold());
    assert!(holding.message_grows(MESSAGES_MAX_BYTES / 2));
    scene.clock.advance(STALLED_TIME / 2);
    let (_owed_later, _) = (later.peer().arrive(), later.peer().hold());
    scene.clock.advance_until_just_before(STALLED_TIME / 2);
    let (_arriving, mut arriving) = (envoy.peer().arrive(), envoy.peer().hold());
    assert!(
        !arriving.message_grows(MESSAGES_MAX_BYTES / 2),
        "nobody has stalled"
    );
    let places = [&stalled, &later, &envoy];
    assert_eq!(leaving(&places), [false; 3]);
    scene.clock.advance(MOMENT);
    assert!(arriving.message_grows(0));
    assert_eq!(leaving(&places), [true, false, false]);
}

#[test]
fn a_connection_that_is_in_use_is_not_closed_for_memory() {
    let scene = Scene::new(9, 9);
    let (deciding, lately, sending) = (scene.enter(), scene.enter(), scene.enter());
    let places = [&deciding, &lately, &sending];
    let calls = places.map(|place| (place.peer().arrive(), place.peer().hold()));
    deciding.peer().message_came();
    let _decision = deciding.peer().decide();
    scene.clock.advance(10 * SECOND);
    lately.peer().message_came();
    scene.clock.advance_until_just_before(IN_USE_TIME);
    sending.peer().bytes_came();
    let new = scene.enter();
    let (_arriving, mut arriving) = (new.peer().arrive(), new.peer().hold());
    assert!(!arriving.message_grows(HELD_MAX_BYTES));
    assert!(!arriving.call_fits());
    assert_eq!(leaving(&places), [false; 3]);
    scene.clock.advance(MOMENT);
    assert!(!arriving.message_grows(0), "it is its own that is too much");
    assert_eq!(leaving(&places), [false, true, false]);
    drop(calls);
}

#[test]
fn a_connection_on_which_a_call_begins_after_a_long_silence_has_its_time() {
    let scene = Scene::new(9, 9);
    let envoy = scene.enter();
    scene.clock.advance(100 * SECOND);
    let (_arriving, mut arriving) = (envoy.peer().arrive(), envoy.peer().hold());
    scene.clock.advance_until_just_before(STALLED_TIME);
    assert!(!arriving.message_grows(HELD_MAX_BYTES));
    assert!(!envoy.0.is_leaving());
}

#[test]
fn calls_that_are_too_many_are_refused_until_their_connection_has_stalled() {
    let scene = Scene::new(9, 9);
    let (flood, envoy) = (scene.enter(), scene.enter_with_message());
    let mut calls = Vec::new();
    loop {
        assert!(calls.len() < 1_000_000);
        let (owed, held) = (flood.peer().arrive(), flood.peer().hold());
        let has_room = held.call_fits();
        calls.push((owed, held));
        if !has_room {
            break;
        }
    }
    assert!(!envoy.peer().hold().call_fits());
    assert_eq!(leaving(&[&flood, &envoy]), [false; 2]);
    scene.clock.advance(STALLED_TIME);
    assert!(envoy.peer().hold().call_fits());
    assert_eq!(leaving(&[&flood, &envoy]), [true, false]);
    drop(calls);
    assert_eq!(flood.0.held(), 0);
}

#[test]
fn large_messages_leave_room_for_calls() {
    let scene = Scene::new(9, 9);
    let envoy = scene.enter();
    let mut large = envoy.peer().hold();
    assert!(!large.message_grows(MESSAGES_MAX_BYTES));
    for _ in 0..4000 {
        std::mem::forget(envoy.peer().hold());
    }
    assert!(envoy.peer().hold().call_fits());
}

#[test]
fn answers_that_are_not_taken_make_room_after_two_seconds() {
    let scene = Scene::new(9, 9);
    let (stalled, envoy) = (scene.enter_with_message(), scene.enter());
    let (_untaken, mut holding) = (stalled.peer().answer(), stalled.peer().hold());
    assert!(!holding.message_grows(HELD_MAX_BYTES));
    let arriving = envoy.peer().hold();
    assert!(!arriving.call_fits());
    scene.clock.advance(SECOND * 2 + MOMENT);
    assert!(!arriving.call_fits());
    scene.clock.advance(SECOND);
    assert!(arriving.call_fits());
    assert_eq!(leaving(&[&stalled, &envoy]), [true, false]);
}

#[test]
fn a_connection_whose_answers_are_not_taken_is_closed_and_no_other() {
    let scene = Scene::new(9, 9);
    let (stalled, slow, streaming) = (scene.enter(), scene.enter(), scene.enter());
    let _answer = stalled.peer().answer();
    let _stream = streaming.peer().hold();
    for _ in 0..ANSWER_SECONDS {
        let _answer = slow.peer().answer();
        scene.clock.advance(SECOND);
        scene.connections.close_stalled();
        assert_eq!(leaving(&[&stalled, &slow, &streaming]), [false; 3]);
    }
    scene.clock.advance(SECOND);
    scene.connections.close_stalled();
    assert_eq!(
        leaving(&[&stalled, &slow, &streaming]),
        [true, false, false]
    );
}
